package guard_test

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"

	"github.com/pageflare/ci/action/guard"
)

// What the results are: the output of the CLI 0.9.2 for the source, several of them shortened by
// hand to what the case is about, unless a damage is made up.
var fileCases = []struct {
	name, path, source, result string
	want                       string // a piece of a reason; "" where the result is published
}{
	{"a sheet of comments is emptied", "a.css", "/* nothing yet */\n", "", ""},
	{"a sheet is emptied", "a.css", "a { top: 0 }", "", "emptied"},
	{"a sheet of an import is emptied", "a.css", "@import url(b.css);", "", "emptied"},
	{"a script of comments is emptied", "a.js", "// nothing yet\n", "", ""},
	{"a script is emptied", "a.js", "go()", "", "emptied"},
	{"JSON loses its white space", "a.json", "{\n  \"a\": [1, 2, null]\n}\n", `{"a":[1,2,null]}`, ""},
	{"a long integer is rounded", "a.json", `{"id": 18446744073709551617}`, `{"id":18446744073709552000}`, "a value differs"},
	{"a number is written in another way", "a.json", `{"price": 1.50}`, `{"price":1.5}`, "a value differs"},
	{"members change places", "a.json", `{"a":1,"b":2}`, `{"b":2,"a":1}`, "a value differs"},
	{"a member given twice is lost", "a.json", `{"a":1,"a":2}`, `{"a":2}`, "a value differs"},
	{"escapes of strings are free", "a.json", `{"a":"\u00e9\/"}`, `{"a":"é/"}`, ""},
	{"half of a pair of surrogates is lost", "a.json", `["\ud800"]`, `["\ufffd"]`, "a value differs"},
	{"a byte order mark is lost", "a.json", "\ufeff{}  ", `{}`, "byte order mark"},
	{"JSON with comments is changed", "a.json", `{} // note`, `{}`, "not valid JSON"},
	{"a manifest loses an icon", "site.webmanifest", `{"icons":[1,2]}`, `{"icons":[1]}`, "a value differs"},

	{"XML keeps its tokens", "feed.xml", `<?xml version='1.0'?><a  x="1" y='2'></a>`, `<?xml version="1.0"?><a y="2" x="1"/>`, ""},
	{"white space of XML is lost", "feed.xml", "<a> <b/> </a>", "<a><b/></a>", "markup differs"},
	{"an attribute is lost", "feed.xml", `<a x="1"/>`, `<a/>`, "markup differs"},
	{"CDATA becomes text", "feed.xml", `<a><![CDATA[<b>]]></a>`, `<a>&lt;b&gt;</a>`, "markup differs"},
	{"an instruction is lost", "feed.xml", `<?xml-stylesheet href="a.xsl"?><a/>`, `<a/>`, "markup differs"},
	{"a comment is lost", "feed.xml", `<a><!-- x --></a>`, `<a></a>`, "markup differs"},
	{"a document type is lost", "page.xhtml", `<!DOCTYPE html><html>&nbsp;</html>`, `<html>&nbsp;</html>`, "markup differs"},
	{"the encoding is another", "feed.xml", `<?xml version="1.0" encoding="iso-8859-1"?><a/> `, `<a/>`, "encoding iso-8859-1"},
	{"XML is no longer well-formed", "feed.xml", `<a><b></b></a>`, `<a><b></a>`, "result cannot be parsed"},
	{"an entity of its own stays", "feed.xml", `<!DOCTYPE a [ <!ENTITY x "y"> ]><a>&x;</a> `, `<!DOCTYPE a [ <!ENTITY x "y"> ]><a>&x;</a>`, ""},

	{"an icon loses its size", "a.svg", `<svg xmlns="http://www.w3.org/2000/svg" width="24" height="24" viewBox="0 0 24 24"><path d="M0 0h4v4z"/></svg>`,
		`<svg viewBox="0 0 24 24" xmlns="http://www.w3.org/2000/svg"><path d="M0 0h4v4z"/></svg>`, "height of svg is gone"},
	{"an icon without a size is written shorter", "a.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 24 24\">\n  <!-- c -->\n  <path fill=\"#ff0000\" d=\"M 0 0 L 10.12345 10 Z\"/>\n</svg>\n",
		`<svg viewBox="0 0 24 24" xmlns="http://www.w3.org/2000/svg"><path d="M0 0L10.123 10z" fill="#f00"/></svg>`, ""},
	{"an implied line is lost", "a.svg", `<svg viewBox="0 0 24 24"><path d="m0,0 10,10h5v5z"/></svg>`, `<svg viewBox="0 0 24 24"><path d="M0 0M10 10h5v5z"/></svg>`, "d of path differs"},
	{"a path continues from the wrong place", "a.svg", `<svg viewBox="0 0 16 16"><path d="M6.5 0H9.5zm1.038 3.018h1"/></svg>`, `<svg viewBox="0 0 16 16"><path d="M6.5 0H9.5zm4.038 3.018h1"/></svg>`, "d of path differs"},
	{"an id is lost", "a.svg", `<svg><style>#b{stroke:blue}</style><rect id="b" width="1" height="1"/></svg>`, `<svg><style>#b{stroke:blue}</style><rect width="1" height="1"/></svg>`, "id of rect is gone"},
	{"a title is lost", "a.svg", `<svg><title>Home</title><path d="M0 0h4"/></svg>`, `<svg><path d="M0 0h4"/></svg>`, "title differs"},
	{"a symbol is lost", "sprite.svg", `<svg><symbol id="home"><path d="M0 0h4"/></symbol></svg>`, `<svg></svg>`, "differs"},
	{"an image is lost", "a.svg", `<svg><image href="a.png" width="4" height="4"/></svg>`, `<svg/>`, "differs"},
	{"the document type goes and its entity stays", "a.svg", `<!DOCTYPE svg [ <!ENTITY blue "#00f"> ]><svg><path d="M0 0h4" fill="&blue;"/></svg>`, `<svg><path d="M0 0h4" fill="&blue;"/></svg>`, "not well-formed"},
	{"groups are merged", "a.svg", `<svg><g fill="red"><g stroke="blue"><path d="M0 0h4"/></g></g></svg>`, `<svg><g fill="red" stroke="blue"><path d="M0 0h4"/></g></svg>`, "stroke of g"},
	{"words are run together", "a.svg", `<svg><text>Hello <tspan>World</tspan></text></svg>`, `<svg><text>Hello<tspan>World</tspan></text></svg>`, "text"},
	{"a sprite is emptied", "sprite.svg", `<svg><symbol id="home"/></svg>`, ``, "emptied"},

	{"a script that others use is emptied", "site.js", `var SITE = { base: "/" }`, ``, "emptied"},
	{"a script keeps what it defines", "site.js", `var SITE = { base: "/" };  `, "var SITE={base:`/`};", ""},
	{"a sheet loses a selector", "site.css", `.a, .b { color: red }`, `.a{color:red}`, "declared"},
	{"a file of no known type is changed", "data.bin", `1`, `2`, "nobody may change"},
}

func TestJudgeFiles(t *testing.T) {
	t.Parallel()
	site := guard.NewSite(guard.Config{})
	for _, c := range fileCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := site.Judge(c.path, []byte(c.source), []byte(c.result))
			if published := v.Publish == guard.PublishResult; published != (c.want == "") {
				t.Fatalf("Judge(%s, %s, %s) publishes the %s: %v; want %q", c.path, c.source, c.result, v.Publish, v.Differences, c.want)
			}
			if c.want != "" && !strings.Contains(details(v), c.want) {
				t.Errorf("Judge(%s, %s, %s) says %q, want %q", c.path, c.source, c.result, details(v), c.want)
			}
		})
	}
}

func details(v guard.Verdict) string {
	var s []string
	for _, d := range v.Differences {
		s = append(s, d.Detail)
	}
	return strings.Join(s, "; ")
}

func TestWhatIsPutBack(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, path, source, result, want string }{
		{"a directive", "a.js", `(function (a) { "use strict"; b = a   })(1)`, `(function(a){b=a})(1);`, `(function(a){"use strict";b=a})(1);`},
		{"the charset of a script", "a.js", `f("\u00e9 and more")  `, "f(`é and more`);", "\ufefff(`é and more`);"},
		{"a number as it was written", "a.json", "{ \"price\": 1.50,\n  \"b\": [1, 2] }", `{"price":1.5,"b":[1,2]}`, `{"price":1.50,"b":[1,2]}`},
		{"the charset of a sheet", "a.css", `@charset "utf-8"; a { content: "é" }`, `a{content:"é"}`, "\ufeffa{content:\"é\"}"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := guard.NewSite(guard.Config{}).Judge(c.path, []byte(c.source), []byte(c.result))
			if v.Publish != guard.PublishRepaired || string(v.Repaired) != c.want {
				t.Errorf("Judge(%s) publishes the %s: %s %v; want %s", c.source, v.Publish, v.Repaired, v.Differences, c.want)
			}
		})
	}
	v := guard.NewSite(guard.Config{}).Judge("a.js", []byte(`"use strict";f(this)`), []byte(`f(this);`))
	if v.Publish != guard.PublishSource || !v.NoGain {
		t.Errorf("Judge of a script that gains nothing publishes the %s, want the source without gain", v.Publish)
	}
}

// gradient is a picture whose corners differ.
func gradient(w, h int, turn bool) *image.NRGBA {
	p := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			r, g := uint8(255*x/w), uint8(255*y/h)
			if turn {
				r = 255 - r
			}
			p.SetNRGBA(x, y, color.NRGBA{r, g, 40, 255})
		}
	}
	return p
}

func asPNG(t testing.TB, p image.Image, level png.CompressionLevel) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: level}).Encode(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func asJPEG(t testing.TB, p image.Image, quality, orientation int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, p, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	if orientation == 0 {
		return b.Bytes()
	}
	exif := append([]byte("Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00"), byte(orientation), 0, 0, 0, 0, 0, 0)
	segment := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(exif)+2))
	return append(append([]byte{0xff, 0xd8}, append(segment, exif...)...), b.Bytes()[2:]...)
}

func asGIF(t testing.TB, frames int) []byte {
	t.Helper()
	g := &gif.GIF{}
	for i := range frames {
		p := image.NewPaletted(image.Rect(0, 0, 8, 8), color.Palette{color.Black, color.White})
		p.SetColorIndex(i%8, 0, 1)
		g.Image, g.Delay = append(g.Image, p), append(g.Delay, 10)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestJudgePictures(t *testing.T) {
	t.Parallel()
	photo, other := gradient(120, 80, false), gradient(120, 80, true)
	tests := []struct {
		name, path     string
		source, result []byte
		want           string
	}{
		{"a picture is packed better", "a.png", asPNG(t, photo, png.NoCompression), asPNG(t, photo, png.BestCompression), ""},
		{"a photo has a lower quality", "a.jpg", asJPEG(t, photo, 95, 0), asJPEG(t, photo, 80, 0), ""},
		{"a picture is exchanged", "a.png", asPNG(t, photo, png.NoCompression), asPNG(t, other, png.BestCompression), "not the same picture"},
		{"a picture has another size", "a.png", asPNG(t, photo, png.NoCompression), asPNG(t, gradient(60, 40, false), png.BestCompression), "size differs"},
		{"a picture has another format", "a.png", asPNG(t, photo, png.NoCompression), asJPEG(t, photo, 80, 0), "format differs"},
		{"a photo loses its orientation", "a.jpg", asJPEG(t, photo, 95, 6), asJPEG(t, photo, 80, 0), "orientation differs"},
		{"a photo keeps its orientation", "a.jpg", asJPEG(t, photo, 95, 6), asJPEG(t, photo, 80, 6), ""},
		{"an animation loses frames", "a.gif", asGIF(t, 3), asGIF(t, 1), "animation"},
		{"a picture is cut off", "a.png", asPNG(t, photo, png.NoCompression), asPNG(t, photo, png.NoCompression)[:3000], "cannot be decoded"},
		{"a format that is not decoded is changed", "a.avif", []byte("\x00\x00\x00\x20ftypavif1"), []byte("\x00\x00\x00\x20ftypavif2"), "not a format"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := guard.NewSite(guard.Config{}).Judge(c.path, c.source, c.result)
			if got := details(v); (v.Publish == guard.PublishResult) != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("Judge publishes the %s: %q, want %q", v.Publish, got, c.want)
			}
		})
	}
}

func fuzzFile(f *testing.F, paths ...string) {
	for _, c := range fileCases {
		f.Add([]byte(c.source), []byte(c.result))
	}
	site := guard.NewSite(guard.Config{})
	f.Fuzz(func(t *testing.T, source, result []byte) {
		for _, path := range paths {
			// white space at the end, so that the comparison is not spared
			v := site.Judge(path, source, append(bytes.Clone(source), '\n'))
			if _, err := validKinds(v); err != "" {
				t.Errorf("Judge(%s, %.300q) with itself says %s", path, source, err)
			}
			site.Judge(path, source, result)
		}
	})
}

// validKinds finds a reason that a file held against itself must not have.
func validKinds(v guard.Verdict) (bool, string) {
	for _, d := range v.Differences {
		if d.Kind != guard.KindInvalid && d.Kind != guard.KindCharset && d.Kind != guard.KindMissing {
			return false, d.Detail
		}
	}
	return true, ""
}

func FuzzSVG(f *testing.F)  { fuzzFile(f, "a.svg") }
func FuzzJSON(f *testing.F) { fuzzFile(f, "a.json") }

func FuzzXML(f *testing.F) { fuzzFile(f, "a.xml", "a.xhtml") }

func FuzzPicture(f *testing.F) {
	f.Add(asPNG(f, gradient(9, 7, false), png.DefaultCompression), asJPEG(f, gradient(9, 7, false), 80, 6))
	f.Add(asGIF(f, 2), asGIF(f, 1))
	f.Add([]byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00"), []byte("RIFF"))
	site := guard.NewSite(guard.Config{})
	f.Fuzz(func(t *testing.T, source, result []byte) {
		v := site.Judge("a.png", source, append(bytes.Clone(source), '\n'))
		if ok, why := validKinds(v); !ok && why == "it is not the same picture" {
			t.Errorf("Judge(%.300q) with itself says %s", source, why)
		}
		site.Judge("a.png", source, result)
	})
}

func TestHostileFilesEnd(t *testing.T) {
	t.Parallel()
	site := guard.NewSite(guard.Config{})
	const n = 100000
	for path, source := range map[string]string{
		"deep.json":   strings.Repeat("[", n) + strings.Repeat("]", n),
		"wide.json":   "[" + strings.Repeat("1,", n) + "1]",
		"deep.xml":    strings.Repeat("<a>", n) + strings.Repeat("</a>", n),
		"wide.xml":    "<a>" + strings.Repeat("<b/>", n) + "</a>",
		"attrs.xml":   "<a " + strings.Repeat(`b="" `, n) + "/>",
		"nul.xml":     strings.Repeat("\x00", n),
		"entity.svg":  `<!DOCTYPE a [ <!ENTITY a "` + strings.Repeat("&a;", n) + `"> ]><svg>` + strings.Repeat("&a;", n) + "</svg>",
		"path.svg":    `<svg><path d="M0 0` + strings.Repeat("h1", n) + `"/></svg>`,
		"bomb.png":    "\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x06\x00\x00\x00\x00\x00\x00\x00",
		"frames.gif":  "GIF89a\x01\x00\x01\x00\x00\x00\x00" + strings.Repeat("\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x00", n),
		"chunks.webp": "RIFF\xff\xff\xff\x7fWEBP" + strings.Repeat("JUNK\x00\x00\x00\x00", n),
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			if ok, why := validKinds(site.Judge(path, []byte(source), []byte(source+" "))); !ok && path != "frames.gif" {
				t.Errorf("Judge(%s) = %s, want none or one that is not compared", path, why)
			}
		})
	}
}

func BenchmarkJudge(b *testing.B) {
	for path, source := range map[string]string{
		"a.json": "[" + strings.Repeat(`{"a": 1, "b": "text"}, `, 10000) + "1]",
		"a.xml":  "<a>" + strings.Repeat(`<b c="d">text</b>`, 10000) + "</a>",
		"a.svg":  "<svg>" + strings.Repeat(`<path d="M1 2h3v4C1 2 3 4 5 6z" fill="#ff0000"/>`, 5000) + "</svg>",
		"a.png":  string(asPNG(b, gradient(1000, 1000, false), png.DefaultCompression)),
	} {
		b.Run(path, func(b *testing.B) {
			site := guard.NewSite(guard.Config{})
			b.SetBytes(int64(len(source)))
			for b.Loop() {
				site.Judge(path, []byte(source), []byte(source+" "))
			}
		})
	}
}
