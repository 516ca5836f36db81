package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// paths are all commands of the program, those that only have others below them too.
func paths(n *kong.Node) map[string]*kong.Node {
	all := map[string]*kong.Node{}
	for _, child := range n.Children {
		all[child.Path()] = child
		for path, below := range paths(child) {
			all[path] = below
		}
	}
	return all
}

var heading = regexp.MustCompile(`(?m)^[A-Z][a-z]+:$`)

// The settings are the same for all commands: they are listed once, behind all else, and every
// command says where.
func TestHelpListsTheSettingsOnce(t *testing.T) {
	t.Parallel()
	out := newBox(t).ok("--help")
	before, settings, grouped := strings.Cut(out, "\nSettings:\n")
	if !grouped || strings.Contains(before, "($LICENSE_") || strings.Count(settings, "($LICENSE_") < 14 || heading.MatchString(settings) {
		t.Errorf("--help:\n%s", out)
	}
	for _, command := range []string{"account", "account create", "account sign-in", "serve"} {
		out := newBox(t).ok(append(strings.Fields(command), "--help")...)
		if strings.Contains(out, "LICENSE_") || !strings.HasSuffix(out, "\nThe settings are the same for all commands: pageflare-license --help lists them.") {
			t.Errorf("%s --help:\n%s", command, out)
		}
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	t.Parallel()
	all := paths(model(t).Node)
	if len(all) < 20 {
		t.Fatalf("commands = %d", len(all))
	}
	for path, node := range all {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			r := b.run(append(strings.Fields(path), "--help")...)
			if r.exit != exitOK || r.err != "" || !strings.HasPrefix(r.out, "Usage: "+program+" "+path+" ") {
				t.Errorf("%s --help = exit %d, stderr %q, stdout\n%s", path, r.exit, r.err, r.out)
			}
			text := oneSpaced(r.out)
			wants := []string{node.Help}
			for _, f := range node.Flags {
				wants = append(wants, "--"+f.Name, f.Help)
			}
			for _, a := range node.Positional {
				wants = append(wants, "<"+a.Name+">", a.Help)
			}
			for _, want := range wants {
				if want == "" || !strings.Contains(text, strings.TrimSuffix(oneSpaced(want), ".")) {
					t.Errorf("%s --help lacks %q:\n%s", path, want, r.out)
				}
			}
			b.wantFiles()
		})
	}
}
