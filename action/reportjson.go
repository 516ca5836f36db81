package main

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pageflare/ci/action/guard"
	"github.com/pageflare/ci/action/optimize"
	"github.com/pageflare/ci/action/summary"
	"github.com/pageflare/ci/github/secret"
)

// reportVersion changes when a member of the report changes its meaning or goes away. New members
// do not change it.
const reportVersion = 1

// maxListed is the most files that the report lists: those whose size changed most.
const maxListed = 10000

// jsonReport is the JSON report. docs/action.md describes it.
type jsonReport struct {
	Version  int           `json:"version"`
	Action   string        `json:"action"`
	Mode     Mode          `json:"mode"`
	ExitCode int           `json:"exit_code"`
	Problems []jsonProblem `json:"problems"`
	Token    jsonToken     `json:"token"`
	Secret   *jsonSecret   `json:"secret"`
	Check    *jsonCheck    `json:"check"`
	Site     *jsonSite     `json:"site"`
	Guard    *jsonGuard    `json:"guard"`
}

type jsonProblem struct {
	Level string `json:"level"` // error or warning
	Text  string `json:"text"`
}

type jsonToken struct {
	State      State      `json:"state"`
	Reason     string     `json:"reason"`
	Refreshed  bool       `json:"refreshed"`
	Tier       string     `json:"tier"`
	ExpiresAt  *time.Time `json:"expires_at"`
	ValidUntil *time.Time `json:"valid_until"`
}

type jsonSecret struct {
	Name    string       `json:"name"`
	Targets []jsonTarget `json:"targets"`
}

type jsonTarget struct {
	Target  string `json:"target"`
	Outcome string `json:"outcome"` // created, updated or failed
	Error   string `json:"error,omitempty"`
}

type jsonCheck struct {
	Secret  string        `json:"secret"`
	Targets []jsonFinding `json:"targets"`
}

type jsonFinding struct {
	Target    string     `json:"target"`
	Writable  *bool      `json:"writable"`   // null: shows only when it is written
	Exists    *bool      `json:"exists"`     // null: not known
	UpdatedAt *time.Time `json:"updated_at"` // null: not known
	Access    string     `json:"access,omitempty"`
	Error     string     `json:"error,omitempty"`
}

type jsonSite struct {
	Source       string          `json:"source"`
	Output       string          `json:"output"`
	InPlace      bool            `json:"in_place"`
	Tier         string          `json:"tier"`
	Profile      string          `json:"profile"` // safe, full or own
	DurationMS   int64           `json:"duration_ms"`
	Before       jsonSize        `json:"before"`
	After        jsonSize        `json:"after"`
	BytesSaved   int64           `json:"bytes_saved"`
	Types        []jsonType      `json:"types"`
	Files        []jsonFile      `json:"files"`
	FilesOmitted int             `json:"files_omitted"`
	BrokenRefs   []jsonBrokenRef `json:"broken_refs"`
	Warnings     []string        `json:"warnings"`
}

type jsonSize struct {
	Files     int    `json:"files"`
	Bytes     int64  `json:"bytes"`
	Gzip      *int64 `json:"gzip"`   // bytes that a server sends; null: not measured
	Brotli    *int64 `json:"brotli"` // likewise
	Estimated bool   `json:"estimated,omitempty"`
}

type jsonType struct {
	Type   string   `json:"type"`
	Before jsonSize `json:"before"`
	After  jsonSize `json:"after"`
}

type jsonFile struct {
	Path   string `json:"path"`
	Type   string `json:"type"`
	Before *int64 `json:"bytes_before"` // null: it is new
	After  *int64 `json:"bytes_after"`  // null: it is gone
}

// jsonGuard is what the guard found; null where no result was compared.
type jsonGuard struct {
	Mode         optimize.Guard `json:"mode"`
	Restored     int            `json:"restored"`
	Repaired     int            `json:"repaired"`
	PutBack      []jsonPutBack  `json:"put_back"`
	SwitchedOff  []string       `json:"switched_off"`
	Costs        []jsonCost     `json:"costs"`
	Files        []jsonRejected `json:"files"`
	FilesOmitted int            `json:"files_omitted"`
}

type jsonPutBack struct {
	Kind    guard.Kind `json:"kind"`
	Key     string     `json:"key,omitempty"`
	Files   int        `json:"files"`
	Example string     `json:"example"`
	Detail  string     `json:"detail"`
}

type jsonCost struct {
	Kind  guard.Kind `json:"kind"`
	Key   string     `json:"key,omitempty"`
	Files int        `json:"files"`
	Bytes int64      `json:"bytes"`
}

type jsonRejected struct {
	Path        string           `json:"path"`
	Before      int64            `json:"bytes_before"`
	After       int64            `json:"bytes_after"`
	Differences []jsonDifference `json:"differences"`
}

type jsonDifference struct {
	Kind   guard.Kind `json:"kind"`
	Detail string     `json:"detail"`
	Before string     `json:"before,omitempty"`
	After  string     `json:"after,omitempty"`
	Key    string     `json:"key,omitempty"`
}

type jsonBrokenRef struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// jsonReport is the run as programs read it.
func (r *run) jsonReport() jsonReport {
	out := jsonReport{
		Version: reportVersion, Action: version, Mode: r.cfg.Mode, ExitCode: r.exit, Problems: []jsonProblem{},
		Token: jsonToken{
			State: r.state, Reason: r.reason, Refreshed: r.state == StateRefreshed, Tier: r.tier(),
			ExpiresAt: orNull(r.claims.ExpiresAt), ValidUntil: orNull(r.claims.ValidUntil),
		},
	}
	for _, p := range r.problems {
		level := "warning"
		if p.fails {
			level = "error"
		}
		out.Problems = append(out.Problems, jsonProblem{level, p.text})
	}
	if len(r.writes) > 0 {
		out.Secret = &jsonSecret{Name: r.cfg.SecretName}
		for _, w := range r.writes {
			out.Secret.Targets = append(out.Secret.Targets, jsonTarget{w.target, orElse(w.outcome, "failed"), errText(w.err)})
		}
	}
	if len(r.findings) > 0 {
		out.Check = &jsonCheck{Secret: r.cfg.SecretName}
		for _, f := range r.findings {
			out.Check.Targets = append(out.Check.Targets, jsonFindingOf(f))
		}
	}
	if r.site != nil {
		out.Site = r.jsonSite(*r.site)
	}
	out.Guard = r.jsonGuard()
	return out
}

func (r *run) jsonGuard() *jsonGuard {
	g := r.guarded
	if r.cfg.Guard == optimize.GuardOff || r.site == nil && len(g.Rejected) == 0 {
		return nil
	}
	out := &jsonGuard{
		Mode: r.cfg.Guard, Restored: len(g.Rejected), Repaired: g.Repaired, SwitchedOff: append([]string{}, g.Rerun...),
		PutBack: []jsonPutBack{}, Costs: []jsonCost{}, Files: []jsonRejected{}, FilesOmitted: max(0, len(g.Rejected)-maxListed),
	}
	for _, p := range g.PutBack {
		out.PutBack = append(out.PutBack, jsonPutBack(p))
	}
	for _, c := range g.Costs() {
		out.Costs = append(out.Costs, jsonCost(c))
	}
	for _, f := range g.Rejected[:min(len(g.Rejected), maxListed)] {
		file := jsonRejected{Path: f.Path, Before: f.Before, After: f.After}
		for _, d := range f.Differences {
			file.Differences = append(file.Differences, jsonDifference(d))
		}
		out.Files = append(out.Files, file)
	}
	return out
}

func jsonFindingOf(f secret.Finding) jsonFinding {
	out := jsonFinding{Target: f.Target.String(), UpdatedAt: orNull(f.UpdatedAt), Access: f.Access, Error: errText(f.Err)}
	if f.Err != nil && !silent(f.Err) || f.Proven {
		out.Writable = new(f.Err == nil)
	}
	if f.Known {
		out.Exists = &f.Exists
	}
	return out
}

func (r *run) jsonSite(s optimize.Report) *jsonSite {
	p := r.cfg.Plan
	out := &jsonSite{
		Source: r.relative(p.Source), Output: r.relative(p.Output), InPlace: p.InPlace, Tier: s.Tier, Profile: string(s.Profile), DurationMS: s.Duration.Milliseconds(),
		Before: sumOf(s.Before), After: sumOf(s.After), BytesSaved: s.BytesSaved(),
		Types: typeSizes(s), Files: []jsonFile{}, BrokenRefs: []jsonBrokenRef{}, Warnings: append([]string{}, s.Warnings...),
	}
	listed := s.Changes
	if len(listed) > maxListed {
		listed = slices.SortedStableFunc(slices.Values(listed), byChange)[:maxListed]
		out.FilesOmitted = len(s.Changes) - maxListed
	}
	for _, c := range listed {
		out.Files = append(out.Files, jsonFile{c.Path, string(c.Type), orNone(c.Before), orNone(c.After)})
	}
	for _, b := range s.BrokenRefs {
		out.BrokenRefs = append(out.BrokenRefs, jsonBrokenRef(b))
	}
	return out
}

// typeSizes are the sizes by type, largest first.
func typeSizes(s optimize.Report) []jsonType {
	byType := map[string]*jsonType{}
	for _, c := range s.Changes {
		t := byType[string(c.Type)]
		if t == nil {
			t = &jsonType{Type: string(c.Type)}
			byType[t.Type] = t
		}
		t.Before.add(c.Before)
		t.After.add(c.After)
	}
	out := []jsonType{}
	for name, t := range byType {
		t.Before.pack(s.Before.Packed, optimize.Type(name))
		t.After.pack(s.After.Packed, optimize.Type(name))
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b jsonType) int {
		return cmp.Or(cmp.Compare(b.Before.Bytes, a.Before.Bytes), cmp.Compare(b.After.Bytes, a.After.Bytes), strings.Compare(a.Type, b.Type))
	})
	return out
}

func (s *jsonSize) add(bytes int64) {
	if bytes >= 0 {
		s.Files++
		s.Bytes += bytes
	}
}

// pack fills in what a type weighs when it is sent; a type without files weighs nothing.
func (s *jsonSize) pack(packed map[optimize.Type]optimize.Packed, kind optimize.Type) {
	if packed != nil {
		p := packed[kind]
		s.Gzip, s.Brotli, s.Estimated = &p.Gzip, &p.Brotli, p.Estimated
	}
}

// sumOf is one side of the site.
func sumOf(t optimize.Total) jsonSize {
	s := jsonSize{Files: t.Files, Bytes: t.Bytes}
	if sum, ok := t.PackedSum(); ok {
		s.Gzip, s.Brotli, s.Estimated = &sum.Gzip, &sum.Brotli, sum.Estimated
	}
	return s
}

func (s jsonSize) size() summary.Size { return summary.Size{Files: s.Files, Bytes: s.Bytes} }

func (s jsonSize) packed() *summary.Packed {
	if s.Gzip == nil {
		return nil
	}
	return &summary.Packed{Gzip: *s.Gzip, Brotli: *s.Brotli, Estimated: s.Estimated}
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}

func orNone(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}
