package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/go-github/v60/github"
)

// A Writer puts secrets into the places of one repository.
type Writer struct {
	api  *github.Client
	repo Repo
	rand io.Reader
}

// NewWriter makes a writer for the targets of repo. api comes from NewClient; rand seals the values and must be
// cryptographically strong.
func NewWriter(api *github.Client, repo Repo, rand io.Reader) *Writer {
	return &Writer{api: api, repo: repo, rand: rand}
}

// Outcome says what a write did.
type Outcome int

// The outcomes of a write. A write whose first answer was lost and that was repeated counts as an update.
const (
	Created Outcome = iota + 1
	Updated
)

// String gives "created" or "updated".
func (o Outcome) String() string {
	switch o {
	case Created:
		return "created"
	case Updated:
		return "updated"
	}
	return fmt.Sprintf("Outcome(%d)", int(o))
}

// Write seals value for target and stores it under name. Name and value are checked before the first call. Every error is
// an *Error; what the secret held before is then still there, unless the answer to the last request was lost.
func (w *Writer) Write(ctx context.Context, target Target, name, value string) (Outcome, error) {
	if err := errors.Join(CheckName(name), CheckValue(value)); err != nil {
		return 0, w.refuse("write", target, name, err)
	}
	key, err := w.publicKey(ctx, target)
	if err != nil {
		return 0, w.explain("write", target, name, err)
	}
	outcome, err := w.put(ctx, target, name, value, key)
	if statusOf(err) == http.StatusUnprocessableEntity {
		outcome, err = w.putRotated(ctx, target, name, value, key, err)
	}
	if err != nil {
		return 0, w.explain("write", target, name, err)
	}
	return outcome, nil
}

// putRotated tries once more when the key that was refused is no longer the current one; else the refusal stands.
func (w *Writer) putRotated(ctx context.Context, target Target, name, value string, old *github.PublicKey, refusal error) (
	Outcome, error,
) {
	key, err := w.publicKey(ctx, target)
	if err != nil {
		return 0, err
	}
	if key.GetKeyID() == old.GetKeyID() {
		return 0, refusal
	}
	return w.put(ctx, target, name, value, key)
}

func (w *Writer) publicKey(ctx context.Context, target Target) (*github.PublicKey, error) {
	key, _, err := target.publicKey(ctx, w.api, w.repo)
	if err != nil {
		return nil, err
	}
	if key.GetKey() == "" || key.GetKeyID() == "" {
		return nil, errors.New("the answer has no public key")
	}
	return key, nil
}

func (w *Writer) put(ctx context.Context, target Target, name, value string, key *github.PublicKey) (Outcome, error) {
	sealed, err := Seal(key.GetKey(), value, w.rand)
	if err != nil {
		return 0, err
	}
	resp, err := target.put(ctx, w.api, w.repo, &github.EncryptedSecret{
		Name:           name,
		KeyID:          key.GetKeyID(),
		EncryptedValue: sealed,
	})
	if err != nil {
		return 0, err
	}
	switch resp.StatusCode {
	case http.StatusCreated:
		return Created, nil
	case http.StatusNoContent:
		return Updated, nil
	}
	return 0, fmt.Errorf("the answer %s says neither created (201) nor updated (204)", resp.Status)
}

// UpdatedAt says when the secret was last written, and false when there is none, or when the token cannot
// see the repository: GitHub answers both alike.
func (w *Writer) UpdatedAt(ctx context.Context, target Target, name string) (time.Time, bool, error) {
	if err := CheckName(name); err != nil {
		return time.Time{}, false, w.refuse("read", target, name, err)
	}
	found, _, err := target.read(ctx, w.api, w.repo, name)
	if statusOf(err) == http.StatusNotFound {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, w.explain("read", target, name, err)
	}
	return found.UpdatedAt.Time, true, nil
}
