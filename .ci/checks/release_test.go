package main

import (
	"strings"
	"testing"
)

func TestRelease(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("a1", 32)
	image := "docker://ghcr.io/pageflare/ci@" + digest
	manifest := func(image string) string { return "name: x\nruns:\n  using: docker\n  image: " + image + "\n" }
	record := func(image, base string) string {
		return `{"version":"v1.2.3","image":"` + image + `","bases":{"GO_IMAGE":"` + base + `"}}`
	}
	base := "golang@" + digest
	for name, test := range map[string]struct {
		manifest, record, version string
		want                      []string
	}{
		"a branch builds the Dockerfile": {manifest: manifest("Dockerfile")},
		"a release names its image":      {manifest: manifest(image), record: record(image, base)},
		"a branch with an image": {manifest: manifest(image), want: []string{
			"action.yml:4: has image " + image + " and there is no .ci/release.json; let branches build the Dockerfile: only .ci/release changes this line"}},
		"a tag in the place of a digest": {manifest: manifest("docker://ghcr.io/pageflare/ci:v1"), record: record("docker://ghcr.io/pageflare/ci:v1", base), want: []string{
			".ci/release.json:1: names docker://ghcr.io/pageflare/ci:v1; name docker://ghcr.io/pageflare/ci by its digest"}},
		"another repository": {manifest: manifest(strings.Replace(image, "pageflare", "pagef1are", 1)), record: record(strings.Replace(image, "pageflare", "pagef1are", 1), base), want: []string{
			".ci/release.json:1: names " + strings.Replace(image, "pageflare", "pagef1are", 1) + "; name docker://ghcr.io/pageflare/ci by its digest"}},
		"two digests": {manifest: manifest(strings.Replace(image, "a1", "b2", 1)), record: record(image, base), want: []string{
			"action.yml:4: has image " + strings.Replace(image, "a1", "b2", 1) + ", and the record of the release " + image + "; let .ci/release write both"}},
		"a record and a Dockerfile": {manifest: manifest("Dockerfile"), record: record(image, base), want: []string{
			"action.yml:4: has image Dockerfile, and the record of the release " + image + "; let .ci/release write both"}},
		"a base by its tag": {manifest: manifest(image), record: record(image, "golang:1.26"), want: []string{
			".ci/release.json:1: names the base GO_IMAGE as golang:1.26; name it by its digest"}},
		"a branch with a version": {manifest: manifest("Dockerfile"), version: "v1.2.3", want: []string{
			"Dockerfile:2: says version v1.2.3 and there is no .ci/release.json; let branches say dev: only .ci/release changes this line"}},
		"two versions": {manifest: manifest(image), record: record(image, base), version: "dev", want: []string{
			"Dockerfile:2: says version dev, and the record of the release v1.2.3; let .ci/release write both"}},
		"a record that is none": {manifest: manifest(image), record: "[]", want: []string{
			".ci/release.json:1: is not the record of a release: json: cannot unmarshal array into Go value of type main.releaseRecord; let .ci/release write it"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{"action.yml": test.manifest, "Dockerfile": "ARG VERSION=dev\n"}
			if test.record != "" {
				files[".ci/release.json"], files["Dockerfile"] = test.record, "ARG VERSION=v1.2.3\n"
			}
			if test.version != "" {
				files["Dockerfile"] = "FROM x\nARG VERSION=" + test.version + "\n"
			}
			got, err := release(checkoutOf(files))
			wantFaults(t, got, err, test.want...)
		})
	}
}
