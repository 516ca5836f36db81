package ledger

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
)

// form says how a text is stored. The values are part of the format.
type form byte

const (
	formPlain   form = 0 // length, bytes
	formToken   form = 1 // 25 bytes: id of a license token: 5 of time, 10 of family, 10 of its own
	formFirst   form = 2 // 20 bytes: the same, whose time is IssuedAt
	formChild   form = 3 // 10 bytes: the same, whose time is IssuedAt and family that of Parent
	formRequest form = 4 // 17 bytes: 26 letters of crypto/rand.Text, and 6 bits that are 0
	formIPv4    form = 5 // 4 bytes
	formIPv6    form = 6 // 16 bytes
	formIDs     form = 8 // 10 bytes: 16 letters after the first of idPrefixes; 9: the second …
)

// idPrefixes are those of service/opaque. Their order is part of the format.
var idPrefixes = [...]string{"user_", "at_", "adm_", "pol_", "k_", "mac_", "dev_", "ses_"}

const (
	idAlphabet      = "0123456789abcdefghjkmnpqrstvwxyz"
	requestAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

	tokenLetters, tokenBytes     = 40, 25
	idLetters, idBytes           = 16, 10
	requestLetters, requestBytes = 26, 17
	requestSpare                 = 0x3f // bits of the last byte

	timeBytes   = 5
	familyBytes = 10
	familyEnd   = timeBytes + familyBytes
)

// payload is the size of what follows a form: -1 for formPlain; not ok for an unknown form.
func (f form) payload() (size int, ok bool) {
	switch f {
	case formPlain:
		return -1, true
	case formToken:
		return tokenBytes, true
	case formFirst:
		return tokenBytes - timeBytes, true
	case formChild:
		return tokenBytes - familyEnd, true
	case formRequest:
		return requestBytes, true
	case formIPv4:
		return 4, true
	case formIPv6:
		return 16, true
	}
	return idBytes, f >= formIDs && int(f-formIDs) < len(idPrefixes)
}

// appendText appends a text in the most compact form that gives it back exactly.
func appendText(dst []byte, s string) []byte {
	start := len(dst)
	switch len(s) {
	case tokenLetters:
		if packed, ok := pack(append(dst, byte(formToken)), s, &idValues); ok {
			return packed
		}
	case requestLetters:
		if packed, ok := pack(append(dst, byte(formRequest)), s, &requestValues); ok {
			return packed
		}
	}
	for i, prefix := range idPrefixes {
		if len(s) == len(prefix)+idLetters && strings.HasPrefix(s, prefix) {
			f := formIDs + form(i)
			if packed, ok := pack(append(dst, byte(f)), s[len(prefix):], &idValues); ok {
				return packed
			}
		}
	}
	if packed, ok := appendAddress(dst, s); ok {
		return packed
	}
	dst = append(dst[:start], byte(formPlain))
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// maxAddress is more than the longest text of an address without a zone.
const maxAddress = 46

// appendAddress appends an IP address, if s is one as netip writes it.
func appendAddress(dst []byte, s string) ([]byte, bool) {
	if len(s) > maxAddress || !strings.ContainsAny(s, ".:") {
		return dst, false
	}
	address, err := netip.ParseAddr(s)
	if err != nil || address.Zone() != "" {
		return dst, false
	}
	var text [maxAddress]byte
	if string(address.AppendTo(text[:0])) != s {
		return dst, false
	}
	if address.Is4() {
		four := address.As4()
		return append(append(dst, byte(formIPv4)), four[:]...), true
	}
	sixteen := address.As16()
	return append(append(dst, byte(formIPv6)), sixteen[:]...), true
}

// appendTokenID appends the id of a token without what is elsewhere in its record: the time of
// issue, and the family of the parent, whose text is given as it is stored.
func appendTokenID(dst []byte, id string, issuedAt int64, parent []byte) []byte {
	start := len(dst)
	dst = appendText(dst, id)
	if form(dst[start]) != formToken {
		return dst
	}
	packed := dst[start+1:]
	if issued := timeOf(issuedAt); !bytes.Equal(packed[:timeBytes], issued[:]) {
		return dst
	}
	f, from := formFirst, timeBytes
	if form(parent[0]) == formToken &&
		bytes.Equal(parent[1:][timeBytes:familyEnd], packed[timeBytes:familyEnd]) {
		f, from = formChild, familyEnd
	}
	return append(append(dst[:start], byte(f)), packed[from:]...)
}

// timeOf is the part of a token's id that says when it was issued.
func timeOf(issuedAt int64) (t [timeBytes]byte) {
	var all [8]byte
	binary.BigEndian.PutUint64(all[:], uint64(issuedAt))
	copy(t[:], all[8-timeBytes:])
	return t
}

// text is a text as it stands in a block: its form and its payload.
type text struct {
	form    form
	payload []byte
}

// appendTo appends the text itself. formFirst and formChild need the record: Reader.appendID.
func (t text) appendTo(dst []byte) []byte {
	switch t.form {
	case formPlain:
		return append(dst, t.payload...)
	case formToken:
		return unpack(dst, t.payload, tokenLetters, idAlphabet)
	case formRequest:
		return unpack(dst, t.payload, requestLetters, requestAlphabet)
	case formIPv4:
		return netip.AddrFrom4([4]byte(t.payload)).AppendTo(dst)
	case formIPv6:
		return netip.AddrFrom16([16]byte(t.payload)).AppendTo(dst)
	}
	dst = append(dst, idPrefixes[t.form-formIDs]...)
	return unpack(dst, t.payload, idLetters, idAlphabet)
}

// equals tells whether the text is s, without making it.
func (t text) equals(s string) bool {
	if t.form == formPlain {
		return string(t.payload) == s
	}
	var made [tokenLetters + maxAddress]byte
	return string(t.appendTo(made[:0])) == s
}

// noLetter marks what is not in an alphabet.
const noLetter = 0xff

var idValues, requestValues = valuesOf(idAlphabet), valuesOf(requestAlphabet)

func valuesOf(alphabet string) (values [256]byte) {
	for i := range values {
		values[i] = noLetter
	}
	for i := range len(alphabet) {
		values[alphabet[i]] = byte(i)
	}
	return values
}

// pack appends five bits for each letter, and zeros to fill the last byte. (encoding/base32 drops
// the bits that do not fill a byte: two of the 130 of a request id.) Not ok, with a result that
// must not be used, if a letter is not in the alphabet.
func pack(dst []byte, s string, values *[256]byte) ([]byte, bool) {
	var bits uint64
	var n int
	var all byte
	for i := range len(s) {
		v := values[s[i]]
		all |= v
		bits = bits<<5 | uint64(v&31)
		if n += 5; n == 40 {
			dst = append(dst, byte(bits>>32), byte(bits>>24), byte(bits>>16), byte(bits>>8),
				byte(bits))
			bits, n = 0, 0
		}
	}
	for ; n > 0; n -= 8 {
		if n < 8 {
			bits, n = bits<<(8-n), 8
		}
		dst = append(dst, byte(bits>>(n-8)))
	}
	return dst, all&^31 == 0
}

// unpack is the inverse of pack.
func unpack(dst, packed []byte, letters int, alphabet string) []byte {
	for ; len(packed) >= 5; packed, letters = packed[5:], letters-8 {
		hi, lo := binary.BigEndian.Uint32(packed), packed[4]
		dst = append(dst, alphabet[hi>>27], alphabet[hi>>22&31], alphabet[hi>>17&31],
			alphabet[hi>>12&31], alphabet[hi>>7&31], alphabet[hi>>2&31],
			alphabet[hi<<3&31|uint32(lo>>5)], alphabet[lo&31])
	}
	var bits uint32
	var n int
	for _, b := range packed {
		bits, n = bits<<8|uint32(b), n+8
		for ; n >= 5 && letters > 0; letters-- {
			n -= 5
			dst = append(dst, alphabet[bits>>n&31])
		}
	}
	return dst
}
