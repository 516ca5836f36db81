package guard_test

import (
	"archive/tar"
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/action/guard"
)

var formats = []string{"gz", "br", "zst"}

func recompress(t testing.TB, format string, content []byte) []byte {
	t.Helper()
	packed, err := guard.Recompress(format, content)
	if err != nil {
		t.Fatalf("Recompress(%s): %v", format, err)
	}
	return packed
}

func TestSiblingOf(t *testing.T) {
	t.Parallel()
	type answer struct {
		Of, Format string
		OK         bool
	}
	tests := map[string]answer{
		"app.js.gz":       {"app.js", "gz", true},
		"a/app.js.br":     {"a/app.js", "br", true},
		"a/app.js.zst":    {"a/app.js", "zst", true},
		"d.tar.gz":        {"d.tar", "gz", true}, // what it holds decides
		"app.js":          {},
		"a/.gz":           {},
		".br":             {},
		"app.js.gz.asc":   {},
		"app.js.GZ":       {},
		"archive.gz/a.js": {},
	}
	for name, want := range tests {
		var got answer
		got.Of, got.Format, got.OK = guard.SiblingOf(name)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("SiblingOf(%q) (-want +got):\n%s", name, diff)
		}
	}
}

func TestHoldsSame(t *testing.T) {
	t.Parallel()
	source := bytes.Repeat([]byte("some words of a script; "), 4000)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	w.WriteHeader(&tar.Header{Name: "d", Size: int64(len(source)), Mode: 0o644})
	w.Write(source)
	w.Close()
	for _, format := range formats {
		packed := recompress(t, format, source)
		tests := []struct {
			name           string
			packed, source []byte
			want           bool
		}{
			{"what it was made of", packed, source, true},
			{"an empty file", recompress(t, format, nil), nil, true},
			{"one byte more", packed, append(bytes.Clone(source), '!'), false},
			{"one byte less", packed, source[:len(source)-1], false},
			{"another file", packed, bytes.ToUpper(source), false},
			{"an archive of it", recompress(t, format, archive.Bytes()), source, false},
			{"not compressed at all", source, source, false},
			{"cut short", packed[:len(packed)/2], source, false},
			{"nothing", nil, source, false},
			{"far more than it was", recompress(t, format, make([]byte, 1<<20)), make([]byte, 100), false},
		}
		for _, tt := range tests {
			t.Run(format+": "+tt.name, func(t *testing.T) {
				t.Parallel()
				if got := guard.HoldsSame(format, tt.packed, tt.source); got != tt.want {
					t.Errorf("HoldsSame = %v, want %v", got, tt.want)
				}
			})
		}
	}
}

func TestRecompressIsReproducible(t *testing.T) {
	t.Parallel()
	source := bytes.Repeat([]byte("some words of a script; "), 4000)
	for _, format := range formats {
		if first, again := recompress(t, format, source), recompress(t, format, source); !bytes.Equal(first, again) {
			t.Errorf("%s: two runs differ", format)
		}
	}
	if packed := recompress(t, "gz", source); !bytes.Equal(packed[4:8], make([]byte, 4)) || packed[3] != 0 {
		t.Errorf("gzip header % x has a time or a name", packed[:10])
	}
	if _, err := guard.Recompress("zip", source); err == nil {
		t.Error("Recompress(zip) succeeded, want an error")
	}
}

func FuzzHoldsSame(f *testing.F) {
	for _, format := range formats {
		f.Add(format, recompress(f, format, []byte("text")), []byte("text"))
	}
	f.Fuzz(func(t *testing.T, format string, packed, source []byte) {
		guard.HoldsSame(format, packed, source)
		again, err := guard.Recompress(format, source)
		if err == nil && !guard.HoldsSame(format, again, source) {
			t.Errorf("%s does not hold what it was made of: %q", format, source)
		}
	})
}

func BenchmarkRecompress(b *testing.B) {
	source := bytes.Repeat([]byte("some words of a script; var a = 1 + 2 * 3; "), 500)
	for _, format := range formats {
		b.Run(format, func(b *testing.B) {
			b.SetBytes(int64(len(source)))
			for b.Loop() {
				recompress(b, format, source)
			}
		})
	}
}
