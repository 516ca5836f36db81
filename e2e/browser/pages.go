package browser

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Pages gives the addresses of the pages in a folder, at most limit of them: every file that ends
// in .html, partials and error pages too. Of more than limit it takes the largest one and others at
// even distances in the order of their names, so that the choice depends on nothing that an
// optimizer does.
func Pages(dir string, limit int) ([]string, error) {
	var names []string
	largest, size := "", int64(-1)
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || path.Ext(name) != ".html" {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Size() > size {
			largest, size = name, info.Size()
		}
		names = append(names, name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	if len(names) > limit {
		chosen := []string{largest}
		for i := range limit - 1 {
			chosen = append(chosen, names[i*len(names)/(limit-1)])
		}
		slices.Sort(chosen)
		names = slices.Compact(chosen)
	}
	for i, name := range names {
		if base := path.Base(name); base == "index.html" {
			name = strings.TrimSuffix(name, base)
		}
		names[i] = "/" + name
	}
	return names, nil
}
