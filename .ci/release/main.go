// Command release writes into the checkout what a release is: the image by its digest into
// action.yml, the version into the Dockerfile and deploy/compose.yaml, and the record of it,
// .ci/release.json. The release workflow commits them, tags that commit and pushes it as a branch
// release/vX.Y.Z; main never holds them. `go run ./.ci/checks` holds them equal.
//
//	go run ./.ci/release -version v1.2.3 -digest sha256:… GO_IMAGE=golang@sha256:… …
//
// Before that, on main, it lists the migrations of the release, which never change from then on:
//
//	go run ./.ci/release -migrations
//
// Nothing is written unless everything is right. Exit status 2: an argument is wrong.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const image = "docker://ghcr.io/pageflare/ci@"

var (
	versionForm = regexp.MustCompile(`^v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$`)
	digestForm  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	baseForm    = regexp.MustCompile(`^([A-Z_]+)=(\S+@sha256:[0-9a-f]{64})$`)
	// versionLine is where a build finds the version when it is given none.
	versionLine = regexp.MustCompile(`(?m)^(ARG VERSION=| +VERSION: \$\{VERSION:-)dev(}?)$`)
	imageLine   = regexp.MustCompile(`(?m)^  image: \S+$`)
)

func main() {
	if err := run(os.Args[1:], ".", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
}

type record struct {
	Version string            `json:"version"`
	Image   string            `json:"image"`
	Bases   map[string]string `json:"bases"`
}

// run writes the files below root.
func run(args []string, root string, stdout io.Writer) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	version := flags.String("version", "", "")
	digest := flags.String("digest", "", "")
	migrations := flags.Bool("migrations", false, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *migrations {
		return writeMigrations(root)
	}
	r := record{Version: *version, Image: image + *digest, Bases: map[string]string{}}
	var faults []error
	if !versionForm.MatchString(r.Version) {
		faults = append(faults, fmt.Errorf("-version %q is not one such as v1.2.3", r.Version))
	}
	if !digestForm.MatchString(*digest) {
		faults = append(faults, fmt.Errorf("-digest %q is not sha256: and 64 hexadecimal digits", *digest))
	}
	for _, arg := range flags.Args() {
		m := baseForm.FindStringSubmatch(arg)
		if m == nil {
			faults = append(faults, fmt.Errorf("%q is not NAME=IMAGE@sha256:…", arg))
			continue
		}
		r.Bases[m[1]] = m[2]
	}
	if len(r.Bases) == 0 {
		faults = append(faults, errors.New("no base image is named: give NAME=IMAGE@sha256:…"))
	}
	if err := checkMigrations(root); err != nil {
		faults = append(faults, err)
	}
	manifest := filepath.Join(root, "action.yml")
	old, err := os.ReadFile(manifest)
	if err != nil {
		faults = append(faults, err)
	} else if n := len(imageLine.FindAll(old, -1)); n != 1 {
		faults = append(faults, fmt.Errorf("action.yml has %d lines with an image, not one", n))
	}
	versioned := map[string]string{}
	for _, name := range []string{"Dockerfile", filepath.Join("deploy", "compose.yaml")} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			faults = append(faults, err)
		} else if n := len(versionLine.FindAll(text, -1)); n != 1 {
			faults = append(faults, fmt.Errorf("%s has %d lines with the version dev, not one", name, n))
		}
		versioned[name] = versionLine.ReplaceAllString(string(text), "${1}"+r.Version+"${2}")
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	for name, text := range versioned {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	pinned := imageLine.ReplaceAllString(string(old), "  image: "+strings.ReplaceAll(r.Image, "$", "$$"))
	if err := os.WriteFile(manifest, []byte(pinned), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, ".ci", "release.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s is %s\n", r.Version, r.Image)
	return err
}
