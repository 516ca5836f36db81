package optimize_test

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"image"
	"image/png"
	"strings"
	"testing"

	"github.com/pageflare/ci/action/guard"
)

// A list that names a sheet and its compressed form by their digests names both as they are
// published.
func TestPrecompressedFilesAndTheirDigestsFollow(t *testing.T) {
	t.Parallel()
	const sheet = "body {\n  color: red;\n}\n\n.lead {\n  margin: 0;\n}\n"
	packed, err := guard.Recompress("gz", []byte(sheet))
	if err != nil {
		t.Fatal(err)
	}
	list := func(sheet, packed string) string {
		return fmt.Sprintf(`{"hashTable":{"/a.css":"%x","/a.css.gz":"%x"}}`,
			sha1.Sum([]byte(sheet)), sha1.Sum([]byte(packed)))
	}
	ws := site(t, map[string]string{
		"dist/index.html": page, "dist/a.css": sheet, "dist/a.css.gz": string(packed),
		"dist/ngsw.json": list(sheet, string(packed)),
	})
	cfg := guarded(faked(t, ws, `
cp "$src/index.html" "$src/ngsw.json" "$out"
tr -d '\n' < "$src/a.css" > "$out/a.css"
echo "$ok"`))
	cfg.Output = "out"
	run(t, cfg)
	made, compressed := read(t, ws, "out/a.css"), read(t, ws, "out/a.css.gz")
	if made == sheet {
		t.Fatal("the sheet was published as it was, so nothing is tried here")
	}
	if !guard.HoldsSame("gz", []byte(compressed), []byte(made)) {
		t.Error("a.css.gz does not hold a.css as it is published")
	}
	if got, want := read(t, ws, "out/ngsw.json"), list(made, compressed); got != want {
		t.Errorf("ngsw.json = %s, want %s", got, want)
	}
}

// A digest of two equal pictures of which one changed is not replaced by that of one.
func TestADigestOfEqualFilesOfWhichOneChanges(t *testing.T) {
	t.Parallel()
	picture := guardPicture(t)
	list := fmt.Sprintf(`{"/a.png":"%x","/b.png":"%[1]x"}`, sha1.Sum([]byte(picture)))
	ws := site(t, map[string]string{"dist/index.html": page, "dist/a.png": picture, "dist/b.png": picture, "dist/l.json": list})
	cfg := guarded(faked(t, ws, `cp "$src"/* "$out"; head -c `+fmt.Sprint(len(picture)-4096)+` "$src/a.png" > "$out/a.png"; echo "$ok"`))
	run(t, cfg)
	if read(t, ws, "dist/b.png") != picture || read(t, ws, "dist/a.png") != picture || read(t, ws, "dist/l.json") != list {
		t.Error("the list names one of two equal pictures by the digest of the other")
	}
}

// guardPicture is a picture with bytes after its end, which may be left out.
func guardPicture(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		t.Fatal(err)
	}
	return b.String() + strings.Repeat("\x00", 4096)
}

func TestACompressedFileThatHoldsSomethingElseIsLeftAlone(t *testing.T) {
	t.Parallel()
	packed, err := guard.Recompress("gz", []byte("older"))
	if err != nil {
		t.Fatal(err)
	}
	ws := site(t, map[string]string{
		"dist/index.html": page, "dist/index.html.gz": string(packed), "dist/d.tar.gz": string(packed),
	})
	r := run(t, guarded(faked(t, ws, `sed 's/^ *//; s/<!-- note -->//' "$src/index.html" > "$out/index.html"; echo "$ok"`)))
	if read(t, ws, "dist/index.html.gz") != string(packed) {
		t.Error("index.html.gz changed, want it left alone")
	}
	if n := strings.Count(fmt.Sprint(r.Warnings), `"index.html.gz": holds something else`); n != 1 || strings.Contains(fmt.Sprint(r.Warnings), "d.tar.gz") {
		t.Errorf("warnings = %q, want one for index.html.gz alone", r.Warnings)
	}
}
