// Package ledger decides how the token records of one transaction are encoded as a block, and what
// the filter looks like that tells whether a segment of many blocks may have a name.
//
// It is pure: no database, no clock, no rules. Neighbours: service/store decides that a block is
// chained, sealed and durable, and what a segment is; service/license and service/audit decide what
// is recorded.
//
// # Block
//
// Integers are varints as in encoding/binary; "signed" ones are zigzag. Differences wrap around at
// 64 bits, so that every time comes back as it was given.
//
//	block   = version (1 byte: 1), number of records, record…
//	record  = At (signed; the difference to the record before, and to 0 for the first),
//	          IssuedAt (signed; the difference to At / 1000, rounded towards 0),
//	          ExpiresAt (signed; the difference to IssuedAt),
//	          reference to each of Account, IssuedBy, Key, Action, ActorKind, ActorID, Address,
//	          Parent (text), ID (text), RequestID (text), TokenHash (32 bytes),
//	          Extra (length, bytes)
//	reference = 0, text: a new text, which takes the next free number of the block
//	          | 1: the same as Parent
//	          | 2 …: a text of the list presets, then the texts of this block, in order
//	text    = form (1 byte), payload: see the constants of type form
//
// A text has a packed form when it is an id as service/opaque makes them, a request id as
// crypto/rand.Text makes them, or an IP address as net/netip writes it. Any other text is stored as
// it is, so that every record comes back exactly as it was given.
//
// Blocks are in databases of users, so forms, presets and their numbers never change. Another
// format takes another version byte, which a program that does not know it refuses. A block is
// authentic by the hash that service/store keeps of its bytes; Decode does not ask whether Append
// would have written the same ones.
package ledger

import "encoding/binary"

// version is the first byte of a block.
const version = 1

// HashSize is the size of Record.TokenHash.
const HashSize = 32

// Record is what is stored of one token: its record, and the line of the audit log about the act
// that gave it. Any values can be stored.
type Record struct {
	ID       string // jti
	Account  string
	Parent   string // the token that was refreshed; "" for the first of a family
	IssuedBy string // API token, login or policy; "" if none
	Key      string // id of the signing key

	IssuedAt, ExpiresAt int64 // Unix time in seconds
	At                  int64 // time of the act: Unix time in milliseconds

	Action             string
	ActorKind, ActorID string
	Address            string
	RequestID          string

	TokenHash [HashSize]byte // SHA-256 of the token
	Extra     string         // JSON object with what else the audit line says; "" if nothing
}

// Append appends a block of the records to body. Equal records give equal bytes.
func Append(body []byte, records []Record) []byte {
	w := writer{body: append(body, version), known: make(map[string]uint64, 8)}
	w.body = binary.AppendUvarint(w.body, uint64(len(records)))
	for i := range records {
		w.record(&records[i])
	}
	return w.body
}

type writer struct {
	body  []byte
	known map[string]uint64 // text -> its number among the texts of this block
	at    int64             // of the record before
}

func (w *writer) record(r *Record) {
	w.body = binary.AppendVarint(w.body, r.At-w.at)
	w.body = binary.AppendVarint(w.body, r.IssuedAt-r.At/1000)
	w.body = binary.AppendVarint(w.body, r.ExpiresAt-r.IssuedAt)
	w.at = r.At

	w.reference(r.Account)
	w.reference(r.IssuedBy)
	w.reference(r.Key)
	w.reference(r.Action)
	w.reference(r.ActorKind)
	if r.ActorID == r.Parent {
		w.body = append(w.body, refParent)
	} else {
		w.reference(r.ActorID)
	}
	w.reference(r.Address)

	parentAt := len(w.body)
	w.body = appendText(w.body, r.Parent)
	w.body = appendTokenID(w.body, r.ID, r.IssuedAt, w.body[parentAt:])
	w.body = appendText(w.body, r.RequestID)
	w.body = append(w.body, r.TokenHash[:]...)
	w.body = binary.AppendUvarint(w.body, uint64(len(r.Extra)))
	w.body = append(w.body, r.Extra...)
}

// References with a meaning of their own.
const (
	refNew     = 0
	refParent  = 1
	refPresets = 2 // the first preset
)

// presets are texts that are known in every block. Their order is part of the format.
var presets = [...]string{
	"", "token.refresh", "account", "token.issue", "token.exchange", "github-job", "admin",
	"command-line", "service", "unknown",
}

const refTexts = refPresets + uint64(len(presets)) // the first text of the block itself

func (w *writer) reference(s string) {
	for i := range presets {
		if presets[i] == s {
			w.body = append(w.body, refPresets+byte(i))
			return
		}
	}
	if n, ok := w.known[s]; ok {
		w.body = binary.AppendUvarint(w.body, refTexts+n)
		return
	}
	w.known[s] = uint64(len(w.known))
	w.body = append(w.body, refNew)
	w.body = appendText(w.body, s)
}
