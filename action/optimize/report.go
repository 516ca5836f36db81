package optimize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Report is what a run did. Tier is the CLI's own word; sizes are measured on disk, since the CLI's
// totals leave out images, new variants and its last pass, and broken references are looked for in
// what is published, since many on the CLI's list are there.
type Report struct {
	Tier             string
	Profile          Profile     // that the CLI ran with; ProfileOwn for a configuration of the site's
	Guard            Guarded     // what the guard found; also of a run that it failed
	BrokenRefs       []BrokenRef // of the published site
	BrokenRefsFailed bool        // under --fail-on-broken-refs; the output is complete all the same
	ExitCode         int         // 0, or 1 when BrokenRefsFailed: pass it on

	// Before is the source as it was, without what is never published (Git checkouts, the CLI's own
	// files). After is all that lies in the output now. In place both are the same folder at two
	// times; with an output of its own, Before is still in Source, and what the output held earlier
	// counts nowhere. Links count nothing: a link to a file is 0 bytes before and a file of its own
	// after.
	Before, After Total
	Changes       []Change // every file

	OptimizedBefore string // a page of the source that the CLI had optimized already; empty without one

	Restored []string // files the CLI leaves out by their type or folder, brought over as they were
	Omitted  []string // files the CLI's wp_hide hides on purpose
	Warnings []string // sentences for the user
	Duration time.Duration

	// Parts of Duration: the CLI, both runs of it where there were two, and the guard.
	Optimizing, Guarding time.Duration
}

// BrokenRef is an asset that page Source names and the site does not have.
type BrokenRef struct{ Source, Target string }

// BytesSaved is negative when the site grew.
func (r Report) BytesSaved() int64 { return r.Before.Bytes - r.After.Bytes }

// wire is what --json prints:
//
//	{"manifest":{"files_errored":0,…,"broken_refs":[{"source":"index.html","target":"no.png"}]},"tier":"Free",…}
type wire struct {
	Manifest *struct {
		FilesErrored int               `json:"files_errored"`
		Errors       []json.RawMessage `json:"errors"`
		BrokenRefs   []struct {
			Source string `json:"source"`
			Target string `json:"target"`
		} `json:"broken_refs"`
	} `json:"manifest"`
	Tier string `json:"tier"`
}

var errNoManifest = errors.New("no manifest on its standard output")

// ParseManifest reads what the CLI prints with --json: lines of prose that some of its passes print
// first, then one JSON document and nothing more. Unknown fields are ignored.
func ParseManifest(stdout []byte) (Report, error) {
	var w wire
	doc := afterProse(stdout)
	if doc == nil {
		return Report{}, errNoManifest
	}
	if err := json.Unmarshal(doc, &w); err != nil {
		return Report{}, fmt.Errorf("read manifest: %w", err)
	}
	if w.Manifest == nil {
		return Report{}, errNoManifest
	}
	return w.report(), nil
}

// afterProse begins at the first line that opens a JSON object; nil when there is none.
func afterProse(b []byte) []byte {
	for len(b) > 0 {
		if b[0] == '{' {
			return b
		}
		_, b, _ = bytes.Cut(b, []byte("\n"))
	}
	return nil
}

func (w wire) report() Report {
	r := Report{Tier: w.Tier}
	for _, b := range w.Manifest.BrokenRefs {
		r.BrokenRefs = append(r.BrokenRefs, BrokenRef(b))
	}
	if n := max(w.Manifest.FilesErrored, len(w.Manifest.Errors)); n > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("the optimizer could not process %d of the files; they are published as they were", n))
	}
	for _, e := range w.Manifest.Errors {
		r.Warnings = append(r.Warnings, fmt.Sprintf("optimizer: %s", e))
	}
	return r
}
