package optimize

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/pageflare/ci/action/guard"
)

// settleDigests makes sure that no file of the site names another one by a digest of bytes that are
// not published, and makes precompressed siblings of changed files anew.
func (j *judge) settleDigests(ctx context.Context) error {
	if len(j.published) == 0 {
		return nil
	}
	if err := j.findSiblings(ctx); err != nil {
		return err
	}
	if err := j.noteTwins(ctx); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(j.siblings)) {
		of, _, _ := guard.SiblingOf(name)
		j.digests.Sibling(name, of)
	}
	var names []string
	for name := range j.sources {
		if guard.HoldsDigests(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	err := j.each(ctx, names, func(name string) error {
		source, published, err := j.both(name)
		if err == nil && source != nil {
			j.digests.Scan(name, source, published)
		}
		return err
	})
	if err != nil {
		return err
	}
	plan := j.digests.Settle()
	for _, r := range plan.Restore {
		if !j.published[r.Path] {
			continue
		}
		if err := j.withdraw(r.Path, r.Difference); err != nil {
			return err
		}
	}
	for _, step := range plan.Steps {
		if err := j.take(step); err != nil {
			return err
		}
	}
	return nil
}

// both reads a file as it was and as it is published; nil for one that is too large to have
// changed.
func (j *judge) both(name string) (source, published []byte, err error) {
	info, err := j.from.Stat(j.sources[name])
	if err != nil || info.Size() > guard.MaxFile {
		return nil, nil, err
	}
	if source, err = readFile(j.from, j.sources[name]); err != nil || !j.published[name] {
		return source, source, err
	}
	published, err = readFile(j.to, name)
	return source, published, err
}

// noteTwins notes the unchanged files that may equal one that changed: a digest of both cannot be
// replaced. Only files of the size of a changed one are read.
func (j *judge) noteTwins(ctx context.Context) error {
	sizes := map[int64]bool{}
	for name := range j.published {
		info, err := j.from.Stat(j.sources[name])
		if err != nil {
			return err
		}
		sizes[info.Size()] = true
	}
	var names []string
	for name, size := range j.unread {
		if sizes[size] && size <= guard.MaxFile {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return j.each(ctx, names, func(name string) error {
		source, err := readFile(j.from, j.sources[name])
		if err == nil {
			j.digests.Note(name, source, source)
		}
		return err
	})
}

// findSiblings finds the precompressed files that hold what another file of the source holds, and
// those that only seem to by their names.
func (j *judge) findSiblings(ctx context.Context) error {
	var names []string
	for name := range j.sources {
		of, _, ok := guard.SiblingOf(name)
		if _, there := j.sources[of]; ok && there {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return j.each(ctx, names, func(name string) error {
		of, format, _ := guard.SiblingOf(name)
		compressed, err := readFile(j.from, j.sources[name])
		if err != nil {
			return nil // too large to be compared
		}
		source, err := readFile(j.from, j.sources[of])
		if err != nil {
			return nil
		}
		if guard.HoldsSame(format, compressed, source) {
			j.digests.Note(name, compressed, compressed) // it was not read before
			j.mu.Lock()
			j.siblings[name] = true
			j.mu.Unlock()
			return nil
		}
		j.mu.Lock()
		j.strangers = append(j.strangers, name)
		j.mu.Unlock()
		return nil
	})
}

// take does one step of a plan.
func (j *judge) take(step guard.Step) error {
	read := func(name string) ([]byte, error) { return readFile(j.to, name) }
	content, err := read(cmp.Or(step.Of, step.Path))
	if err != nil {
		return err
	}
	if step.Of == "" {
		content, err = j.digests.Rewrite(step.Path, content, read)
	} else {
		_, format, _ := guard.SiblingOf(step.Path)
		content, err = guard.Recompress(format, content)
	}
	if err != nil {
		return err
	}
	j.published[step.Path] = true
	return writeFile(j.to, step.Path, content)
}

// broken are the references of the published site to files that it does not have.
func (p *Plan) broken(ctx context.Context, j *judge, staged tree) ([]BrokenRef, error) {
	there := make(map[string]bool, len(staged.nodes))
	var names []string
	for _, n := range staged.nodes {
		there[n.path] = true
		if n.kind == 0 && n.size <= guard.MaxFile && refers(n.path) {
			names = append(names, n.path)
		}
	}
	has := func(name string) bool {
		if there[name] {
			return true
		}
		_, err := j.to.Stat(name) // behind a link to a folder
		return err == nil
	}
	err := j.each(ctx, names, func(name string) error {
		j.mu.Lock()
		refs, known := j.open[name]
		j.mu.Unlock()
		if !known {
			content, err := readFile(j.to, name)
			if err != nil {
				return err
			}
			refs = j.references(name, content)
		}
		for _, r := range guard.Missing(refs, has) {
			j.mu.Lock()
			j.missing = append(j.missing, BrokenRef{Source: r.From, Target: r.Target})
			j.mu.Unlock()
		}
		return nil
	})
	slices.SortFunc(j.missing, func(a, b BrokenRef) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Target, b.Target))
	})
	return j.missing[:min(len(j.missing), maxMissing)], err
}
