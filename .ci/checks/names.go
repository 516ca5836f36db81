package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path"
	"regexp"
	"strings"
)

// A machine is where the checks run. What it uses is asked of it, so that none of it is named here.
type machine struct {
	output   func(name string, args ...string) (string, error) // runs a program; must be set
	readFile func(path string) ([]byte, error)                 // must be set
}

// names finds the hosts that this machine gets packages from, and the path of the folder that holds
// the checkout, in files that are committed: they would be wrong or out of reach everywhere else.
func (m machine) names(c checkout) ([]fault, error) {
	hosts, err := m.registries()
	if err != nil {
		return nil, err
	}
	return nameFaults(c, hosts, surroundings(c.root))
}

func nameFaults(c checkout, hosts []string, folder string) ([]fault, error) {
	host := anyOf(`(?:^|[^A-Za-z0-9-])`, hosts, `(?:[^A-Za-z0-9-]|$)`)
	place := anyOf(`(?:^|[^A-Za-z0-9_./-])`, []string{folder}, `(?:/|[^A-Za-z0-9_.-]|$)`)
	var faults []fault
	for _, name := range c.names {
		lines, err := c.lines(name)
		if err != nil {
			return nil, err
		}
		for i, line := range lines {
			if found := host.FindStringSubmatch(line); found != nil {
				faults = append(faults, fault{name, i + 1, "names the package registry " + found[1], "leave the host to the machine's own settings"})
			}
			if found := place.FindStringSubmatch(line); found != nil {
				faults = append(faults, fault{name, i + 1, "names a path of this machine, " + found[1], "use a path relative to the repository"})
			}
		}
	}
	return faults, nil
}

// anyOf matches each of the texts between the two borders. With no texts it matches nothing.
func anyOf(before string, texts []string, after string) *regexp.Regexp {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = regexp.QuoteMeta(text)
	}
	if len(quoted) == 0 {
		return regexp.MustCompile(`[^\s\S]()`)
	}
	return regexp.MustCompile(before + "(" + strings.Join(quoted, "|") + ")" + after)
}

// surroundings gives the path to look for: the folder that holds the checkout. Where that is a
// folder that every machine has, as with a clone in a temporary folder, naming it tells nothing,
// and the checkout itself is taken.
func surroundings(root string) string {
	parent := path.Dir(root)
	switch parent {
	case "/", "/tmp", "/var/tmp", "/home", "/root", "/opt", "/srv", "/usr", "/usr/src", "/usr/local", "/mnt", "/src":
		return root
	}
	return parent
}

// registries gives the hosts that Go, npm and apt get packages from here. A tool that is not
// installed has none.
func (m machine) registries() ([]string, error) {
	var settings []string
	for _, ask := range [][]string{{"go", "env", "GOPROXY", "GOSUMDB"}, {"npm", "config", "get", "registry"}} {
		answer, err := m.output(ask[0], ask[1:]...)
		if errors.Is(err, exec.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("ask for the registry: %w", err)
		}
		settings = append(settings, answer)
	}
	for _, list := range []string{"/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list.d/ubuntu.sources", "/etc/apt/sources.list"} {
		text, err := m.readFile(list)
		if err == nil {
			settings = append(settings, aptSources(string(text)))
		}
	}
	return hostsIn(strings.Join(settings, "\n")), nil
}

// aptSources gives the addresses of an apt source list, of the old form (deb ADDRESS …) and of the
// new (URIs: ADDRESS …).
func aptSources(list string) string {
	var addresses []string
	for line := range strings.Lines(list) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "URIs:" && words[0] != "deb" && words[0] != "deb-src" {
			continue
		}
		for _, word := range words[1:] {
			if strings.Contains(word, "://") {
				addresses = append(addresses, word)
			}
		}
	}
	return strings.Join(addresses, "\n")
}

// hostsIn gives the hosts of a list as GOPROXY and its like write it: addresses or bare hosts
// between commas, bars and white space. A word without a dot (direct, off, localhost) and a
// loopback address name no machine.
func hostsIn(settings string) []string {
	var hosts []string
	host := regexp.MustCompile(`^(?:https?://)?(?:[^/@]*@)?([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)`)
	seen := map[string]bool{}
	for _, word := range strings.FieldsFunc(settings, func(r rune) bool { return strings.ContainsRune(",| \t\n", r) }) {
		found := host.FindStringSubmatch(word)
		if found == nil || strings.HasPrefix(found[1], "127.") || seen[found[1]] {
			continue
		}
		seen[found[1]] = true
		hosts = append(hosts, found[1])
	}
	return hosts
}
