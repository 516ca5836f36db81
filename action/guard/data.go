package guard

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pageflare/ci/action/guard/script"
)

var byteOrderMark = []byte("\ufeff")

// judgeJSON puts back what a value lost: the source without white space between its values.
func judgeJSON(source, result []byte) Verdict {
	d := compareJSON(source, result)
	if len(d) == 0 {
		return Verdict{Publish: PublishResult}
	}
	var b bytes.Buffer
	if err := json.Compact(&b, source); err != nil || b.Len() >= len(source) || len(compareJSON(source, b.Bytes())) > 0 {
		return refuse(d...)
	}
	return Verdict{Publish: PublishRepaired, Repaired: b.Bytes(), Differences: d}
}

// compareJSON holds JSON against its source: the same values in the same order, members given twice
// included; numbers as they are written, since readers differ in how they round; a byte order mark
// stays or stays away. White space and the way in which strings are escaped are free.
func compareJSON(source, result []byte) []Difference {
	if bytes.HasPrefix(source, byteOrderMark) != bytes.HasPrefix(result, byteOrderMark) {
		return []Difference{dataDifference(KindCharset, "one of them begins with a byte order mark", "", "")}
	}
	source, result = bytes.TrimPrefix(source, byteOrderMark), bytes.TrimPrefix(result, byteOrderMark)
	switch {
	case !json.Valid(source) || !utf8.Valid(source):
		return []Difference{dataDifference(KindInvalid, "the source is not valid JSON, and was changed", "", "")}
	case !json.Valid(result) || !utf8.Valid(result):
		return []Difference{dataDifference(KindInvalid, "the result is not valid JSON", "", "")}
	}
	for {
		var before, after []byte
		before, source = jsonToken(source)
		after, result = jsonToken(result)
		if !sameJSON(before, after) {
			return []Difference{dataDifference(KindData, "a value differs", string(before), string(after))}
		}
		if before == nil {
			return nil
		}
	}
}

func dataDifference(kind Kind, detail, before, after string) Difference {
	return Difference{Kind: kind, Detail: detail, Before: excerpt(before), After: excerpt(after)}
}

// jsonToken cuts the first token off valid JSON; nil at its end.
func jsonToken(b []byte) (token, rest []byte) {
	b = bytes.TrimLeft(b, " \t\r\n")
	if len(b) == 0 {
		return nil, nil
	}
	end := 1
	switch {
	case b[0] == '"':
		for b[end] != '"' {
			if b[end] == '\\' {
				end++
			}
			end++
		}
		end++
	case strings.IndexByte("{}[]:,", b[0]) < 0:
		if end = bytes.IndexAny(b, " \t\r\n{}[]:,\""); end < 0 {
			end = len(b)
		}
	}
	return b[:end], b[end:]
}

func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if len(a) == 0 || len(b) == 0 || a[0] != '"' || b[0] != '"' {
		return false
	}
	x, okX := script.Unquote(a)
	y, okY := script.Unquote(b)
	return okX && okY && x == y
}

// compareXML holds XML against its source: the same tokens in the same order, white space between
// elements included, since readers may show it. Attributes may change places, quotes and empty
// elements their form. Comments, instructions, the document type and CDATA sections stay.
func compareXML(source, result []byte) []Difference {
	before, err := readXML(source)
	if err != nil {
		return []Difference{dataDifference(KindInvalid, "the source cannot be parsed: "+excerpt(err.Error()), "", "")}
	}
	after, err := readXML(result)
	if err != nil {
		return []Difference{dataDifference(KindInvalid, "the result cannot be parsed: "+excerpt(err.Error()), "", "")}
	}
	if bytes.HasPrefix(source, byteOrderMark) != bytes.HasPrefix(result, byteOrderMark) {
		return []Difference{dataDifference(KindCharset, "one of them begins with a byte order mark", "", "")}
	}
	for i := range max(len(before), len(after)) {
		b, a := tokenAt(before, i), tokenAt(after, i)
		if !b.equal(a) {
			return []Difference{dataDifference(KindData, "the markup differs", b.String(), a.String())}
		}
	}
	return nil
}

// xmlToken is a token of XML, by what it says.
type xmlToken struct {
	kind  string // "start", "end", "text", "cdata", "comment", "instruction", "declaration"
	name  string
	attrs []string // of a start, sorted: name, "=", value
	text  string
}

func (t xmlToken) equal(u xmlToken) bool {
	return t.kind == u.kind && t.name == u.name && t.text == u.text && slices.Equal(t.attrs, u.attrs)
}

func (t xmlToken) String() string {
	return strings.TrimSpace(t.kind + " " + t.name + " " + strings.Join(t.attrs, " ") + t.text)
}

func tokenAt(list []xmlToken, i int) xmlToken {
	if i < len(list) {
		return list[i]
	}
	return xmlToken{}
}

const (
	maxXMLTokens = 4 << 20
	maxXMLDepth  = 10000
)

var entityName = regexp.MustCompile(`<!ENTITY\s+([\pL_:][-.:\pL\pN_]*)`)

// readXML reads well-formed XML in UTF-8. Entities stay references, apart from the five of XML.
func readXML(source []byte) ([]xmlToken, error) {
	if !utf8.Valid(source) {
		return nil, fmt.Errorf("not UTF-8")
	}
	source = bytes.TrimPrefix(source, byteOrderMark)
	d := xml.NewDecoder(bytes.NewReader(source))
	d.Entity = map[string]string{}
	for name := range xml.HTMLEntity {
		d.Entity[name] = "\ufdd0" + name + ";"
	}
	for _, m := range entityName.FindAllSubmatch(source, 1000) {
		d.Entity[string(m[1])] = "\ufdd0" + string(m[1]) + ";"
	}
	d.CharsetReader = func(charset string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("encoding %s is not compared", charset)
	}
	var list []xmlToken
	var open []string
	roots := 0
	for {
		start := d.InputOffset()
		t, err := d.RawToken()
		if err == io.EOF {
			if len(open) > 0 {
				return nil, fmt.Errorf("element %s does not end", open[len(open)-1])
			}
			if roots != 1 {
				return nil, fmt.Errorf("%d root elements instead of one", roots)
			}
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		token := makeToken(t, source[start:d.InputOffset()])
		switch token.kind {
		case "start":
			if len(open) == 0 {
				roots++
			}
			open = append(open, token.name)
		case "end":
			if len(open) == 0 || open[len(open)-1] != token.name {
				return nil, fmt.Errorf("element %s ends where it is not open", token.name)
			}
			open = open[:len(open)-1]
		case "text", "cdata":
			if len(open) > 0 {
				break
			}
			if strings.TrimSpace(token.text) != "" || token.kind == "cdata" {
				return nil, fmt.Errorf("text outside of the root element")
			}
			continue
		}
		if len(list) >= maxXMLTokens || len(open) > maxXMLDepth {
			return nil, fmt.Errorf("larger or deeper than the guard compares")
		}
		list = append(list, token)
	}
}

func makeToken(t xml.Token, raw []byte) xmlToken {
	switch t := t.(type) {
	case xml.StartElement:
		token := xmlToken{kind: "start", name: qualified(t.Name)}
		for _, a := range t.Attr {
			token.attrs = append(token.attrs, qualified(a.Name)+"="+a.Value)
		}
		slices.Sort(token.attrs)
		return token
	case xml.EndElement:
		return xmlToken{kind: "end", name: qualified(t.Name)}
	case xml.CharData:
		if bytes.HasPrefix(raw, []byte("<![CDATA[")) {
			return xmlToken{kind: "cdata", text: string(t)}
		}
		return xmlToken{kind: "text", text: string(t)}
	case xml.Comment:
		return xmlToken{kind: "comment", text: string(t)}
	case xml.ProcInst:
		text := string(t.Inst)
		if t.Target == "xml" {
			text = strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "'", `"`)
		}
		return xmlToken{kind: "instruction", name: t.Target, text: text}
	case xml.Directive:
		return xmlToken{kind: "declaration", text: strings.Join(strings.Fields(string(t)), " ")}
	}
	return xmlToken{}
}

func qualified(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}
