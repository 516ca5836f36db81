package optimize

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"runtime"
	"strconv"
	"strings"
)

var (
	SplitArgs     = splitArgs
	Confine       = confine
	ErrNoExchange = errNoExchange
	Apart         = apart
)

// CheckMounted is Check on a machine with the mounts.
func CheckMounted(cfg Config, mountinfo string) error {
	p := &Plan{cfg: cfg, swap: exchange, mounts: func() ([]string, error) { return parseMounts(mountinfo), nil }}
	return p.check()
}

// RemoveTreeMounted is removeTree on a machine with the mounts, where device tells file systems
// apart.
func RemoveTreeMounted(path, mountinfo string, device func(fs.FileInfo) uint64) error {
	return removeTreeOn(path, func() ([]string, error) { return parseMounts(mountinfo), nil }, device)
}

// WithSwap has the plan swap folders by the function.
func (p *Plan) WithSwap(swap func(from, to string) error) { p.swap = swap }

// Unconfined lets the CLI reach what it wants to.
func (p *Plan) Unconfined() { p.unconfined = true }

// WithoutLandlock has the plan run as on a kernel without Landlock.
func (p *Plan) WithoutLandlock() { p.noLandlock, p.unconfined = true, false }

// WithMaxStdout lets the CLI print n bytes.
func (p *Plan) WithMaxStdout(n int) { p.maxStdout = n }

// Stage does what Run does around the CLI: cli gets the staging folder.
func (p *Plan) Stage(ctx context.Context, cli func(staging string)) (Report, error) {
	site, err := scanSite(p.Source, p.cfg.Source, p.InPlace)
	if err != nil {
		return Report{}, err
	}
	s, err := newStage(p.Workspace, p.Output, p.swap)
	if err != nil {
		return Report{}, err
	}
	before := startPacking(ctx, p.Source, site, nil, 1, &compressors{})
	cli(s.path)
	<-before.done
	var r Report
	c, err := s.carrierFor(site, &r, false)
	if err != nil {
		return Report{}, err
	}
	defer c.close()
	err = c.complete(ctx, site, s)
	after, finishErr := c.finish(site, s)
	err = errors.Join(err, finishErr)
	packed := startPacking(ctx, s.path, after, before, runtime.GOMAXPROCS(0), &compressors{})
	r.Before, r.After, r.Changes = measure(site), measure(after), compare(site, after)
	err = errors.Join(err, s.replace())
	p.takePacked(&r, before, packed)
	return r, errors.Join(err, s.discard())
}

// Pack measures a folder.
func Pack(ctx context.Context, dir string, workers int) (map[Type]Packed, error) {
	t, err := list(dir)
	if err != nil {
		return nil, err
	}
	return startPacking(ctx, dir, t, nil, workers, &compressors{}).wait()
}

// PackAfter does something to the folder between the listing and the measurement.
func PackAfter(ctx context.Context, dir string, do func() error) (map[Type]Packed, error) {
	t, err := list(dir)
	if err := errors.Join(err, do()); err != nil {
		return nil, err
	}
	return startPacking(ctx, dir, t, nil, 1, &compressors{}).wait()
}

// PackBoth measures a folder and what became of it.
func PackBoth(ctx context.Context, before, after string) (was, is map[Type]Packed, err error) {
	from, err := list(before)
	if err != nil {
		return nil, nil, err
	}
	to, err := list(after)
	if err != nil {
		return nil, nil, err
	}
	first := startPacking(ctx, before, from, nil, 1, &compressors{})
	second := startPacking(ctx, after, to, first, 2, &compressors{})
	was, err = first.wait()
	is, other := second.wait()
	return was, is, errors.Join(err, other)
}

// IsText tells by its name whether a file is compressed.
func IsText(name string) bool { return isText(node{path: name, size: 1}) }

// Sampled says how many bytes are compressed of files of these sizes that are all of one type.
func Sampled(sizes []int64) (bytes int64) {
	g := &group{}
	for i, size := range sizes {
		g.add(node{path: strconv.Itoa(i), size: size})
	}
	share(map[Type]*group{HTML: g}, nil)
	for _, s := range g.samples {
		bytes += s.limit
	}
	return bytes
}

// Take has a run take the measurements of a folder, which works, and of a missing one, which does
// not.
func Take(ctx context.Context, r *Report, dir string) (log string) {
	var b strings.Builder
	p := &Plan{log: &lines{w: &b}}
	p.takePacked(r, startPacking(ctx, dir, tree{}, nil, 1, &compressors{}), startPacking(ctx, dir+"/missing", tree{}, nil, 1, &compressors{}))
	return b.String()
}

// ReadConfig reads a pageflare.jsonc.
func ReadConfig(file string) (map[string]json.RawMessage, error) { return readConfig(file) }

// CutConfig takes the configuration out of the words for the CLI.
var CutConfig = cutConfig

// UnsafePasses are the keys that the safe profile switches off, with the reasons.
func UnsafePasses() map[string]string {
	all := map[string]string{}
	for _, p := range unsafePasses {
		all[p.key] = p.reason
	}
	return all
}

// Confined undoes Unconfined.
func (p *Plan) Confined() { p.unconfined = false }
