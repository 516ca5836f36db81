package optimize

import (
	"cmp"
	"compress/gzip"
	"context"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/andybalholm/brotli"
)

// What a server sends: text as gzip and as brotli make it, all else as it is. What is decided here:
//
//   - Both are set as Apache sets them by default: gzip at level 6 (also zlib's own default), brotli at quality 5 with a window of 2^18
//     bytes. Higher qualities are for files that are compressed once and served for long, which a site just built is not.
//   - A quarter of the text of a side is compressed, but no less than minBudget and no more than maxBudget bytes, so that it takes a small part
//     of what the optimizer takes, for a small site as for a large one. A type of files whose share is larger than what it
//     holds is measured whole. Of the others a sample is, and the result says that it is an estimate (sample.go).
//   - Both sides are measured by the same files, so that what differs is what the optimizer did and not the luck of two samples.
//   - A file that would grow counts as it is.
const (
	// maxBudget costs about 22 ms of one core, minBudget 6 ms. The side before is measured while
	// the CLI runs, the one after on all cores.
	maxBudget = 512 << 10
	minBudget = 128 << 10

	// packPortion is what is worth a core of its own: a compressor takes as long to make as to use
	// on some files.
	packPortion = 48 << 10

	gzipLevel     = 6
	brotliQuality = 5
	brotliWindow  = 18
)

// Packed is what files weigh when they are sent.
type Packed struct {
	Gzip, Brotli int64
	Estimated    bool // from a sample of them
}

func (p Packed) plus(q Packed) Packed {
	return Packed{Gzip: p.Gzip + q.Gzip, Brotli: p.Brotli + q.Brotli, Estimated: p.Estimated || q.Estimated}
}

// textual are the extensions of what servers compress. Fonts and all images but SVG are compressed
// by themselves.
var textual = map[string]bool{
	".html": true, ".htm": true, ".xhtml": true, ".css": true, ".js": true, ".mjs": true, ".cjs": true, ".json": true, ".webmanifest": true,
	".map": true, ".svg": true, ".xml": true, ".rss": true, ".atom": true, ".txt": true, ".md": true, ".csv": true, ".ics": true, ".vtt": true,
}

// packing is a measurement under way.
type packing struct {
	groups map[Type]*group // of text
	stop   context.CancelFunc
	done   chan struct{}
	packed map[Type]Packed
	err    error
}

// startPacking begins to measure the files of a tree, below dir as it is now: the folder may be
// renamed meanwhile. What was measured by a sample on the other side is measured by the same one;
// other is nil for the first side. Whoever starts it calls wait or cancel.
func startPacking(ctx context.Context, dir string, t tree, other *packing, workers int, spare *compressors) *packing {
	ctx, stop := context.WithCancel(ctx)
	p := &packing{groups: groupText(t), stop: stop, done: make(chan struct{})}
	if other == nil {
		other = &packing{}
	}
	share(p.groups, other.groups)
	root, err := os.OpenRoot(dir)
	if err != nil {
		p.err = err
		close(p.done)
		return p
	}
	go func() {
		defer close(p.done)
		defer root.Close()
		p.packed, p.err = p.pack(ctx, root, t, workers, spare)
	}()
	return p
}

func (p *packing) wait() (map[Type]Packed, error) {
	<-p.done
	p.stop()
	return p.packed, p.err
}

// settle waits without taking the result.
func (p *packing) settle() { <-p.done }

func (p *packing) cancel() {
	p.stop()
	<-p.done
}

// isText tells what servers compress.
func isText(n node) bool {
	return n.kind == 0 && n.size > 0 && textual[strings.ToLower(path.Ext(n.path))]
}

func groupText(t tree) map[Type]*group {
	groups := map[Type]*group{}
	for _, n := range t.nodes {
		if !isText(n) {
			continue
		}
		kind := TypeOf(n.path)
		if groups[kind] == nil {
			groups[kind] = &group{}
		}
		groups[kind].add(n)
	}
	return groups
}

// pack measures by type. Types without a file are absent.
func (p *packing) pack(ctx context.Context, root *os.Root, t tree, workers int, spare *compressors) (map[Type]Packed, error) {
	var jobs []*sample
	for _, g := range p.groups {
		jobs = append(jobs, g.samples...)
	}
	if err := compressAll(ctx, root, jobs, workers, spare); err != nil {
		return nil, err
	}
	packed := map[Type]Packed{}
	for _, n := range t.nodes {
		if n.kind == 0 && !isText(n) {
			kind := TypeOf(n.path)
			packed[kind] = packed[kind].plus(Packed{Gzip: n.size, Brotli: n.size})
		}
	}
	for kind, g := range p.groups {
		packed[kind] = packed[kind].plus(g.packed())
	}
	return packed, nil
}

// share gives each group its part of the budget: smallest first, so that what one does not need is
// left for the larger ones. A group that is measured by a sample on the other side has that one.
func share(groups, other map[Type]*group) {
	text := int64(0)
	for _, g := range groups {
		text += g.bytes
	}
	budget := min(max(text/4, minBudget), maxBudget)
	kinds := slices.SortedFunc(maps.Keys(groups), func(a, b Type) int { return cmp.Compare(groups[a].bytes, groups[b].bytes) })
	for i, kind := range kinds {
		g, part := groups[kind], budget/int64(len(kinds)-i)
		switch {
		case other[kind] != nil && other[kind].estimated && g.takeLike(other[kind]):
			budget -= part
		case g.bytes <= part:
			g.takeAll()
			budget -= g.bytes
		default:
			g.takeSample(part)
			budget -= part
		}
	}
}

// compressAll fills in what the samples weigh. It ends at the first error.
func compressAll(ctx context.Context, root *os.Root, jobs []*sample, workers int, spare *compressors) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	bytes := int64(0)
	for _, s := range jobs {
		bytes += s.limit
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(workers, len(jobs), 1+int(bytes/packPortion)) {
		all.Go(func() {
			c := spare.take()
			defer spare.give(c)
			for i := next.Add(1) - 1; i < int64(len(jobs)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := c.measure(root, jobs[i]); err != nil {
					stop(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// compressor measures one file after the other, in memory of a fixed size.
type compressor struct {
	gzip       *gzip.Writer
	brotli     *brotli.Writer
	both       io.Writer
	buf        []byte
	zipped, br counter
}

// compressors are kept for the other side: making one takes as long as a few files.
type compressors struct{ pool sync.Pool }

func (s *compressors) take() *compressor {
	if c, ok := s.pool.Get().(*compressor); ok {
		return c
	}
	return newCompressor()
}

func (s *compressors) give(c *compressor) { s.pool.Put(c) }

func newCompressor() *compressor {
	c := &compressor{buf: make([]byte, 64<<10)}
	c.gzip, _ = gzip.NewWriterLevel(io.Discard, gzipLevel) // fails for an unknown level only
	c.brotli = brotli.NewWriterOptions(io.Discard, brotli.WriterOptions{Quality: brotliQuality, LGWin: brotliWindow})
	c.both = io.MultiWriter(c.gzip, c.brotli)
	return c
}

func (c *compressor) measure(root *os.Root, s *sample) error {
	f, err := root.OpenFile(s.path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // without waiting, should it have become a FIFO
	if err != nil {
		return err
	}
	defer f.Close()
	c.zipped, c.br = 0, 0
	c.gzip.Reset(&c.zipped)
	c.brotli.Reset(&c.br)
	if s.read, err = io.CopyBuffer(c.both, io.LimitReader(f, s.limit), c.buf); err != nil {
		return err
	}
	if err := c.gzip.Close(); err != nil {
		return err
	}
	if err := c.brotli.Close(); err != nil {
		return err
	}
	s.gzip, s.brotli = min(int64(c.zipped), s.read), min(int64(c.br), s.read)
	return nil
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}
