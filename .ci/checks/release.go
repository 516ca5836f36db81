package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// releaseRecord is what a release knows of its image: .ci/release.json, which .ci/release writes
// into the tagged commit.
type releaseRecord struct {
	Version string            `json:"version"`
	Image   string            `json:"image"`
	Bases   map[string]string `json:"bases"`
}

const imageName = "ghcr.io/pageflare/ci"

var (
	imageLine   = regexp.MustCompile(`^  image: *(\S+)$`)
	versionLine = regexp.MustCompile(`^ARG VERSION=(\S+)$`)
	pinnedImage = regexp.MustCompile(`^docker://` + regexp.QuoteMeta(imageName) + `@sha256:[0-9a-f]{64}$`)
	pinnedBase  = regexp.MustCompile(`^\S+@sha256:[0-9a-f]{64}$`)
)

// release holds action.yml, Dockerfile and the record of the release equal: main builds the
// Dockerfile as version dev and has no record; a tagged commit names, by its digest, the image that
// was built for it, and so does the record, whose version a build of the commit says. A tag of an
// image could be moved to another one.
func release(c checkout) ([]fault, error) {
	manifest, faults, err := c.mustLines("action.yml")
	if err != nil || faults != nil {
		return faults, err
	}
	image, line := "", 1
	for i, text := range manifest {
		if m := imageLine.FindStringSubmatch(text); m != nil {
			image, line = m[1], i+1
		}
	}
	build, faults, err := c.mustLines("Dockerfile")
	if err != nil || faults != nil {
		return faults, err
	}
	version, versionAt := "", 1
	for i, text := range build {
		if m := versionLine.FindStringSubmatch(text); m != nil {
			version, versionAt = m[1], i+1
		}
	}
	record, err := fs.ReadFile(c.files, ".ci/release.json")
	if err != nil { // a branch
		if version != "dev" {
			return []fault{{"Dockerfile", versionAt, "says version " + version + " and there is no .ci/release.json", "let branches say dev: only .ci/release changes this line"}}, nil
		}
		if image != "Dockerfile" {
			return []fault{{"action.yml", line, "has image " + image + " and there is no .ci/release.json", "let branches build the Dockerfile: only .ci/release changes this line"}}, nil
		}
		return nil, nil
	}
	var r releaseRecord
	dec := json.NewDecoder(strings.NewReader(string(record)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return []fault{{".ci/release.json", 1, fmt.Sprintf("is not the record of a release: %v", err), "let .ci/release write it"}}, nil
	}
	if !pinnedImage.MatchString(r.Image) {
		faults = append(faults, fault{".ci/release.json", 1, "names " + r.Image, "name docker://" + imageName + " by its digest"})
	}
	if image != r.Image {
		faults = append(faults, fault{"action.yml", line, "has image " + image + ", and the record of the release " + r.Image, "let .ci/release write both"})
	}
	if version != r.Version {
		faults = append(faults, fault{"Dockerfile", versionAt, "says version " + version + ", and the record of the release " + r.Version, "let .ci/release write both"})
	}
	for name, base := range r.Bases {
		if !pinnedBase.MatchString(base) {
			faults = append(faults, fault{".ci/release.json", 1, "names the base " + name + " as " + base, "name it by its digest"})
		}
	}
	return faults, nil
}
