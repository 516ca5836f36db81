package optimize_test

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/pageflare/ci/action/optimize"
)

// On sites of real generators and with the real CLI, each as it is and with a list such as
// Angular's, no digest of an old file is left, and those that name a file are right.
func TestDigestsOfRealSites(t *testing.T) {
	t.Parallel()
	sites, err := filepath.Glob("../../e2e/sites/*/dist")
	if err != nil || len(sites) == 0 {
		t.Fatalf("no sites: %v", err)
	}
	for _, dist := range sites {
		name := path.Base(path.Dir(filepath.ToSlash(dist)))
		if name != "hugo" && name != "vite" && name != "angular" {
			continue // no integrity, and no list
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ws := t.TempDir()
			if err := os.CopyFS(filepath.Join(ws, "dist"), os.DirFS(dist)); err != nil {
				t.Fatal(err)
			}
			before := tree(t, filepath.Join(ws, "dist"))
			if before["ngsw.json"] == "" {
				list := map[string]string{}
				for file, content := range before {
					list["/"+file] = fmt.Sprintf("%x", sha1.Sum([]byte(content)))
				}
				text, _ := json.Marshal(map[string]any{"hashTable": list})
				write(t, ws, map[string]string{"dist/ngsw.json": string(text)})
				before["ngsw.json"] = string(text)
			}
			cfg := guarded(config(t, ws))
			cfg.Profile, cfg.Output = optimize.ProfileFull, "out"
			run(t, cfg)
			after := tree(t, filepath.Join(ws, "out"))
			if after["ngsw.json"] == before["ngsw.json"] {
				t.Error("no digest was replaced, so nothing is tried here")
			}
			checkNoOldDigest(t, before, after)
			var list struct{ HashTable map[string]string }
			if err := json.Unmarshal([]byte(after["ngsw.json"]), &list); err != nil || len(list.HashTable) == 0 {
				t.Fatalf("ngsw.json: %v", err)
			}
			for url, digest := range list.HashTable {
				if want := fmt.Sprintf("%x", sha1.Sum([]byte(after[url[1:]]))); digest != want {
					t.Errorf("ngsw.json: %s = %s, want %s", url, digest, want)
				}
			}
			for file, content := range after {
				if strings.HasSuffix(file, ".html") {
					checkIntegrity(t, file, content, after)
				}
			}
		})
	}
}

func tree(t testing.TB, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name := range snapshot(t, root) {
		if info, err := os.Stat(filepath.Join(root, name)); err == nil && info.Mode().IsRegular() {
			all[filepath.ToSlash(name)] = read(t, root, name)
		}
	}
	return all
}

func checkNoOldDigest(t *testing.T, before, after map[string]string) {
	t.Helper()
	for name, old := range before {
		if after[name] == old {
			continue
		}
		for file, content := range after {
			for _, digest := range digestsOf(old) {
				if strings.Contains(content, digest) {
					t.Errorf("%s still has the digest %s of %s as it was", file, digest, name)
				}
			}
		}
	}
}

func digestsOf(content string) (list []string) {
	b := []byte(content)
	m, s1, s2, s3, s5 := md5.Sum(b), sha1.Sum(b), sha256.Sum256(b), sha512.Sum384(b), sha512.Sum512(b)
	for _, sum := range [][]byte{m[:], s1[:], s2[:], s3[:], s5[:]} {
		list = append(list, fmt.Sprintf("%x", sum), base64.StdEncoding.EncodeToString(sum), base64.RawURLEncoding.EncodeToString(sum))
	}
	return list
}

func checkIntegrity(t *testing.T, file, content string, site map[string]string) {
	t.Helper()
	for z := html.NewTokenizer(strings.NewReader(content)); z.Next() != html.ErrorToken; {
		attributes := map[string]string{}
		for _, a := range z.Token().Attr {
			attributes[a.Key] = a.Val
		}
		url := attributes["src"] + attributes["href"]
		if attributes["integrity"] == "" || strings.Contains(url, "//") {
			continue
		}
		if !strings.HasPrefix(url, "/") && !strings.Contains(strings.ReplaceAll(content, `"`, ""), "<base href=/") {
			url = path.Join("/"+path.Dir(file), url)
		}
		named, ok := site[strings.TrimPrefix(url, "/")]
		for _, digest := range strings.Fields(attributes["integrity"]) {
			_, digest, _ = strings.Cut(digest, "-")
			if !ok || !strings.Contains(strings.Join(digestsOf(named), " "), digest) {
				t.Errorf("%s: the integrity of %s is %s, which is no digest of it", file, url, digest)
			}
		}
	}
}
