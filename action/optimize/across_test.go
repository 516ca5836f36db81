package optimize_test

import (
	"crypto/sha1"
	"fmt"
	"testing"

	"github.com/pageflare/ci/action/guard"
)

// A list that names a sheet and its compressed form by their digests names both as they are published.
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
