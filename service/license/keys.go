package license

import (
	"context"

	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pageflare/ci/service/token"
)

// SealedKey is a signing key as it is stored: its secret encrypted under the master key.
type SealedKey struct {
	ID        string // kid
	Sealed    []byte
	CreatedAt time.Time
	SignsFrom time.Time // from then on it signs, when no newer key does
}

// KeyState is what a signing key does.
type KeyState string

// A key first waits until every replica knows it, then signs, and when a newer one signs it still verifies.
const (
	KeyWaiting   KeyState = "waiting"
	KeySigning   KeyState = "signing"
	KeyVerifying KeyState = "verifying"
)

// KeyInfo is a signing key without its secret.
type KeyInfo struct {
	ID         string
	State      KeyState
	CreatedAt  time.Time
	SignsFrom  time.Time
	LiveTokens int64
}

const (
	// keyMaxAge is how old a replica's view of the keys may be.
	keyMaxAge = time.Second
	// keyLead is how long a new key waits before it signs: long enough for every replica to have read it, clocks a little apart included.
	keyLead = 5 * time.Second
)

var errNoKeys = errors.New("no signing keys")

// keyring is the view of the signing keys that this process has.
type keyring struct {
	store  Store
	master MasterKey
	now    func() time.Time

	mu   sync.Mutex
	view *token.KeySet
	read time.Time
}

// set returns the keys, at most keyMaxAge old. While the store does not answer, the last view goes on being used.
func (k *keyring) set(ctx context.Context) (*token.KeySet, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if k.view != nil && now.Sub(k.read) < keyMaxAge && !now.Before(k.read) {
		return k.view, nil
	}
	sealed, err := k.store.Keys(ctx)
	if err != nil {
		if k.view != nil {
			return k.view, nil
		}
		return nil, fmt.Errorf("read the signing keys: %w", err)
	}
	view, err := k.open(sealed)
	if err != nil {
		return nil, err
	}
	k.view, k.read = view, now
	return view, nil
}

// forget makes the next set read the store.
func (k *keyring) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.view = nil
}

func (k *keyring) open(sealed []SealedKey) (*token.KeySet, error) {
	if len(sealed) == 0 {
		return nil, errNoKeys
	}
	signing := signingKey(sealed, k.now())
	var first token.Key
	var others []token.Key
	for _, s := range sealed {
		secret, err := k.master.open("signing key "+s.ID, s.Sealed)
		if err != nil {
			return nil, fmt.Errorf("signing key %s: %w", s.ID, err)
		}
		if key := (token.Key{ID: s.ID, Secret: secret}); s.ID == signing {
			first = key
		} else {
			others = append(others, key)
		}
	}
	return token.NewKeySet(first, others...)
}

// signingKey is the id of the newest key that may sign at now; of the oldest when none may yet.
func signingKey(keys []SealedKey, now time.Time) string {
	id := keys[0].ID
	for _, k := range keys {
		if !k.SignsFrom.After(now) {
			id = k.ID
		}
	}
	return id
}

// addKey makes and stores a new signing key.
func (s *Service) addKey(ctx context.Context, signsFrom time.Time) (SealedKey, error) {
	secret := make([]byte, token.MinKeySize)
	if _, err := io.ReadFull(s.cfg.Rand, secret); err != nil {
		return SealedKey{}, fmt.Errorf("draw a signing key: %w", err)
	}
	id, err := newID("k_", s.cfg.Rand)
	if err != nil {
		return SealedKey{}, err
	}
	sealed, err := s.cfg.MasterKey.seal("signing key "+id, secret, s.cfg.Rand)
	if err != nil {
		return SealedKey{}, err
	}
	k := SealedKey{ID: id, Sealed: sealed, CreatedAt: s.time(), SignsFrom: signsFrom}
	return k, s.store.AddKey(ctx, k, s.act(ctx, KeyAdded, "", id, Details{"signs_from": signsFrom.Unix()}))
}

// RotateKey adds a signing key. It starts to sign a few seconds later, when every replica knows it; tokens of the older keys stay good.
func (s *Service) RotateKey(ctx context.Context) (KeyInfo, error) {
	k, err := s.addKey(ctx, s.time().Add(keyLead))
	if err != nil {
		return KeyInfo{}, err
	}
	return KeyInfo{ID: k.ID, State: KeyWaiting, CreatedAt: k.CreatedAt, SignsFrom: k.SignsFrom}, nil
}

// Keys lists the signing keys that are not retired, oldest first.
func (s *Service) Keys(ctx context.Context) ([]KeyInfo, error) {
	keys, err := s.store.Keys(ctx)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, nil
	}
	now := s.time()
	signing := signingKey(keys, now)
	infos := make([]KeyInfo, 0, len(keys))
	for _, k := range keys {
		live, err := s.store.LiveTokens(ctx, k.ID, now)
		if err != nil {
			return nil, err
		}
		infos = append(infos, KeyInfo{ID: k.ID, State: keyState(k, signing, now), CreatedAt: k.CreatedAt, SignsFrom: k.SignsFrom, LiveTokens: live})
	}
	return infos, nil
}

func keyState(k SealedKey, signing string, now time.Time) KeyState {
	switch {
	case k.ID == signing:
		return KeySigning
	case k.SignsFrom.After(now):
		return KeyWaiting
	}
	return KeyVerifying
}

// RetireKey ends a signing key: tokens that it signed are refused from then on, everywhere within a second. ErrKeyInUse: it signs, or it waits to,
// or live tokens depend on it; the last can be overridden by force. ErrNotFound: no such key.
func (s *Service) RetireKey(ctx context.Context, id string, force bool) error {
	keys, err := s.Keys(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		switch {
		case k.ID != id:
		case k.State != KeyVerifying:
			return fmt.Errorf("%w: %s is %s: run key rotate first and wait until another key signs", ErrKeyInUse, id, k.State)
		case k.LiveTokens > 0 && !force:
			return fmt.Errorf("%w: %d live tokens depend on %s: wait until they have been refreshed, or end them with --force", ErrKeyInUse, k.LiveTokens, id)
		default:
			return s.store.RetireKey(ctx, id, s.act(ctx, KeyRetired, "", id, Details{"live_tokens": k.LiveTokens}))
		}
	}
	return fmt.Errorf("signing key %s: %w", id, ErrNotFound)
}
