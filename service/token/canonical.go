package token

import "strconv"

// canonical reads a payload that has exactly the form in which Sign writes it, with nothing in its
// texts that JSON escapes and nothing beyond printable ASCII. ok is false for every other payload,
// good or not, which decodeClaims reads in full: this is the same answer, sooner.
func canonical(payload []byte) (w wire, ok bool) {
	p := scanner(payload)
	p.literal(`{"sub":`)
	w.Subject = p.text()
	p.literal(`,"email":`)
	w.Email = p.text()
	p.literal(`,"tier":`)
	w.Tier = p.text()
	p.literal(`,"features":[`)
	w.Features = []string{}
	for more := !p.has(`]`); more && p != nil; more = p.has(`,`) {
		w.Features = append(w.Features, p.text())
	}
	if len(w.Features) > 0 {
		p.literal(`]`)
	}
	p.literal(`,"valid_until":`)
	w.ValidUntil = p.text()
	p.literal(`,"iat":`)
	w.IssuedAt = p.number()
	p.literal(`,"exp":`)
	w.ExpiresAt = p.number()
	if p.has(`,"jti":`) {
		w.ID = p.text()
	}
	if p.has(`,"iss":`) {
		w.Issuer = p.text()
	}
	p.literal(`}`)
	return w, p != nil && len(p) == 0
}

// appendCanonical appends the JSON of a payload of which canonical could read every text; ok is
// false for any other. It is what encodeJSON writes, sooner.
func appendCanonical(b []byte, w wire) (out []byte, ok bool) {
	if b == nil {
		b = make([]byte, 0, 384)
	}
	ok = true
	text := func(name, s string) {
		b = append(append(append(append(b, name...), '"'), s...), '"')
		for i := range len(s) {
			ok = ok && s[i] >= ' ' && s[i] <= '~' && s[i] != '"' && s[i] != '\\'
		}
	}
	text(`{"sub":`, w.Subject)
	text(`,"email":`, w.Email)
	text(`,"tier":`, w.Tier)
	b = append(b, `,"features":[`...)
	comma := ""
	for _, f := range w.Features {
		text(comma, f)
		comma = ","
	}
	text(`],"valid_until":`, w.ValidUntil)
	b = strconv.AppendInt(append(b, `,"iat":`...), *w.IssuedAt, 10)
	b = strconv.AppendInt(append(b, `,"exp":`...), *w.ExpiresAt, 10)
	if w.ID != "" {
		text(`,"jti":`, w.ID)
	}
	if w.Issuer != "" {
		text(`,"iss":`, w.Issuer)
	}
	return append(b, '}'), ok
}

// scanner is what is left to read; nil when something else was found than was expected.
type scanner []byte

// has reads a text if it comes next.
func (p *scanner) has(text string) bool {
	if len(*p) < len(text) || string((*p)[:len(text)]) != text {
		return false
	}
	*p = (*p)[len(text):]
	return true
}

// literal reads a text that must come next.
func (p *scanner) literal(text string) {
	if !p.has(text) {
		*p = nil
	}
}

// text reads a JSON string without escapes.
func (p *scanner) text() string {
	if p.literal(`"`); *p == nil {
		return ""
	}
	for i, c := range *p {
		switch {
		case c == '"':
			s := string((*p)[:i])
			*p = (*p)[i+1:]
			return s
		case c < ' ' || c > '~' || c == '\\':
			*p = nil
			return ""
		}
	}
	*p = nil
	return ""
}

// number reads a whole number from 1 on, without sign, fraction, exponent or leading zero.
func (p *scanner) number() *int64 {
	n, i := int64(0), 0
	for ; i < len(*p) && i < maxDigits && (*p)[i] >= '0' && (*p)[i] <= '9'; i++ {
		n = 10*n + int64((*p)[i]-'0')
	}
	if i == 0 || (*p)[0] == '0' {
		*p = nil
		return nil
	}
	*p = (*p)[i:]
	return &n
}

// maxDigits are those of a number that fits.
const maxDigits = 18
