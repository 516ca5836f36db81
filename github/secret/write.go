package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/pageflare/ci/github"
)

// A Writer puts secrets into the places of one repository and of organizations. Several goroutines
// may use it, until Close.
type Writer struct {
	credential credential
	byApp      bool
	repo       github.Repo
	repoID     int64
	rand       io.Reader
	now        func() time.Time
	expiry     atomic.Pointer[time.Time] // of the token, as GitHub's last answer told it; nil: not told
}

// WriterConfig is what a Writer needs.
type WriterConfig struct {
	API  github.Config // required, its Token alone not with Installations; it writes the secrets, and must be empty with an App
	App  *github.App   // optional
	Repo github.Repo   // required; only with Installations it may be empty, for the secrets of organizations

	// Installations are in the place of API's token and App, for a program that has them for long:
	// Close then leaves them as they are, and Check makes tokens in order to look closer. Optional.
	Installations *github.Installations

	RepoID int64     // optional; saves a call now and then
	Rand   io.Reader // required; seals the values; must be cryptographically strong, and safe for several goroutines
}

// NewWriter makes a writer for the targets of a repository. Close it.
func NewWriter(cfg WriterConfig) (*Writer, error) {
	w := &Writer{byApp: cfg.App != nil, repo: cfg.Repo, repoID: cfg.RepoID, rand: cfg.Rand, now: cfg.API.Now}
	if cfg.Repo == (github.Repo{}) && cfg.Installations == nil || cfg.Rand == nil {
		return nil, errors.New("secret writer: Repo and Rand must be set")
	}
	if cfg.Installations != nil {
		if cfg.App != nil || cfg.API.Token != "" || cfg.API.Now == nil {
			return nil, errors.New("secret writer: with Installations give the clock of API, no token and no App")
		}
		w.byApp = true
		w.credential = &installed{at: cfg.Installations, repo: cfg.Repo, repoID: cfg.RepoID, shared: true}
		return w, nil
	}
	if cfg.App == nil {
		if err := errors.Join(cfg.API.Check(), github.CheckToken(cfg.API.Token)); err != nil {
			return nil, err
		}
		api, err := github.New(cfg.API)
		w.credential = &given{api}
		return w, err
	}
	if cfg.API.Token != "" {
		return nil, errors.New("secret writer: give a token or an App, not both")
	}
	at, err := github.NewInstallations(cfg.API, cfg.App)
	w.credential = &installed{at: at, repo: cfg.Repo, repoID: cfg.RepoID}
	return w, err
}

// Close revokes the tokens that were made for a GitHub App, also when ctx has ended; it takes two
// seconds at most. A token that was given is left as it is.
func (w *Writer) Close(ctx context.Context) error { return w.credential.revoke(ctx) }

// open gives the API of a target, for reading or writing.
func (w *Writer) open(ctx context.Context, t Target, level string) (store, *session, error) {
	api, err := w.credential.client(ctx, t, level)
	if err != nil {
		return nil, nil, err
	}
	s := &session{api: api, repo: w.repo, id: w.repoID}
	return t.of().open(s, t), s, nil
}

// Outcome says what a write did.
type Outcome int

// The outcomes of a write. A write whose first answer was lost and that was repeated counts as an
// update.
const (
	Created Outcome = iota + 1
	Updated
	Elsewhere // nothing was written: another job had done it
)

// String gives "created", "updated" or "stored by another job".
func (o Outcome) String() string {
	switch o {
	case Created:
		return "created"
	case Updated:
		return "updated"
	case Elsewhere:
		return "stored by another job"
	}
	return fmt.Sprintf("Outcome(%d)", int(o))
}

// Write seals value for target and stores it under name. Name and value are checked before the
// first call. Every error is an *Error; what the secret held before is then still there, unless the
// answer to the last request was lost. Who may read the secret of an organization stays as it is.
func (w *Writer) Write(ctx context.Context, target Target, name, value string) (Outcome, error) {
	return w.WriteUnless(ctx, target, name, value, time.Time{})
}

// WriteUnless is Write, but for a secret that was written after since, by the clock of this
// machine: that is left as it is, and the outcome is Elsewhere. When it was written is asked once
// and not waited for: if in doubt, the value is written.
func (w *Writer) WriteUnless(ctx context.Context, target Target, name, value string, since time.Time) (Outcome, error) {
	if err := errors.Join(CheckName(name), CheckValue(value)); err != nil {
		return 0, w.refuse("write", target, name, err)
	}
	outcome, err := w.write(ctx, target, name, value, since)
	if err != nil {
		return 0, w.explain(ctx, "write", target, name, err)
	}
	return outcome, nil
}

func (w *Writer) write(ctx context.Context, target Target, name, value string, since time.Time) (Outcome, error) {
	st, s, err := w.open(ctx, target, "write")
	if err != nil {
		return 0, err
	}
	if !since.IsZero() && w.writtenAfter(ctx, st, name, since) {
		return Elsewhere, nil
	}
	key, err := w.publicKey(ctx, st)
	if err != nil {
		return 0, err
	}
	sealed := &gh.EncryptedSecret{Name: name}
	if o, ok := st.(organization); ok {
		who, err := accessFor(ctx, o, s, target, name)
		if err != nil {
			return 0, err
		}
		sealed.Visibility, sealed.SelectedRepositoryIDs = who.visibility, who.repositories
	}
	outcome, err := w.put(ctx, st, sealed, value, key)
	if github.StatusOf(err) == http.StatusUnprocessableEntity {
		return w.putRotated(ctx, st, sealed, value, key, err)
	}
	return outcome, err
}

// putRotated tries once more when the key that was refused is no longer the current one; else the
// refusal stands.
func (w *Writer) putRotated(ctx context.Context, st store, sealed *gh.EncryptedSecret, value string, old *gh.PublicKey, refusal error) (
	Outcome, error,
) {
	key, err := w.publicKey(ctx, st)
	if err != nil {
		return 0, err
	}
	if key.GetKeyID() == old.GetKeyID() {
		return 0, refusal
	}
	return w.put(ctx, st, sealed, value, key)
}

func (w *Writer) publicKey(ctx context.Context, st store) (*gh.PublicKey, error) {
	key, _, err := w.publicKeyAnswer(ctx, st)
	return key, err
}

func (w *Writer) publicKeyAnswer(ctx context.Context, st store) (*gh.PublicKey, *gh.Response, error) {
	key, resp, err := st.publicKey(ctx)
	w.noteExpiry(resp)
	if err != nil {
		return nil, nil, err
	}
	if key.GetKey() == "" || key.GetKeyID() == "" {
		return nil, nil, errors.New("the answer has no public key")
	}
	return key, resp, nil
}

// noteExpiry keeps what an answer says of the token's end. Installation tokens end with the run
// anyway.
func (w *Writer) noteExpiry(resp *gh.Response) {
	if resp != nil && !resp.TokenExpiration.IsZero() && !w.byApp {
		w.expiry.Store(&resp.TokenExpiration.Time)
	}
}

// TokenExpiry tells when the token ends that writes the secrets: zero when GitHub did not say, as
// for tokens without an end, or was not asked.
// https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api
func (w *Writer) TokenExpiry() time.Time {
	if t := w.expiry.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

func (w *Writer) put(ctx context.Context, st store, sealed *gh.EncryptedSecret, value string, key *gh.PublicKey) (Outcome, error) {
	var err error
	if sealed.EncryptedValue, err = Seal(key.GetKey(), value, w.rand); err != nil {
		return 0, err
	}
	sealed.KeyID = key.GetKeyID()
	resp, err := st.put(ctx, sealed)
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
