package guard_test

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/transform"

	"github.com/pageflare/ci/action/guard"
)

// The labels of https://encoding.spec.whatwg.org/#names-and-labels, one of each encoding and a few
// that authors use for them.
var labels = strings.Fields(`utf-8 unicode-1-1-utf-8 ibm866 iso-8859-2 latin2 iso-8859-3 iso-8859-4 iso-8859-5 cyrillic iso-8859-6 arabic
	iso-8859-7 greek iso-8859-8 iso-8859-8-i logical iso-8859-10 iso-8859-13 iso-8859-14 iso-8859-15 iso-8859-16 koi8-r koi koi8-u macintosh
	windows-874 tis-620 windows-1250 windows-1251 windows-1252 ascii latin1 us-ascii iso-8859-1 windows-1253 windows-1254 latin5 windows-1255
	windows-1256 windows-1257 windows-1258 x-mac-cyrillic gbk gb2312 gb18030 big5 big5-hkscs euc-jp iso-2022-jp shift_jis sjis windows-31j euc-kr
	ks_c_5601-1987 korean replacement utf-16be utf-16le utf-16 x-user-defined`)

// letters that some encoding of the list has.
const letters = "é ß ł ő č ş ğ ё Ж Я ї α Ω א ש ا ب ก ไ あ 漢 字 한 글 ‰ “ ” € —"

// A page in any encoding says after optimizing what it said before: what the optimizer wrote in
// UTF-8 is not published in a page that is read otherwise.
func TestAPageSaysTheSameInEveryEncoding(t *testing.T) {
	t.Parallel()
	for _, label := range labels {
		enc, err := htmlindex.Get(label)
		if err != nil && label != "replacement" {
			t.Errorf("%s: %v", label, err)
			continue
		}
		var words []string
		for _, w := range strings.Fields(letters) {
			if enc == nil {
				continue
			}
			if b, _, err := transform.String(enc.NewEncoder(), w); err == nil && !strings.Contains(b, "\x1a") {
				words = append(words, w)
			}
		}
		page := func(body string) string {
			return strings.ReplaceAll(document(strings.Repeat("    "+body+"\n", 20)), "utf-8", label)
		}
		plain := page("<p>" + strings.Join(words, " ") + " &eacute;&#8364;</p>")
		source := []byte(plain)
		if enc != nil && !strings.HasPrefix(label, "utf-16") { // which a page cannot declare in ASCII
			if source, _, err = transform.Bytes(enc.NewEncoder(), source); err != nil {
				t.Errorf("%s: %v", label, err)
				continue
			}
		}
		// the optimizer takes every page for UTF-8 and writes letters in the place of entities
		result := []byte(strings.ReplaceAll(minified(strings.Repeat("<p>"+strings.Join(words, " ")+" é€", 20)), "charset=utf-8", "charset="+label))
		v := siteOf(t, nil).Judge("index.html", source, result)
		got := []byte(published(v, string(source), string(result)))
		if was, is := read(t, source), read(t, got); was != is {
			t.Errorf("%s: published as %s, and reads\n%s\nwant\n%s", label, v.Publish, is, was)
		}
		isUTF8 := strings.HasPrefix(label, "utf-") || label == "unicode-1-1-utf-8" // UTF-16 cannot be said in ASCII: it means UTF-8
		if v.Publish == guard.PublishResult && !isUTF8 {
			t.Errorf("%s: the optimizer's letters were published", label)
		}
	}
}

// read is the words of a page as a browser reads its bytes.
func read(t *testing.T, page []byte) string {
	t.Helper()
	enc, _, _ := charset.DetermineEncoding(page[:min(len(page), 1024)], "")
	text, _, err := transform.Bytes(enc.NewDecoder(), page)
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(text, []byte("<body>"))
	s := strings.NewReplacer("</p>", "", "</body>", "", "</html>", "", "&eacute;", "é", "&#8364;", "€", "<p>", " ").Replace(string(body))
	return strings.Join(strings.Fields(s), " ")
}
