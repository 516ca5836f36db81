package guard

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// How digests are found in text. One pass over the bytes keeps the last 60 bits of what could be
// hexadecimal and of what could be base64; 60 bits are 15 digits of the one and 10 of the other, so
// one table by the first 60 bits of every digest serves both. A hit there is held against the whole
// digest. So a digest is found wherever it begins and whatever stands around it, and text costs the
// same whatever it holds. Digests that are cut short are not found; nobody verifies files by them.

// algorithm is one by which files are named. The tables below are in its order.
type algorithm uint8

const algorithms = 5

var algorithmNames = [algorithms]string{"md5", "sha1", "sha256", "sha384", "sha512"}

// sums are the digests of one file, one after the other.
type sums [md5.Size + sha1.Size + sha256.Size + sha512.Size384 + sha512.Size]byte

// sumStart has where each digest begins in sums, and the end.
var sumStart = [algorithms + 1]int{0, 16, 36, 68, 116, 180}

func sumsOf(content []byte) *sums {
	s := new(sums)
	for a := range algorithm(algorithms) {
		copy(s.of(a), sumOf(a, content))
	}
	return s
}

func sumOf(a algorithm, content []byte) []byte {
	switch a {
	case 0:
		s := md5.Sum(content)
		return s[:]
	case 1:
		s := sha1.Sum(content)
		return s[:]
	case 2:
		s := sha256.Sum256(content)
		return s[:]
	case 3:
		s := sha512.Sum384(content)
		return s[:]
	}
	s := sha512.Sum512(content)
	return s[:]
}

func (s *sums) of(a algorithm) []byte { return s[sumStart[a]:sumStart[a+1]] }

const keyBits = 60

// key is the first 60 bits of a digest.
func key(sum []byte) (k uint64) {
	for _, b := range sum[:8] {
		k = k<<8 | uint64(b)
	}
	return k >> (64 - keyBits)
}

// digestIndex knows the digests that are looked for. It is safe for concurrent use once it is
// complete.
type digestIndex struct {
	entries []indexEntry
	first   map[uint64]int32 // by key: place in entries
	filter  [1 << filterBits / 64]uint64
}

type indexEntry struct {
	sums  *sums
	group int32
	next  int32 // another digest with the same key; -1 for none
	algorithm
}

const filterBits = 20

func newDigestIndex() *digestIndex { return &digestIndex{first: map[uint64]int32{}} }

func (x *digestIndex) add(group int32, s *sums) {
	for a := range algorithm(algorithms) {
		k := key(s.of(a))
		next, ok := x.first[k]
		if !ok {
			next = -1
		}
		x.first[k] = int32(len(x.entries))
		x.entries = append(x.entries, indexEntry{sums: s, group: group, next: next, algorithm: a})
		bit := k >> (keyBits - filterBits)
		x.filter[bit/64] |= 1 << (bit % 64)
	}
}

func (x *digestIndex) mayHold(k uint64) bool {
	bit := k >> (keyBits - filterBits)
	return x.filter[bit/64]&(1<<(bit%64)) != 0
}

// spelling is how a digest is written, so that another one can be written alike.
type spelling struct {
	hex, upper bool
	url, std   bool // signs of the alphabet of base64url, or of base64, are in it
	padded     bool
	inBlob     bool // more base64 follows at once
	percent    bool // percent-encoded in part
}

// found is a digest in a text.
type found struct {
	start, end int
	group      int32
	algorithm
	spelling
}

// spell writes a digest in a spelling. Where it does not show which base64 it is, the one for URLs
// is the one without padding, unless the algorithm is named before it, as in integrity="sha256-…".
func (s spelling) spell(sum []byte, named bool) string {
	switch {
	case s.hex && s.upper:
		return strings.ToUpper(hex.EncodeToString(sum))
	case s.hex:
		return hex.EncodeToString(sum)
	}
	forURLs := s.url || !s.std && !s.padded && len(sum)%3 != 0 && !named
	switch {
	case forURLs && s.padded:
		return base64.URLEncoding.EncodeToString(sum)
	case forURLs:
		return base64.RawURLEncoding.EncodeToString(sum)
	case s.padded:
		return base64.StdEncoding.EncodeToString(sum)
	}
	return base64.RawStdEncoding.EncodeToString(sum)
}

// sextets are the values of the characters of base64 in both alphabets; 0xff stands for all others.
var sextets = func() (table [256]byte) {
	for i := range table {
		table[i] = 0xff
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for i := range len(alphabet) {
		table[alphabet[i]] = byte(i)
	}
	table['+'], table['-'], table['/'], table['_'] = 62, 62, 63, 63
	return table
}()

// search calls yield for every digest in text, in the order of their ends; for a few of them twice.
func (x *digestIndex) search(text []byte, yield func(found)) {
	if len(x.entries) == 0 {
		return
	}
	const mask = 1<<keyBits - 1
	var base64Key, hexKey uint64
	run, hexRun := 0, 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		v := sextets[c]
		if v > 63 {
			if c == '\\' || c == '&' || c == '%' {
				if end, long := runFrom(text, i, run); long {
					i = x.searchEscaped(text, i-run, i, yield) - 1
				} else if end > i {
					i = end - 1
				}
			}
			run, hexRun = 0, 0
			continue
		}
		base64Key = (base64Key<<6 | uint64(v)) & mask
		run++
		if run >= keyBits/6 && x.mayHold(base64Key) {
			x.matches(base64Key, text, i+1-keyBits/6, false, yield)
		}
		h := nibbles[c]
		if h > 15 {
			hexRun = 0
			continue
		}
		hexKey = (hexKey<<4 | uint64(h)) & mask
		hexRun++
		if hexRun >= keyBits/4 && x.mayHold(hexKey) {
			x.matches(hexKey, text, i+1-keyBits/4, true, yield)
		}
	}
}

func (x *digestIndex) matches(k uint64, text []byte, start int, isHex bool, yield func(found)) {
	at, ok := x.first[k]
	for ok && at >= 0 {
		e := &x.entries[at]
		at = e.next
		f, matched := found{start: start, group: e.group, algorithm: e.algorithm}, false
		if isHex {
			matched = f.matchHex(text, e.sums.of(e.algorithm))
		} else {
			matched = f.matchBase64(text, e.sums.of(e.algorithm))
		}
		if matched {
			yield(f)
		}
	}
}

func (f *found) matchHex(text, sum []byte) bool {
	if len(text)-f.start < 2*len(sum) {
		return false
	}
	f.end = f.start + 2*len(sum)
	f.hex = true
	for i, b := range sum {
		high, low := text[f.start+2*i], text[f.start+2*i+1]
		if got, ok := unhex(high, low); !ok || got != b {
			return false
		}
		f.upper = f.upper || 'A' <= high && high <= 'F' || 'A' <= low && low <= 'F'
	}
	return true
}

func (f *found) matchBase64(text, sum []byte) bool {
	digits := (len(sum)*8 + 5) / 6
	if len(text)-f.start < digits {
		return false
	}
	f.end = f.start + digits
	bits, have := uint32(0), 0
	at := 0
	for _, c := range text[f.start:f.end] {
		v := sextets[c]
		if v > 63 {
			return false
		}
		f.url = f.url || c == '-' || c == '_'
		f.std = f.std || c == '+' || c == '/'
		bits, have = bits<<6|uint32(v), have+6
		if have >= 8 {
			have -= 8
			if at == len(sum) || byte(bits>>have) != sum[at] {
				return false
			}
			at++
		}
	}
	for range (3 - len(sum)%3) % 3 {
		if f.end < len(text) && text[f.end] == '=' {
			f.end++
			f.padded = true
		}
	}
	f.inBlob = !f.padded && f.end < len(text) && sextets[text[f.end]] <= 63
	return true
}

// runFrom measures a run of base64 that has an escape at i and run signs before it. long says that
// it can hold a digest; end is where it ends otherwise, i when there is no escape of such a sign.
func runFrom(text []byte, i, run int) (end int, long bool) {
	const shortest = 22 // signs of an md5
	if _, n := escapedSign(text[i:]); n == 0 {
		return i, false
	}
	for run < shortest && i < len(text) {
		n := 1
		if sextets[text[i]] > 63 {
			if _, n = escapedSign(text[i:]); n == 0 {
				return i, false
			}
		}
		i, run = i+n, run+1
	}
	return i, run >= shortest
}

// searchEscaped searches a run of base64 in which some signs are escaped: \/ and + in JSON,
// entities in HTML, percent signs in URLs. The run begins at start and its first escape is at
// escape. It returns where to go on. A run is decoded once, in pieces that overlap by more than a
// digest, so the search stays linear and small; what lies in an overlap or before the escape is
// found twice.
func (x *digestIndex) searchEscaped(text []byte, start, escape int, yield func(found)) int {
	var plain []byte
	var places []int                // of each byte of plain in text, and the end
	i := max(start, escape-overlap) // what ends before that has been found
	for i < len(text) && len(plain) < maxPiece {
		sign, n := text[i], 1
		if sextets[sign] > 63 {
			if sign, n = escapedSign(text[i:]); n == 0 {
				break
			}
		}
		plain, places = append(plain, sign), append(places, i)
		i += n
	}
	places = append(places, i)
	x.search(plain, func(f found) {
		f.start, f.end = places[f.start], places[f.end]
		f.percent = bytes.IndexByte(text[f.start:f.end], '%') >= 0
		yield(f)
	})
	if len(plain) == maxPiece {
		return places[maxPiece-overlap]
	}
	return i
}

const (
	maxPiece = 64 << 10
	overlap  = 256 // the longest digest has 128 digits
)

// The signs of base64 that are not letters or digits, as scripts, pages and URLs escape them.
var (
	scriptEscapes = []escape{
		{`\/`, '/'}, {`\u002b`, '+'}, {`\u002f`, '/'}, {`\u003d`, '='},
		{`\x2b`, '+'}, {`\x2f`, '/'}, {`\x3d`, '='},
	}
	pageEscapes = []escape{
		{"&#43;", '+'}, {"&#x2b;", '+'}, {"&plus;", '+'}, {"&#47;", '/'}, {"&#x2f;", '/'},
		{"&sol;", '/'}, {"&#61;", '='}, {"&#x3d;", '='}, {"&equals;", '='},
	}
	urlEscapes = []escape{{"%2b", '+'}, {"%2f", '/'}, {"%3d", '='}}
)

type escape struct {
	text string // in lower case
	sign byte
}

// escapedSign reads an escape at the beginning of text; n is 0 without one.
func escapedSign(text []byte) (sign byte, n int) {
	if len(text) < 2 {
		return 0, 0
	}
	var list []escape
	switch text[0] {
	case '\\':
		list = scriptEscapes
	case '&':
		list = pageEscapes
	case '%':
		list = urlEscapes
	}
	for _, e := range list {
		if text[1]|0x20 == e.text[1]|0x20 && hasLower(text, e.text) {
			return e.sign, len(e.text)
		}
	}
	return 0, 0
}

// hasLower reports whether text begins with prefix, which is in lower case, in any case.
func hasLower(text []byte, prefix string) bool {
	if len(text) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		c := text[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != prefix[i] {
			return false
		}
	}
	return true
}
