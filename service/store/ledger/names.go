package ledger

import (
	"bytes"
	"encoding/json"
	"iter"
	"strings"
)

// Kind says what a name that can be searched for names. The values are part of the format of
// filters.
type Kind byte

// The kinds of names.
const (
	OfToken          Kind = 1
	OfParent         Kind = 2
	OfAccount        Kind = 3
	OfIssuer         Kind = 4 // API token, login or policy
	OfKey            Kind = 5
	OfActor          Kind = 6
	OfAction         Kind = 7
	OfRequest        Kind = 8
	OfRepositoryID   Kind = 9
	OfRepositoryName Kind = 10 // in lower case
)

// Names are the names by which a record is found, each once; what is empty has none.
func Names(r Record) iter.Seq2[Kind, string] {
	return func(yield func(Kind, string) bool) {
		id, name := repository([]byte(r.Extra))
		for _, n := range [...]struct {
			kind Kind
			name string
		}{
			{OfToken, r.ID}, {OfParent, r.Parent}, {OfAccount, r.Account}, {OfIssuer, r.IssuedBy},
			{OfKey, r.Key}, {OfActor, r.ActorID}, {OfAction, r.Action}, {OfRequest, r.RequestID},
			{OfRepositoryID, id}, {OfRepositoryName, name},
		} {
			if n.name != "" && !yield(n.kind, n.name) {
				return
			}
		}
	}
}

// Has tells whether the record at hand has the name: whether Names would give it.
func (r *Reader) Has(kind Kind, name string) bool {
	if name == "" {
		return false
	}
	switch kind {
	case OfToken:
		if r.id.form == formFirst || r.id.form == formChild {
			var made [tokenLetters]byte
			return len(name) == tokenLetters && string(r.appendID(made[:0])) == name
		}
		return r.id.equals(name)
	case OfParent:
		return r.parent.equals(name)
	case OfAccount:
		return r.says(refAccount, name)
	case OfIssuer:
		return r.says(refIssuedBy, name)
	case OfKey:
		return r.says(refKey, name)
	case OfActor:
		return r.says(refActorID, name)
	case OfAction:
		return r.says(refAction, name)
	case OfRequest:
		return r.request.equals(name)
	case OfRepositoryID:
		id, _ := repository(r.extra)
		return id == name
	case OfRepositoryName:
		_, repo := repository(r.extra)
		return repo == name
	}
	return false
}

// repository is what Extra says of the repository of a job: nothing for most records, and for what
// is not such a JSON object.
func repository(extra []byte) (id, name string) {
	if !bytes.Contains(extra, []byte(`"repository`)) {
		return "", ""
	}
	var of struct {
		ID   string `json:"repository_id"`
		Name string `json:"repository"`
	}
	if err := json.Unmarshal(extra, &of); err != nil {
		return "", ""
	}
	return of.ID, strings.ToLower(of.Name)
}
