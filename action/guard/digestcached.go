package guard

import (
	"encoding/base64"
	"encoding/hex"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Browsers keep files whose names carry a digest of their content for a year and do not ask again.
// If such a file changed under its name, with the integrity attribute that names it, visitors who
// come back would have the old file and the new attribute: the browser refuses the file, and the
// page breaks. The same holds where the file with the attribute is stored and the other one is new.
// So what is checked by integrity stays as it was when either of the two is such a file.

// isCached reports whether browsers keep a file or one of those that it names.
func (d *Digests) isCached(f *notedFile, g *group) bool {
	return d.kept(f.path, nil) || slices.ContainsFunc(g.files, func(number int32) bool {
		return d.kept(d.files[number].path, g.sums)
	})
}

// kept reports whether browsers keep a file, by the site's settings or its name.
func (d *Digests) kept(name string, s *sums) bool {
	return d.immutable != nil && d.immutable(name) || carriesDigest(path.Base(name), s)
}

const (
	shortestRun  = 8 // letters that generators put into names, or more
	shortestReal = 6 // letters of the file's own digest
)

var (
	notLetters = regexp.MustCompile(`[^A-Za-z0-9]+`)
	hexRun     = regexp.MustCompile(`^(?:[0-9a-f]+|[0-9A-F]+)$`)
	words      = regexp.MustCompile(`^(?:[A-Z]?[a-z]+|[A-Z]{2,4}[a-z]{2,})+[0-9]{0,2}$`) // bootstrap5, SearchBox
)

// carriesDigest reports whether the name of a file has a digest in it: a part of one of its own, or
// what looks like one. A digest of small letters alone reads as a word.
func carriesDigest(base string, s *sums) bool {
	for piece := range strings.SplitSeq(base, ".") {
		runs := notLetters.Split(piece, -1)
		for _, run := range runs {
			if len(run) >= shortestRun && (hexRun.MatchString(run) || !words.MatchString(run)) {
				return true
			}
			if s != nil && len(run) >= shortestReal && s.contain(run) {
				return true
			}
		}
		// C8M-QMJ_ is one of eight letters, two of which are no letters of names
		if at := len(piece) - shortestRun; at == 0 || at > 0 && strings.IndexByte("-_", piece[at-1]) >= 0 {
			tail := piece[at:]
			plain := notLetters.ReplaceAllString(tail, "")
			if plain != tail && strings.ToLower(tail) != tail && !words.MatchString(plain) {
				return true
			}
		}
	}
	return false
}

// contain reports whether a run is part of one of the digests.
func (s *sums) contain(run string) bool {
	lower := strings.ToLower(run)
	for a := range algorithm(algorithms) {
		sum := s.of(a)
		if strings.Contains(hex.EncodeToString(sum), lower) ||
			strings.Contains(base64.RawURLEncoding.EncodeToString(sum), run) {
			return true
		}
	}
	return false
}
