package guard

import (
	"bytes"
	"crypto/sha256"
	"path"
	"strings"
	"sync"
)

// Digests keeps the digests of the site true. Where a file of the site names another one by the
// digest of its bytes (integrity attributes, import maps, ngsw.json, blazor.boot.json, precache
// manifests of service workers), the digest is replaced when the file changes, and where that is
// not possible the file stays as it was. Known are md5, sha1, sha256, sha384 and sha512, in
// hexadecimal and in both kinds of base64.
//
// The order of calls, with what is published decided already for each file by itself:
//
//  1. NewDigests with the paths of all files that are to be published.
//  2. Note for each of them with its bytes in the source and those to be published (twice the same
//     slice for a file that did not change); Sibling for each precompressed sibling that is to be
//     remade (see SiblingOf and HoldsSame in siblings.go). Files may come in any order and
//     concurrently, and none is stored: read, note, drop.
//  3. Scan for each file for which HoldsDigests(path), with the same two slices. In any order and
//     concurrently, but after the last Note.
//  4. Settle, once. The caller publishes each path of Plan.Restore as it is in the source, and does
//     then what Plan.Steps say, one after the other: a step with Of remakes a precompressed sibling
//     by Recompress from what Of holds by then; any other step replaces the file by what
//     Rewrite makes of it.
//
// A file that is in the source alone or in the result alone is noted with nil for the other.
//
// What is remembered of a file is its path and its digests, some 500 bytes.
type Digests struct {
	paths []string

	mu     sync.Mutex
	files  []*notedFile
	byPath map[string]int32
	groups []*group
	bySum  map[[sha256.Size]byte]int32

	prepare sync.Once
	index   *digestIndex
	names   map[string]*digestNames // by digest as it stands in a path
	isPath  map[string]bool

	immutable func(path string) bool // by the settings of the site; nil without any

	final map[sumKey][]byte // digests of what is published in the end, as far as they were needed
}

// group is one or more files with the same bytes in the source: a digest names all of them.
type group struct {
	files []int32
	sums  *sums // nil when none of them can change
}

// notedFile is one file of the site.
type notedFile struct {
	path     string
	group    int32
	noted    bool
	existed  bool              // it is in the source
	changed  bool              // the guard publishes other bytes than the source's
	sum      [sha256.Size]byte // of what is published
	of       int32             // the file that this one is a precompressed sibling of, or -1
	siblings []int32
	mentions map[int32]*mention // by group

	frozen   bool // must be published as it was
	why      string
	changing bool // will hold other bytes than the source's
}

// mention says that a file names a group by a digest.
type mention struct {
	inSource, inPublished bool
	checked               bool   // browsers refuse the file when its digest is another
	blocked               string // why it cannot be replaced in what is published; "" when it can
	algorithm
}

// Plan is what must happen so that no digest in the site is out of date.
type Plan struct {
	Restore []Restored // by path
	Steps   []Step
}

// Restored is a file that must be published as it was, because of a digest that cannot be replaced.
type Restored struct {
	Path       string
	Difference Difference // of KindIntegrity
}

// Step writes one file anew.
type Step struct {
	Path string
	Of   string // the file whose precompressed sibling Path is; "" means: call Rewrite
}

// NewDigests begins with the paths of all files that are to be published, with slashes.
func NewDigests(paths []string) *Digests {
	return &Digests{
		paths: paths, byPath: map[string]int32{}, bySum: map[[sha256.Size]byte]int32{},
		isPath: map[string]bool{}, names: map[string]*digestNames{}, final: map[sumKey][]byte{},
	}
}

// Note remembers the digests of a file's bytes in the source. nil says that the file is not there;
// an empty file is not nil. A file that is not published is not remembered; of two calls for a path
// the first counts.
func (d *Digests) Note(path string, source, published []byte) {
	if published == nil {
		return
	}
	changed := source == nil || !bytes.Equal(source, published)
	_, _, compressed := SiblingOf(path)
	var all *sums
	if changed || compressed || HoldsDigests(path) {
		all = sumsOf(source)
	}
	before := sha256.Sum256(source)
	after := before
	if changed {
		after = sha256.Sum256(published)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.file(path)
	if f.noted {
		return
	}
	f.noted = true
	f.existed, f.changed, f.sum = source != nil, changed, after
	if !f.existed {
		return
	}
	number, known := d.bySum[before]
	if !known {
		number = int32(len(d.groups))
		d.bySum[before] = number
		d.groups = append(d.groups, &group{})
	}
	g := d.groups[number]
	g.files = append(g.files, d.byPath[path])
	if g.sums == nil {
		g.sums = all
	}
	f.group = number
}

// file is the entry of a path, made when it is not there.
func (d *Digests) file(path string) *notedFile {
	if number, ok := d.byPath[path]; ok {
		return d.files[number]
	}
	f := &notedFile{path: path, group: -1, of: -1}
	d.byPath[path] = int32(len(d.files))
	d.files = append(d.files, f)
	return f
}

// Sibling says that path is the precompressed form of of and is remade when that changes. Call Note
// for path with the bytes in the source alone, twice: what is published is decided by Plan.Steps.
func (d *Digests) Sibling(path, of string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sibling, parent := d.file(path), d.file(of)
	sibling.of = d.byPath[of]
	parent.siblings = append(parent.siblings, d.byPath[path])
}

// HoldsDigests reports whether a file of this name can name others by their digests. Pictures,
// fonts, films and compressed files cannot.
func HoldsDigests(name string) bool { return !dense[strings.ToLower(path.Ext(name))] }

// dense are the types of which no text can be read as it stands.
var dense = wordSet(".png .jpg .jpeg .gif .webp .avif .ico .bmp .woff .woff2 .ttf .otf .eot " +
	".mp3 .mp4 .m4a .m4v .webm .ogg .ogv .wav .flac .mov .avi .zip .gz .br .zst .xz .bz2 .7z .jar .rar")

// writable are the types in which a digest may be replaced, besides those that are compared.
var writable = wordSet(".txt .md5 .sha1 .sha256 .sha384 .sha512 .yml .yaml .toml .csv .md")

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(words) {
		set[word] = true
	}
	return set
}

// Scan looks for digests of noted files in what the source has under this path and in what is to be
// published.
func (d *Digests) Scan(path string, source, published []byte) {
	d.prepare.Do(d.complete)
	same := bytes.Equal(source, published)
	reader := d.reader(path, published)
	for _, f := range d.digestsIn(published) {
		blocked, names := reader.judge(f)
		if names {
			d.mention(path, f, func(m *mention) {
				m.inPublished, m.inSource = true, m.inSource || same
				m.checked = m.checked || reader.isChecked(f)
				if m.blocked == "" && blocked != "" {
					m.blocked, m.algorithm = blocked, f.algorithm
				}
			})
		}
	}
	if same {
		return
	}
	reader = d.reader(path, source)
	for _, f := range d.digestsIn(source) {
		if _, names := reader.judge(f); names {
			d.mention(path, f, func(m *mention) { m.inSource = true })
		}
	}
}

// digestsIn are the digests in a text, none overlapping another. In a text that may be UTF-16 those
// of both readings are found; the places of the second do not count, as such a text is never
// rewritten.
func (d *Digests) digestsIn(text []byte) []found {
	list := d.appendDigests(nil, text)
	if wide, ok := narrowed(text); ok {
		list = d.appendDigests(list, wide)
	}
	return list
}

func (d *Digests) appendDigests(list []found, text []byte) []found {
	end := 0
	d.index.search(text, func(f found) {
		if f.start >= end {
			list, end = append(list, f), f.end
		}
	})
	return list
}

// narrowed gives text in UTF-16 as bytes; ok is false for a text without a mark of that encoding.
func narrowed(text []byte) (narrow []byte, ok bool) {
	if !isWide(text) {
		return nil, false
	}
	low := 0
	if text[0] == 0xfe {
		low = 1
	}
	narrow = make([]byte, len(text)/2)
	for i := range narrow {
		if narrow[i] = text[2*i+low]; text[2*i+1-low] != 0 {
			narrow[i] = ' '
		}
	}
	return narrow, true
}

// isWide reports whether a text begins with the mark of UTF-16.
func isWide(text []byte) bool {
	return bytes.HasPrefix(text, []byte{0xfe, 0xff}) || bytes.HasPrefix(text, []byte{0xff, 0xfe})
}

func (d *Digests) mention(path string, f found, set func(*mention)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	from := d.file(path)
	m := from.mentions[f.group]
	if m == nil {
		if from.mentions == nil {
			from.mentions = map[int32]*mention{}
		}
		m = &mention{algorithm: f.algorithm}
		from.mentions[f.group] = m
	}
	set(m)
}

// complete runs once between the last Note and the first Scan.
func (d *Digests) complete() {
	d.index = newDigestIndex()
	for number, g := range d.groups {
		if g.sums != nil {
			d.index.add(int32(number), g.sums)
		}
	}
	for _, name := range d.paths {
		d.isPath[name] = true
		d.index.search([]byte(name), func(f found) {
			digest := name[f.start:f.end]
			at := strings.LastIndexByte(name[:f.start], '/') + 1
			names := d.names[digest]
			if names == nil {
				names = &digestNames{}
				d.names[digest] = names
			}
			names.add(strings.Clone(name[at:]), f.start-at)
		})
	}
}

// digestNames are names of files with a digest in them.
type digestNames struct {
	names []string
	at    []int // of the digest in the name
	many  bool  // too many to try
}

func (n *digestNames) add(name string, at int) {
	const most = 64
	switch {
	case at < 0: // the digest goes over a slash
	case len(n.names) == most:
		n.many = true
	default:
		n.names, n.at = append(n.names, name), append(n.at, at)
	}
}

// areAt reports whether one of the names stands around a digest that begins at start.
func (n *digestNames) areAt(text []byte, start int) bool {
	for i, name := range n.names {
		if begin := start - n.at[i]; begin >= 0 && bytes.HasPrefix(text[begin:], []byte(name)) {
			return true
		}
	}
	return false
}
