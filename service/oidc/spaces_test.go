package oidc_test

import (
	"compress/gzip"
	"io"
)

// spaces is white space without end, which JSON allows anywhere.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// zipSpaces writes so much of it, compressed to almost nothing.
func zipSpaces(w io.Writer, n int64) {
	z := gzip.NewWriter(w)
	_, _ = io.CopyN(z, spaces{}, n)
	_ = z.Close()
}
