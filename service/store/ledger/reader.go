package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed means that bytes are not a block or not a filter: they were cut or changed, or a
// newer program wrote them.
var ErrMalformed = errors.New("malformed ledger")

// Decode returns the records of a block. ErrMalformed.
func Decode(body []byte) ([]Record, error) {
	r := NewReader(body)
	var records []Record
	for r.Next() {
		if records == nil {
			records = make([]Record, 0, r.left+1)
		}
		records = append(records, Record{})
		r.fill(&records[len(records)-1])
	}
	if r.err != nil {
		return nil, r.err
	}
	return records, nil
}

// Reader reads the records of a block one after the other. A text is made only when it is asked
// for: passing over a record allocates nothing but an entry for each new text that it brings.
//
//	r := ledger.NewReader(body)
//	for r.Next() {
//		if r.Has(ledger.OfAccount, id) {
//			use(r.Record())
//		}
//	}
//	return r.Err()
type Reader struct {
	rest []byte
	left uint64 // records that follow
	err  error

	known []knownText

	// the current record
	at, issuedAt, expiresAt int64
	refs                    [references]uint64
	parent, id, request     text
	hash                    *[HashSize]byte
	extra                   []byte
}

// The fields of a record that are references, in their order.
const (
	fieldAccount = iota
	fieldIssuedBy
	fieldKey
	fieldAction
	fieldActorKind
	fieldActorID
	fieldAddress
	references // their number
)

// knownText is a text of the block that records refer to.
type knownText struct {
	text
	made string // the text, once it was asked for
}

// minRecord is the size of the smallest record: all its numbers and texts are 0 or empty.
const minRecord = 3 + references + 3*2 + HashSize + 1

// NewReader starts to read a block, which must not change meanwhile. After Next returned false, Err
// tells what is wrong with the block.
func NewReader(body []byte) *Reader {
	r := &Reader{rest: body}
	if v := r.take(1); v != nil && v[0] != version {
		r.fail("version %d of a block is not known: it was changed, or a newer program wrote it",
			v[0])
	}
	if r.left = r.uvarint(); r.left > uint64(len(r.rest))/minRecord {
		r.fail("%d records do not fit into %d bytes", r.left, len(r.rest))
	}
	return r
}

// Err is why Next returned false, and nil at the end of the block. ErrMalformed.
func (r *Reader) Err() error { return r.err }

func (r *Reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
}

// Next goes to the next record, and tells whether there is one.
func (r *Reader) Next() bool {
	if r.err != nil {
		return false
	}
	if r.left == 0 {
		if len(r.rest) > 0 {
			r.fail("%d bytes follow the last record", len(r.rest))
		}
		return false
	}
	r.left--
	r.at += r.varint()
	r.issuedAt = r.at/1000 + r.varint()
	r.expiresAt = r.issuedAt + r.varint()
	for i := range r.refs {
		r.refs[i] = r.readReference()
	}
	r.parent = r.readText(false)
	r.id = r.readText(true)
	r.request = r.readText(false)
	if hash := r.take(HashSize); hash != nil {
		r.hash = (*[HashSize]byte)(hash)
	}
	r.extra = r.take(r.uvarint())
	if r.id.form == formChild && r.parent.form != formToken {
		r.fail("an id shares the family of a parent that has none")
	}
	return r.err == nil
}

// Record is the record that Next went to. It does not keep the block.
func (r *Reader) Record() (record Record) {
	r.fill(&record)
	return record
}

func (r *Reader) fill(into *Record) {
	var texts [2*tokenLetters + requestLetters]byte
	made := r.parent.appendTo(texts[:0])
	parentEnd := len(made)
	made = r.appendID(made)
	idEnd := len(made)
	all := string(r.request.appendTo(made)) // one allocation for the three
	parent := all[:parentEnd]
	*into = Record{
		ID: all[parentEnd:idEnd], Account: r.textOf(fieldAccount, parent), Parent: parent,
		IssuedBy: r.textOf(fieldIssuedBy, parent), Key: r.textOf(fieldKey, parent),
		IssuedAt: r.issuedAt, ExpiresAt: r.expiresAt, At: r.at,
		Action: r.textOf(fieldAction, parent), ActorKind: r.textOf(fieldActorKind, parent),
		ActorID: r.textOf(fieldActorID, parent), Address: r.textOf(fieldAddress, parent),
		RequestID: all[idEnd:], TokenHash: *r.hash, Extra: string(r.extra),
	}
}

// appendID appends the token's id, with what the record says elsewhere.
func (r *Reader) appendID(dst []byte) []byte {
	var packed [tokenBytes]byte
	switch r.id.form {
	case formFirst:
		issued := timeOf(r.issuedAt)
		copy(packed[:], issued[:])
		copy(packed[timeBytes:], r.id.payload)
	case formChild:
		issued := timeOf(r.issuedAt)
		copy(packed[:], issued[:])
		copy(packed[timeBytes:], r.parent.payload[timeBytes:familyEnd])
		copy(packed[familyEnd:], r.id.payload)
	default:
		return r.id.appendTo(dst)
	}
	return unpack(dst, packed[:], tokenLetters, idAlphabet)
}

// textOf is the text that a field refers to.
func (r *Reader) textOf(field int, parent string) string {
	switch ref := r.refs[field]; {
	case ref == refParent:
		return parent
	case ref < refTexts:
		return presets[ref-refPresets]
	default:
		known := &r.known[ref-refTexts]
		if known.made == "" {
			known.made = string(known.appendTo(nil))
		}
		return known.made
	}
}

// refersTo tells whether the text of a field is s, without making it.
func (r *Reader) refersTo(field int, s string) bool {
	switch ref := r.refs[field]; {
	case ref == refParent:
		return r.parent.equals(s)
	case ref < refTexts:
		return presets[ref-refPresets] == s
	default:
		return r.known[ref-refTexts].equals(s)
	}
}

// readReference reads a reference, and the new text that may follow it.
func (r *Reader) readReference() uint64 {
	ref := r.uvarint()
	if ref == refNew {
		r.known = append(r.known, knownText{text: r.readText(false)})
		return refTexts + uint64(len(r.known)) - 1
	}
	if ref >= refTexts+uint64(len(r.known)) {
		r.fail("reference %d to a text that did not come before", ref)
		return refPresets
	}
	return ref
}

// readText reads a text. Only the token's id has the forms that leave out what is elsewhere in the
// record.
func (r *Reader) readText(ofID bool) text {
	head := r.take(1)
	if head == nil {
		return text{}
	}
	f := form(head[0])
	size, ok := f.payload()
	if !ok || !ofID && (f == formFirst || f == formChild) {
		r.fail("form %d of a text is not known here", f)
		return text{}
	}
	if f == formPlain {
		return text{f, r.take(r.uvarint())}
	}
	payload := r.take(uint64(size))
	if f == formRequest && payload != nil && payload[requestBytes-1]&requestSpare != 0 {
		r.fail("a request id has more than %d letters", requestLetters)
	}
	return text{f, payload}
}

// take returns the next n bytes, and nil after a failure.
func (r *Reader) take(n uint64) []byte {
	if r.err == nil && n > uint64(len(r.rest)) {
		r.fail("cut: %d bytes where %d should be", len(r.rest), n)
	}
	if r.err != nil {
		return nil
	}
	taken := r.rest[:n:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *Reader) uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail("cut: no number where one should be")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// varint reads what binary.AppendVarint wrote.
func (r *Reader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// At is when the record at hand was made, in milliseconds.
func (r *Reader) At() int64 { return r.at }

// ExpiresAt is when the token of the record at hand expires, in seconds.
func (r *Reader) ExpiresAt() int64 { return r.expiresAt }
