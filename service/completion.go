package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCmd prints a script with all commands and flags in it, so that nothing of the program
// runs while somebody types. The libraries for kong run it at each key, and are not maintained.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Run prints the script.
func (c completionCmd) Run(a *app, k *kong.Context) error {
	all := completions(k.Model.Node, "")
	switch c.Shell {
	case "fish":
		return printFish(a.stdout, all)
	case "zsh":
		fmt.Fprint(a.stdout, "autoload -U +X bashcompinit && bashcompinit\n")
	}
	return printBash(a.stdout, all)
}

// completion is what can follow a command.
type completion struct {
	path     string // such as "account create"; empty for the program
	commands []*kong.Node
	flags    []*kong.Flag // of its own; those of the program go with every command
}

func completions(n *kong.Node, path string) []completion {
	all := []completion{{path, n.Children, n.Flags}}
	for _, child := range n.Children {
		all = append(all, completions(child, strings.TrimSpace(path+" "+child.Name))...)
	}
	return all
}

// words are what can follow, with what each is for.
func (c completion) words(say func(word, help string)) {
	for _, child := range c.commands {
		say(child.Name, child.Help)
	}
	for _, f := range c.flags {
		say("--"+f.Name, f.Help)
	}
}

// The scripts go through what was typed before the cursor and find the longest path of commands.

func printBash(w io.Writer, all []completion) error {
	var b strings.Builder
	b.WriteString(`_pageflare_license() {
	local path= words= word i
	for ((i = 1; i < COMP_CWORD; i++)); do
		word="${path:+$path }${COMP_WORDS[i]}"
		case "$word" in
`)
	for _, c := range all[1:] {
		fmt.Fprintf(&b, "\t\t'%s') path=$word ;;\n", c.path)
	}
	b.WriteString("\t\tesac\n\tdone\n\tcase \"$path\" in\n")
	for _, c := range all {
		var words []string
		c.words(func(word, _ string) { words = append(words, word) })
		fmt.Fprintf(&b, "\t'%s') words='%s' ;;\n", c.path, strings.Join(words, " "))
	}
	var settings []string
	for _, f := range all[0].flags {
		settings = append(settings, "--"+f.Name)
	}
	fmt.Fprintf(&b, `	esac
	case "${COMP_WORDS[COMP_CWORD]}" in
	-*) words="$words %s" ;;
	esac
	COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _pageflare_license pageflare-license
`, strings.Join(settings, " "))
	_, err := io.WriteString(w, b.String())
	return err
}

func printFish(w io.Writer, all []completion) error {
	var b strings.Builder
	b.WriteString(`function __pageflare_license_path
	set -l path
	for word in (commandline -opc)[2..]
		switch "$path $word"
`)
	for _, c := range all[1:] {
		fmt.Fprintf(&b, "\t\t\tcase ' %s'\n\t\t\t\tset path \"$path $word\"\n", c.path)
	}
	b.WriteString("\t\tend\n\tend\n\techo \"$path\"\nend\n")
	for _, c := range all {
		at := strings.TrimSuffix(" "+c.path, " ")
		c.words(func(word, help string) {
			how := "-f -a " + word
			if name, ok := strings.CutPrefix(word, "--"); ok {
				how = "-l " + name
			}
			condition := fmt.Sprintf(` -n 'test (__pageflare_license_path) = "%s"'`, at)
			if c.path == "" && strings.HasPrefix(word, "--") {
				condition = ""
			}
			fmt.Fprintf(&b, "complete -c pageflare-license%s %s -d %s\n", condition, how, quoteFish(help))
		})
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func quoteFish(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
