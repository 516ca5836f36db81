package guard

// Digests keeps the digests of the site true. Where a file of the site names another one by the
// digest of its bytes (integrity attributes, import maps, ngsw.json, blazor.boot.json, precache
// manifests of service workers), the digest is replaced when the file changes, and where that is not
// possible the file stays as it was.
//
// The order of calls, with what is published decided already for each file by itself:
//
//  1. NewDigests with the paths of all files that are to be published.
//  2. Note for each of them with its bytes in the source and those to be published (twice the same
//     slice for a file that did not change); Sibling for each precompressed sibling that is to be
//     remade (see SiblingOf and HoldsSame in siblings.go). Files may come in any order and
//     concurrently, and none is kept: read, note, let go.
//  3. Scan for each file for which HoldsDigests(path), with the same two slices. In any order and
//     concurrently, but after the last Note.
//  4. Settle, once. The caller publishes each path of Plan.Restore as it is in the source, and does
//     then what Plan.Steps say, one after the other: a step with Of remakes a precompressed sibling
//     by Recompress from what Of holds by then; any other step replaces the file by what
//     Rewrite makes of it.
//
// A file that is in the source alone or in the result alone is noted with nil for the other.
type Digests struct{}

// Plan is what must happen so that no digest in the site is out of date.
type Plan struct {
	Restore []Restored
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
func NewDigests(paths []string) *Digests { return &Digests{} }

// Note remembers the digests of a file's bytes in the source.
func (d *Digests) Note(path string, source, published []byte) {}

// Sibling says that path is the precompressed form of of and is remade when that changes. Call Note
// for both with the bytes in the source alone: what is published of path is decided by Plan.Steps.
func (d *Digests) Sibling(path, of string) {}

// Scan looks for digests of noted files.
func (d *Digests) Scan(path string, source, published []byte) {}

// Settle decides which files are restored and which are rewritten, and in which order.
func (d *Digests) Settle() Plan { return Plan{} }

// Rewrite replaces the digests in content, which is what was scanned as published. read gives the
// bytes of another file as they are published by then; its error comes back.
func (d *Digests) Rewrite(path string, content []byte, read func(path string) ([]byte, error)) ([]byte, error) {
	return content, nil
}

// HoldsDigests reports whether a file of this name can name others by their digests. Pictures, fonts,
// films and compressed files cannot.
func HoldsDigests(path string) bool { return kindOf(path) != asPicture }
