package ledger

import (
	"bytes"
	"encoding/json"
	"iter"
	"strings"
)

// Kind is what a name that can be searched for belongs to. The values are part of the format of
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

// Names are the names by which a record is found; an empty field gives none.
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

// Has tells whether Names of the current record would give this name.
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
		return r.refersTo(fieldAccount, name)
	case OfIssuer:
		return r.refersTo(fieldIssuedBy, name)
	case OfKey:
		return r.refersTo(fieldKey, name)
	case OfActor:
		return r.refersTo(fieldActorID, name)
	case OfAction:
		return r.refersTo(fieldAction, name)
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

// Repository is the repository of the job that a record's token is for: its id, and its name in lower
// case. Both are empty when the record speaks of none.
func Repository(r *Record) (id, name string) { return repository([]byte(r.Extra)) }

// repository is the repository of a job according to Extra. Most records have none, and an Extra
// that is not such a JSON object gives none either.
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
