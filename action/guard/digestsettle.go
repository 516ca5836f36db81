package guard

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Settle decides which files are restored and which are rewritten, and in which order.
//
// A file that is restored holds the digests of the source again, so what these name is restored
// too. A file that is rewritten changes, so its own digests must be replaced where they stand. Both
// go on until nothing changes any more; where files name each other in a circle, they are restored.
// The number of restored files only grows, so it ends, and the worst case is the source.
func (d *Digests) Settle() Plan {
	d.prepare.Do(d.complete)
	mentioners := d.mentioners()
	for {
		d.spread(mentioners)
		if d.freezeBroken() {
			continue
		}
		order, circle := d.order()
		if len(circle) == 0 {
			return Plan{Restore: d.restored(), Steps: d.steps(order)}
		}
		for _, f := range circle {
			d.freeze(f, "files name each other by their digests in a circle")
		}
	}
}

// mentioners lists for each group the files that name it in what is to be published.
func (d *Digests) mentioners() [][]*notedFile {
	by := make([][]*notedFile, len(d.groups))
	for _, f := range d.files {
		for number, m := range f.mentions {
			if m.inPublished {
				by[number] = append(by[number], f)
			}
		}
	}
	return by
}

// spread finds out which files will hold other bytes than the source's.
func (d *Digests) spread(mentioners [][]*notedFile) {
	var queue []*notedFile
	mark := func(f *notedFile) {
		if !f.frozen && !f.changing {
			f.changing = true
			queue = append(queue, f)
		}
	}
	for _, f := range d.files {
		f.changing = false
	}
	for _, f := range d.files {
		if f.changed {
			mark(f)
		}
	}
	for len(queue) > 0 {
		f := queue[0]
		queue = queue[1:]
		for _, sibling := range f.siblings {
			mark(d.files[sibling])
		}
		if f.group >= 0 {
			for _, by := range mentioners[f.group] {
				if by.mentions[f.group].blocked == "" {
					mark(by)
				}
			}
		}
	}
}

// freezing is a file that cannot change, and why.
type freezing struct {
	file *notedFile
	why  string
}

// freezeBroken freezes what cannot change as things stand, and reports whether there was any. All
// is found before the first is frozen, so that the answer does not depend on the order of files.
func (d *Digests) freezeBroken() bool {
	var list []freezing
	for _, f := range d.files {
		if f.frozen && f.of >= 0 {
			list = append(list, freezing{d.files[f.of],
				fmt.Sprintf("its compressed form %q must stay as it is", f.path)})
		}
		if f.frozen {
			continue // what it names is frozen already
		}
		for number, m := range f.mentions {
			g := d.groups[number]
			if why := d.whyBroken(f, m, g); why != "" {
				for _, named := range g.files {
					list = append(list, freezing{d.files[named], why})
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b freezing) int {
		return cmp.Or(cmp.Compare(a.file.path, b.file.path), cmp.Compare(a.why, b.why))
	})
	frozen := false
	for _, l := range list {
		frozen = d.freeze(l.file, l.why) || frozen
	}
	return frozen
}

// whyBroken says why a mention in f would be out of date if the files that it means were to change.
func (d *Digests) whyBroken(f *notedFile, m *mention, g *group) string {
	switch {
	case !m.inPublished || !d.changes(g):
		return ""
	case m.blocked != "":
		return fmt.Sprintf("%q names it by its digest (%s), which cannot be replaced: %s",
			f.path, algorithmNames[m.algorithm], m.blocked)
	case m.checked && d.isCached(f, g):
		return fmt.Sprintf("%q names it by its integrity, and browsers that have a file of this name "+
			"stored do not ask for it again", f.path)
	case !d.stayEqual(g):
		return fmt.Sprintf("%q names several equal files by one digest, and they would differ", f.path)
	}
	return ""
}

func (d *Digests) changes(g *group) bool {
	return slices.ContainsFunc(g.files, func(f int32) bool { return d.files[f].changing })
}

// stayEqual reports whether files that are equal in the source will be so when published. For what
// is not decided yet (files that are rewritten in ways that depend on where they are) it says no.
func (d *Digests) stayEqual(g *group) bool {
	if len(g.files) == 1 {
		return true
	}
	first := d.files[g.files[0]]
	for _, number := range g.files {
		f := d.files[number]
		if f.changing != first.changing || f.sum != first.sum || f.of >= 0 {
			return false
		}
		if kindOf(f.path) == asPage && d.rewritten(f) {
			return false
		}
	}
	return true
}

// rewritten reports whether digests in a file will be replaced.
func (d *Digests) rewritten(f *notedFile) bool {
	if f.frozen {
		return false
	}
	for number, m := range f.mentions {
		if m.inPublished && m.blocked == "" && d.changes(d.groups[number]) {
			return true
		}
	}
	return false
}

// freeze keeps a file as it is in the source, and so all files whose digests it has there. It
// reports whether that is new.
func (d *Digests) freeze(f *notedFile, why string) bool {
	if f.frozen || !f.existed {
		return false
	}
	f.frozen, f.why = true, why
	for queue := []*notedFile{f}; len(queue) > 0; queue = queue[1:] {
		by := queue[0]
		for number, m := range by.mentions {
			if !m.inSource {
				continue
			}
			for _, named := range d.groups[number].files {
				if to := d.files[named]; !to.frozen {
					to.frozen = true
					to.why = fmt.Sprintf("%q names it by its digest and must stay as it is", by.path)
					queue = append(queue, to)
				}
			}
		}
	}
	return true
}

// needs are the files that must be complete before f is written.
func (d *Digests) needs(f *notedFile) []*notedFile {
	var list []*notedFile
	if f.of >= 0 && d.files[f.of].changing {
		list = append(list, d.files[f.of])
	}
	for number, m := range f.mentions {
		if !m.inPublished {
			continue
		}
		for _, named := range d.groups[number].files {
			if to := d.files[named]; to.changing {
				list = append(list, to)
			}
		}
	}
	return list
}

// order sorts the files that change so that each comes after those that it needs. circle are those
// for which that is not possible, and what lies between them.
func (d *Digests) order() (order, circle []*notedFile) {
	waits, needed := map[*notedFile]int{}, map[*notedFile][]*notedFile{}
	var changing, ready []*notedFile
	for _, f := range d.files {
		if f.changing {
			changing = append(changing, f)
		}
	}
	slices.SortFunc(changing, func(a, b *notedFile) int { return cmp.Compare(a.path, b.path) })
	for _, f := range changing {
		needs := d.needs(f)
		for _, to := range needs {
			needed[to] = append(needed[to], f)
		}
		if waits[f] = len(needs); len(needs) == 0 {
			ready = append(ready, f)
		}
	}
	for len(ready) > 0 {
		f := ready[0]
		ready, order = ready[1:], append(order, f)
		for _, by := range needed[f] {
			if waits[by]--; waits[by] == 0 {
				ready = append(ready, by)
			}
		}
	}
	return order, d.inCircles(changing, waits, needed)
}

// inCircles are those of the files still waiting that others still waiting need.
func (d *Digests) inCircles(
	changing []*notedFile, waits map[*notedFile]int, needed map[*notedFile][]*notedFile,
) []*notedFile {
	users := map[*notedFile]int{}
	var circle, unused []*notedFile
	for _, f := range changing {
		if waits[f] == 0 {
			continue
		}
		circle = append(circle, f)
		for _, by := range needed[f] {
			if waits[by] > 0 {
				users[f]++
			}
		}
		if users[f] == 0 {
			unused = append(unused, f)
		}
	}
	dropped := map[*notedFile]bool{}
	for ; len(unused) > 0; unused = unused[1:] {
		f := unused[0]
		dropped[f] = true
		for _, to := range d.needs(f) {
			if waits[to] == 0 {
				continue
			}
			if users[to]--; users[to] == 0 {
				unused = append(unused, to)
			}
		}
	}
	return slices.DeleteFunc(circle, func(f *notedFile) bool { return dropped[f] })
}

func (d *Digests) restored() []Restored {
	var list []Restored
	for _, f := range d.files {
		if f.frozen && f.changed {
			list = append(list, Restored{Path: f.path, Difference: Difference{
				Kind: KindIntegrity, Detail: f.why, Key: keyOf(f.path),
			}})
		}
	}
	slices.SortFunc(list, func(a, b Restored) int { return strings.Compare(a.Path, b.Path) })
	return list
}

func (d *Digests) steps(order []*notedFile) []Step {
	var steps []Step
	for _, f := range order {
		switch {
		case f.of >= 0:
			steps = append(steps, Step{Path: f.path, Of: d.files[f.of].path})
		case d.rewritten(f):
			steps = append(steps, Step{Path: f.path})
		}
	}
	return steps
}

// sumKey names the digest of a group in the end.
type sumKey struct {
	group int32
	algorithm
}

// Rewrite replaces the digests in content, which is what was scanned as published, in the order of
// Plan.Steps. read gives the bytes of another file as they are published by then; its error comes
// back. It is not for concurrent use.
func (d *Digests) Rewrite(
	path string, content []byte, read func(path string) ([]byte, error),
) ([]byte, error) {
	var out bytes.Buffer
	reader := d.reader(path, content)
	written := 0
	for _, f := range d.digestsIn(content) {
		g := d.groups[f.group]
		if blocked, names := reader.judge(f); blocked != "" || !names || !d.changes(g) {
			continue
		}
		sum, err := d.finalSum(f, read)
		if err != nil {
			return nil, fmt.Errorf("replace the digests in %q: %w", path, err)
		}
		out.Write(content[written:f.start])
		named := reader.follows(f, algorithmNames[f.algorithm]+"-") // sha256-…
		out.WriteString(f.spell(sum, named))
		written = f.end
	}
	out.Write(content[written:])
	return out.Bytes(), nil
}

func (d *Digests) finalSum(f found, read func(path string) ([]byte, error)) ([]byte, error) {
	k := sumKey{f.group, f.algorithm}
	if sum, ok := d.final[k]; ok {
		return sum, nil
	}
	content, err := read(d.files[d.groups[f.group].files[0]].path)
	if err != nil {
		return nil, err
	}
	d.final[k] = sumOf(f.algorithm, content)
	return d.final[k], nil
}
