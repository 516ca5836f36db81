package guard

import (
	"crypto/sha256"
	"path"
	"slices"
	"strings"
	"sync"
)

// Config is what the guard must know of the whole site.
type Config struct {
	// Files are the paths of all files of the source, relative to the site, with slashes.
	Files []string

	// Read returns the bytes of a file of the source. It is asked for the style sheets and for the
	// files that may hold a Content-Security-Policy; what it cannot read counts as empty.
	Read func(path string) ([]byte, error)
}

// Site judges the files of one site. It is safe for concurrent use. Pages are to be judged before
// scripts: which of those are modules is known from the pages that load them.
type Site struct {
	files    map[string]bool
	policies Policies
	caching  Policies // of Cache-Control
	rules    spaceRules
	memo     memo

	mu      sync.Mutex
	modules map[string]bool // scripts that some page loads as a module
}

// NewSite reads what the source says about all of its pages.
func NewSite(c Config) *Site {
	s := &Site{files: make(map[string]bool, len(c.Files)), modules: map[string]bool{}, rules: spaceRules{}, memo: memo{known: map[[sha256.Size]byte]bool{}, styles: map[[2]string]bool{}}}
	settings := map[string][]byte{}
	for _, name := range c.Files {
		s.files[name] = true
		switch {
		case setsHeaders(name):
			if b, err := c.Read(name); err == nil {
				settings[name] = b
			}
		case kindOf(name) == asSheet:
			if b, err := c.Read(name); err == nil && len(b) <= MaxFile {
				s.rules.addSheet(b)
			}
		}
	}
	s.policies = ParsePolicies(settings)
	s.caching = parseHeaders(settings, "Cache-Control", "immutable")
	return s
}

// setsHeaders reports whether hosts read headers from a file: from those in the root of the site.
// An .htaccess counts in any folder, for what is below it, and so does the file of Azure, for all.
func setsHeaders(name string) bool {
	base := path.Base(name)
	return policyFiles[base] &&
		(name == base || base == ".htaccess" || base == "staticwebapp.config.json")
}

// policyFiles are the names of files that may set headers (ParsePolicies).
var policyFiles = map[string]bool{
	"_headers": true, "staticwebapp.config.json": true, "vercel.json": true, "netlify.toml": true, "firebase.json": true, ".htaccess": true,
}

// Digests is NewDigests for the files of this site: it knows which of them browsers keep.
func (s *Site) Digests(paths []string) *Digests {
	d := NewDigests(paths)
	d.immutable = s.immutable
	return d
}

// immutable reports whether the site's settings tell browsers not to ask again for a file.
func (s *Site) immutable(name string) bool {
	return slices.ContainsFunc(s.caching.values(name), func(value string) bool {
		return strings.Contains(strings.ToLower(value), "immutable")
	})
}

// IsPage says whether a file is compared as a page.
func IsPage(name string) bool { return kindOf(name) == asPage }

// noteModule remembers that a page loads a script as a module. base is the address of its base
// element.
func (s *Site) noteModule(pagePath, base, src string) {
	target := placeOf(pagePath).withBase(base).resolve(src)
	if !target.local() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.modules[target.file()] = true
}

func (s *Site) isModule(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.modules[name] || strings.HasSuffix(strings.ToLower(name), ".mjs")
}
