package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Link is the hash of this line of the log: a keyed hash (HMAC-SHA256) of the hash before it and
// all that the line says. Who can write the database but has not the key-encryption key can neither
// change a line nor take one out from between two others.
//
// The wire form under the hash is a JSON array: "audit line", previous hash, number, milliseconds,
// actor kind, actor id, address, request id, action, account, object, details.
func (a Act) Link(seq int64, previous string) string {
	return auditMAC(a.key, "audit line", previous, seq, a.At.UnixMilli(), a.Actor.Kind, a.Actor.ID, a.Actor.Address, a.Actor.RequestID, a.Action, a.Account,
		a.Object, a.Details)
}

// LinkBlock is the hash of a block that has the numbers first to last: a keyed hash of a JSON
// array: "audit block", previous hash, first, last, SHA-256 of the records in hexadecimal. The
// records can be pruned one day, and what comes after them is proved all the same.
func (a Act) LinkBlock(first, last int64, digest [sha256.Size]byte, previous string) string {
	return auditMAC(a.key, "audit block", previous, first, last, hex.EncodeToString(digest[:]))
}

// Follows says whether an entry of the log of this act is as it was written, behind one with the
// given hash.
func (a Act) Follows(e Entry, previous string) bool {
	e.key = a.key
	if e.Block == nil {
		return e.Link(e.Seq, previous) == e.Hash
	}
	b := e.Block
	return (b.Body == nil || sha256.Sum256(b.Body) == b.Digest) &&
		e.LinkBlock(b.First, e.Seq, b.Digest, previous) == e.Hash
}

// Seal is what proves that the holder of the key set the end of the log there: a keyed hash of a
// JSON array: "audit head", number, hash. Without it, who can write the database could name any
// earlier line as the end, for its hash stands in the line.
func (a Act) Seal(end Head) string { return auditMAC(a.key, "audit head", end.Seq, end.Hash) }

// Sealed says whether a seal is that of an end.
func (a Act) Sealed(end Head, seal string) bool {
	return hmac.Equal([]byte(a.Seal(end)), []byte(seal))
}

// auditMAC is the keyed hash of a JSON array, whose first element keeps apart what it is for.
func auditMAC(key []byte, array ...any) string {
	text, err := json.Marshal(array)
	if err != nil {
		panic(err) // texts and numbers
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil))
}
