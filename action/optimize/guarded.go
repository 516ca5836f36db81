package optimize

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/pageflare/ci/action/guard"
)

// Guarded is what the guard found. docs/action.md says what is compared.
type Guarded struct {
	Rejected []Rejected // results that are not the same file, by path
	Repaired int        // files into which what the optimizer lost was put back
	PutBack  []PutBack  // what that was, of most files first
	Rerun    []string   // keys of pageflare.jsonc that were switched off for a second run
}

// Rejected is a file whose result was not the same: the file is published as it was.
type Rejected struct {
	Path          string
	Differences   []guard.Difference // at least one
	Before, After int64              // bytes of the file, and of the result that is not published
}

// PutBack is one kind of thing that the optimizer lost and that was put back.
type PutBack struct {
	Kind    guard.Kind
	Key     string // of pageflare.jsonc that avoids it; "" when none can be named
	Files   int
	Example string // the first of them, by path
	Detail  string // what differed in that one, for a person
}

// Cost is what the results rejected for one kind of difference would have saved.
type Cost struct {
	Kind  guard.Kind
	Key   string // of pageflare.jsonc that avoids it; "" when none can be named
	Files int
	Bytes int64 // negative when the results were larger
}

// cause is why files are not published as the optimizer made them.
type cause struct {
	kind guard.Kind
	key  string
}

// Costs sums the rejected results up by their first difference, those of most files first.
func (g Guarded) Costs() []Cost {
	sums := map[cause]*Cost{}
	for _, r := range g.Rejected {
		c := cause{r.Differences[0].Kind, r.Differences[0].Key}
		if sums[c] == nil {
			sums[c] = &Cost{Kind: c.kind, Key: c.key}
		}
		sums[c].Files++
		sums[c].Bytes += r.Before - r.After
	}
	costs := make([]Cost, 0, len(sums))
	for _, c := range sums {
		costs = append(costs, *c)
	}
	slices.SortFunc(costs, func(a, b Cost) int {
		return cmp.Or(cmp.Compare(b.Files, a.Files), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key))
	})
	return costs
}

const (
	largeFile   = 4 << 20 // from here on one file at a time is read, so that many cores do not fill the memory
	maxDetailed = 10_000  // rejected files whose differences are all kept
	maxMissing  = 10_000  // broken references that are kept
)

// judge holds each file of a staged site against its source, and puts what is to be published into
// the stage. It is used by the calls of judgeAll, settle and broken, in this order.
type judge struct {
	plan     *Plan
	from, to *os.Root
	site     *guard.Site
	sources  map[string]string // files of the source: the path in the site, and where the bytes lie
	pages    int               // of the source
	fresh    map[string]int64  // files that only the stage has, with their sizes
	denied   map[string]bool   // of these: names that are too close to one of the source
	digests  *guard.Digests
	large    sync.Mutex

	mu        sync.Mutex
	published map[string]bool     // files published in another form than the source's
	rejected  map[string]Rejected // by path
	blamed    map[string]int      // pages that cannot be published optimized, by the key that causes it
	repaired  int                 // files
	putBack   map[cause]PutBack
	saved     int64                        // bytes, by all published files
	referrers map[string]map[string]bool   // by fresh file: the published files that refer to it
	open      map[string][]guard.Reference // by published file: what it refers to that is no file of the source
	missing   []BrokenRef
	siblings  map[string]bool  // precompressed files that follow another one
	strangers []string         // precompressed files that hold something else than their names say
	unread    map[string]int64 // unchanged files of which no digest was noted, with their sizes
}

// newJudge looks at what lies in the stage.
func (p *Plan) newJudge(source, staged tree, from, to *os.Root) *judge {
	j := &judge{
		plan: p, from: from, to: to, sources: map[string]string{}, fresh: map[string]int64{}, denied: map[string]bool{},
		published: map[string]bool{}, rejected: map[string]Rejected{}, blamed: map[string]int{}, referrers: map[string]map[string]bool{}, siblings: map[string]bool{},
		unread: map[string]int64{},
		open:   map[string][]guard.Reference{}, putBack: map[cause]PutBack{},
	}
	folded := map[string]bool{}
	for _, n := range source.nodes {
		folded[strings.ToLower(n.path)] = true
		if file, ok := source.file(n); ok {
			j.sources[n.path] = file
			if guard.IsPage(n.path) {
				j.pages++
			}
		}
	}
	var names []string
	for _, n := range staged.nodes {
		if n.kind != 0 {
			continue
		}
		names = append(names, n.path)
		if _, ok := j.sources[n.path]; !ok {
			j.fresh[n.path] = n.size
			j.denied[n.path] = folded[strings.ToLower(n.path)]
		}
	}
	j.site = guard.NewSite(guard.Config{
		Files: slices.Sorted(maps.Keys(j.sources)),
		Read:  func(name string) ([]byte, error) { return readFile(from, cmp.Or(j.sources[name], name)) },
	})
	j.digests = j.site.Digests(names)
	return j
}

// file is the path of the file that holds the bytes of a node: itself, or what a link leads to.
func (t tree) file(n node) (string, bool) {
	if n.kind == 0 {
		return n.path, true
	}
	if n.kind != fs.ModeSymlink {
		return "", false
	}
	target, err := filepath.EvalSymlinks(filepath.Join(t.root, n.path))
	if err != nil {
		return "", false
	}
	if info, err := os.Lstat(target); err != nil || !info.Mode().IsRegular() {
		return "", false
	}
	rel, err := filepath.Rel(t.root, target)
	return rel, err == nil && filepath.IsLocal(rel)
}

// judgeAll judges all files: pages first, since they say which scripts are modules.
func (j *judge) judgeAll(ctx context.Context) error {
	var pages, others []string
	for _, name := range slices.Sorted(maps.Keys(j.sources)) {
		if guard.IsPage(name) {
			pages = append(pages, name)
		} else {
			others = append(others, name)
		}
	}
	if err := j.each(ctx, pages, j.judge); err != nil {
		return err
	}
	return j.each(ctx, others, j.judge)
}

// each calls f for all names, on all cores. It ends at the first error.
func (j *judge) each(ctx context.Context, names []string, f func(name string) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	queue := make(chan string)
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(names)) {
		all.Go(func() {
			for name := range queue {
				if err := f(name); err != nil {
					stop(fmt.Errorf("compare %q with the source: %w", name, err))
				}
			}
		})
	}
	for _, name := range names {
		if ctx.Err() != nil {
			break
		}
		queue <- name
	}
	close(queue)
	all.Wait()
	return context.Cause(ctx)
}

// judge decides about one file of the source.
func (j *judge) judge(name string) error {
	if after, err := j.to.Lstat(name); err != nil || !after.Mode().IsRegular() { // a link that the optimizer left out and that was brought over
		return err
	}
	from, before, err := openFile(j.from, j.sources[name])
	if err != nil {
		return err
	}
	defer from.Close()
	to, after, err := openFile(j.to, name)
	if err != nil {
		return err
	}
	defer to.Close()
	was, is := before.Size(), after.Size()
	if max(was, is) > guard.MaxFile || !guard.HoldsDigests(name) && was == is {
		same, err := sameContent(from, to)
		if err != nil || same {
			j.mu.Lock()
			j.unread[name] = was
			j.mu.Unlock()
			return err
		}
		if max(was, is) > guard.MaxFile {
			d := guard.Difference{Kind: guard.KindInvalid, Detail: "the optimizer changed a file that is too large to compare"}
			return j.reject(name, was, is, []guard.Difference{d})
		}
		if err := errors.Join(rewind(from), rewind(to)); err != nil {
			return err
		}
	}
	if was+is > largeFile {
		j.large.Lock()
		defer j.large.Unlock()
	}
	source, err := readAll(from, was)
	if err != nil {
		return err
	}
	result, err := readAll(to, is)
	if err != nil {
		return err
	}
	return j.compare(name, source, result)
}

// compare asks the guard about one file and does what it says.
func (j *judge) compare(name string, source, result []byte) error {
	published := source
	defer func() {
		j.digests.Note(name, source, published)
		j.noteReferences(name, published)
	}()
	if bytes.Equal(source, result) {
		return nil
	}
	made := result
	if TypeOf(name) == HTML {
		made = j.plan.stamp(result)
	}
	verdict := j.site.Judge(name, source, made)
	switch verdict.Publish {
	case guard.PublishRepaired:
		made = verdict.Repaired
	case guard.PublishSource:
		switch {
		case verdict.NoGain:
			j.noteGrown(verdict.Differences)
		case len(verdict.Differences) > 0:
			j.note(name, int64(len(source)), int64(len(result)), verdict.Differences)
		}
		return writeFile(j.to, name, source)
	}
	if len(made) >= len(source) { // nothing was gained
		return writeFile(j.to, name, source)
	}
	published = made
	j.publish(name, int64(len(source)-len(made)), verdict)
	if bytes.Equal(made, result) {
		return nil
	}
	return writeFile(j.to, name, made)
}

// publish records that a file is published in another form than the source's.
func (j *judge) publish(name string, saved int64, v guard.Verdict) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.published[name] = true
	j.saved += saved
	if v.Publish != guard.PublishRepaired {
		return
	}
	j.repaired++
	seen := map[cause]bool{}
	for _, d := range v.Differences {
		c := cause{d.Kind, d.Key}
		if seen[c] {
			continue
		}
		seen[c] = true
		p, known := j.putBack[c]
		if !known || name < p.Example {
			p = PutBack{Kind: d.Kind, Key: d.Key, Files: p.Files, Example: name, Detail: d.Detail}
		}
		p.Files++
		j.putBack[c] = p
	}
}

// noteReferences remembers, while a published file is at hand, which new files it refers to, and
// what it refers to that the source does not have.
func (j *judge) noteReferences(name string, content []byte) {
	if !refers(name) {
		return
	}
	refs := slices.DeleteFunc(j.references(name, content), func(r guard.Reference) bool { return j.sources[r.Target] != "" })
	j.mu.Lock()
	defer j.mu.Unlock()
	j.open[name] = refs
	for _, r := range refs {
		if _, ok := j.fresh[r.Target]; ok {
			if j.referrers[r.Target] == nil {
				j.referrers[r.Target] = map[string]bool{}
			}
			j.referrers[r.Target][name] = true
		}
	}
}

// refers says whether references are looked for in a file.
func refers(name string) bool { return guard.IsPage(name) || TypeOf(name) == CSS }

// references are the files of the site that a page or sheet loads.
func (j *judge) references(name string, content []byte) []guard.Reference {
	switch {
	case guard.IsPage(name):
		return guard.References(name, content)
	case TypeOf(name) == CSS:
		return guard.SheetReferences(name, content)
	}
	return nil
}

// reject publishes a file as it was, for reasons.
func (j *judge) reject(name string, was, is int64, reasons []guard.Difference) error {
	j.note(name, was, is, reasons)
	return j.restore(name)
}

// note remembers a file that is published as it was, and why.
func (j *judge) note(name string, was, is int64, reasons []guard.Difference) {
	if guard.IsPage(name) {
		j.blame(reasons)
	}
	j.mu.Lock()
	if len(j.rejected) >= maxDetailed {
		reasons = []guard.Difference{{Kind: reasons[0].Kind, Detail: reasons[0].Detail, Key: reasons[0].Key}}
	}
	j.rejected[name] = Rejected{Path: name, Differences: reasons, Before: was, After: is}
	j.mu.Unlock()
}

// noteGrown remembers the passes for which a page, with what they lost put back, is no smaller than
// it was. minify_html is left out: without it the page would not be smaller either.
func (j *judge) noteGrown(reasons []guard.Difference) {
	j.blame(slices.DeleteFunc(slices.Clone(reasons), func(d guard.Difference) bool { return d.Key == guard.KeyHTML }))
}

// blame counts each key of the differences of one page.
func (j *judge) blame(reasons []guard.Difference) {
	j.mu.Lock()
	defer j.mu.Unlock()
	seen := map[string]bool{"": true}
	for _, d := range reasons {
		if !seen[d.Key] {
			seen[d.Key] = true
			j.blamed[d.Key]++
		}
	}
}

// restore puts the file of the source into the stage.
func (j *judge) restore(name string) error {
	j.mu.Lock()
	delete(j.published, name)
	delete(j.open, name)
	j.mu.Unlock()
	if err := j.to.Remove(name); err != nil {
		return err
	}
	return copyFile(j.from, j.sources[name], j.to, name)
}

// sameContent compares two files without keeping them.
func sameContent(a, b *os.File) (bool, error) {
	var left, right [64 << 10]byte
	for {
		n, err := io.ReadFull(a, left[:])
		m, other := io.ReadFull(b, right[:])
		if !bytes.Equal(left[:n], right[:m]) {
			return false, nil
		}
		switch {
		case err == nil && other == nil:
		case isEnd(err) && isEnd(other):
			return true, nil
		case isEnd(err) || isEnd(other):
			return false, nil
		default:
			return false, errors.Join(err, other)
		}
	}
}

func rewind(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

func isEnd(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

const (
	minCostly = 3  // pages
	perCostly = 20 // of so many pages, more than one
)

// costly are the keys that cost many pages: switched off, the other passes may save something
// there. A key that only makes files of its own, such as scripts, is none: those that pass are
// worth it.
func (j *judge) costly() (keys []string) {
	for key, n := range j.blamed {
		if n >= minCostly && n*perCostly > j.pages {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// settle brings the files into line with each other: what only the optimizer has is published when
// something refers to it, and no digest in the site is out of date.
func (j *judge) settle(ctx context.Context) error {
	if err := j.dropDenied(); err != nil {
		return err
	}
	if err := j.settleDigests(ctx); err != nil {
		return err
	}
	return j.dropUnused()
}

// dropDenied restores what refers to a new file whose name stands for a file of the source on a
// host that takes upper and lower case for one.
func (j *judge) dropDenied() error {
	for name, denied := range j.denied {
		if !denied {
			continue
		}
		for _, referrer := range slices.Sorted(maps.Keys(j.referrers[name])) {
			if !j.published[referrer] {
				continue
			}
			d := guard.Difference{Kind: guard.KindLink, Detail: fmt.Sprintf("it refers to %q, whose name is nearly that of another file", name)}
			if err := j.withdraw(referrer, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// withdraw rejects a file whose result was accepted before.
func (j *judge) withdraw(name string, d guard.Difference) error {
	before, err := j.from.Stat(j.sources[name])
	if err != nil {
		return err
	}
	after, err := j.to.Lstat(name)
	if err != nil {
		return err
	}
	j.saved -= before.Size() - after.Size()
	return j.reject(name, before.Size(), after.Size(), []guard.Difference{d})
}

// asked says whether the optimizer makes a file only when it is asked for: a sitemap, a report, a
// text for crawlers. All other new files stand in for files of the site.
func asked(name string) bool {
	switch TypeOf(name) {
	case Image, Font, CSS, JS:
		return false
	}
	return true
}

// dropUnused removes the new files that nothing published refers to.
func (j *judge) dropUnused() error {
	for _, name := range slices.Sorted(maps.Keys(j.fresh)) {
		if !j.denied[name] && (asked(name) || j.used(name)) {
			continue
		}
		if err := j.to.Remove(name); err != nil {
			return err
		}
		delete(j.fresh, name)
		for dir := path.Dir(name); dir != "." && !j.has(dir); dir = path.Dir(dir) {
			if j.to.Remove(dir) != nil { // it holds something
				break
			}
		}
	}
	return nil
}

func (j *judge) used(name string) bool {
	for referrer := range j.referrers[name] {
		if j.published[referrer] {
			return true
		}
	}
	return false
}

// has says whether the source has a file or link of that name, or a folder.
func (j *judge) has(name string) bool {
	_, err := j.from.Lstat(name)
	return err == nil
}

// report is what was found, by path.
func (j *judge) report() Guarded {
	g := Guarded{Repaired: j.repaired, PutBack: slices.Collect(maps.Values(j.putBack))}
	slices.SortFunc(g.PutBack, func(a, b PutBack) int {
		return cmp.Or(cmp.Compare(b.Files, a.Files), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key))
	})
	for _, name := range slices.Sorted(maps.Keys(j.rejected)) {
		g.Rejected = append(g.Rejected, j.rejected[name])
	}
	return g
}

// gain is how many bytes the published files save, new ones taken off.
func (j *judge) gain() int64 {
	gain := j.saved
	for name, size := range j.fresh {
		if !j.denied[name] && (asked(name) || j.used(name)) {
			gain -= size
		}
	}
	return gain
}

// openFile opens a regular file, without waiting should it have become a FIFO.
func openFile(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, nil, errors.Join(err, errors.New("is no longer a file; nothing may write to the source while it is optimized"))
	}
	return f, info, nil
}

// readFile reads a file of at most guard.MaxFile bytes.
func readFile(root *os.Root, name string) ([]byte, error) {
	f, info, err := openFile(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, info.Size())
}

// readAll reads a file of about size bytes, guard.MaxFile at most.
func readAll(f *os.File, size int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(size, guard.MaxFile)) + bytes.MinRead)
	if n, err := b.ReadFrom(io.LimitReader(f, guard.MaxFile+1)); err != nil || n > guard.MaxFile {
		return nil, cmp.Or(err, fmt.Errorf("larger than %d bytes", guard.MaxFile))
	}
	return b.Bytes(), nil
}

// writeFile writes a file of the stage anew: where it lies, unless another name leads to the same
// bytes, which could be a file of the source.
func writeFile(root *os.Root, name string, content []byte) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	if info, err := f.Stat(); err != nil || !isAlone(info) {
		f.Close()
		if err := errors.Join(err, root.Remove(name)); err != nil {
			return err
		}
		if f, err = root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644); err != nil {
			return err
		}
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Truncate(int64(len(content))), f.Close())
}

// stampAll takes the time of the run out of all pages, where nothing is compared.
func (j *judge) stampAll(ctx context.Context, staged tree) error {
	var pages []string
	for _, n := range staged.nodes {
		if n.kind == 0 && n.size <= guard.MaxFile && TypeOf(n.path) == HTML {
			pages = append(pages, n.path)
		}
	}
	return j.each(ctx, pages, func(name string) error {
		page, err := readFile(j.to, name)
		if err != nil {
			return err
		}
		if stamped := j.plan.stamp(page); !bytes.Equal(page, stamped) {
			return writeFile(j.to, name, stamped)
		}
		return nil
	})
}
