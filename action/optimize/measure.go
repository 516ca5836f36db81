package optimize

import (
	"path"
	"strings"
)

// Type is the kind of a file, told by its extension.
type Type string

const (
	HTML  Type = "html"
	CSS   Type = "css"
	JS    Type = "js"
	Image Type = "image"
	Font  Type = "font"
	JSON  Type = "json"
	Other Type = "other"
)

var typeOf = map[string]Type{
	".html": HTML, ".htm": HTML, ".xhtml": HTML,
	".css": CSS,
	".js":  JS, ".mjs": JS, ".cjs": JS,
	".png": Image, ".jpg": Image, ".jpeg": Image, ".gif": Image, ".webp": Image, ".avif": Image, ".svg": Image, ".ico": Image,
	".bmp": Image, ".tif": Image, ".tiff": Image,
	".woff": Font, ".woff2": Font, ".ttf": Font, ".otf": Font, ".eot": Font,
	".json": JSON, ".webmanifest": JSON,
}

// TypeOf tells the type of a file by its name.
func TypeOf(name string) Type {
	if t, ok := typeOf[strings.ToLower(path.Ext(name))]; ok {
		return t
	}
	return Other
}

// Size counts regular files and their bytes.
type Size struct {
	Files int
	Bytes int64
}

func (s Size) plus(bytes int64) Size { return Size{Files: s.Files + 1, Bytes: s.Bytes + bytes} }

// Total is a Size, also by type. Types without a file are absent.
type Total struct {
	Size
	ByType map[Type]Size
	Packed map[Type]Packed // nil when it was not measured
}

// PackedSum is what all files weigh when they are sent; false when that was not measured.
func (t Total) PackedSum() (sum Packed, ok bool) {
	for _, p := range t.Packed {
		sum = sum.plus(p)
	}
	return sum, t.Packed != nil
}

// Change is one file before and after. A file that is only on one side has -1 on the other.
type Change struct {
	Path          string // relative to the site, with slashes
	Type          Type
	Before, After int64
}

const absent = -1

func measure(t tree) Total {
	total := Total{ByType: map[Type]Size{}}
	for _, n := range t.nodes {
		if n.kind == 0 {
			kind := TypeOf(n.path)
			total.Size = total.plus(n.size)
			total.ByType[kind] = total.ByType[kind].plus(n.size)
		}
	}
	return total
}

// compare lists all files of both trees: first those of the source in its order, then the new ones.
func compare(before, after tree) []Change {
	sizes := make(map[string]int64, len(after.nodes))
	for _, n := range after.nodes {
		if n.kind == 0 {
			sizes[n.path] = n.size
		}
	}
	changes := make([]Change, 0, len(sizes))
	add := func(path string, was, is int64) {
		changes = append(changes, Change{Path: path, Type: TypeOf(path), Before: was, After: is})
	}
	for _, n := range before.nodes {
		if n.kind != 0 {
			continue
		}
		is, ok := sizes[n.path]
		if !ok {
			is = absent
		}
		add(n.path, n.size, is)
		delete(sizes, n.path)
	}
	for _, n := range after.nodes {
		if is, ok := sizes[n.path]; ok && n.kind == 0 {
			add(n.path, absent, is)
		}
	}
	return changes
}
