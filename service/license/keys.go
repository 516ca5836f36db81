package license

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/token"
)

// Algorithm is what a signing key signs, and how. Keys of different algorithms never stand in for each other: they are sealed for different
// purposes and live in different sets.
type Algorithm string

// The algorithms: license tokens are signed with a secret that only this service has, leases with a key whose public half anybody may have.
const (
	HS256 Algorithm = "HS256"
	EdDSA Algorithm = "EdDSA"
)

// SealedKey is a signing key as it is stored: its secret encrypted under the master key.
type SealedKey struct {
	ID        string // kid
	Algorithm Algorithm
	Sealed    []byte
	CreatedAt time.Time
	SignsFrom time.Time // from then on it signs, when no newer key of its algorithm does
}

// purpose is what its secret is sealed for.
func (k SealedKey) purpose() string {
	if k.Algorithm == EdDSA {
		return "lease key " + k.ID
	}
	return "signing key " + k.ID
}

// KeyState is what a signing key does.
type KeyState string

// A key first waits until everybody who verifies knows it, then signs, and when a newer one signs it still verifies.
const (
	KeyWaiting   KeyState = "waiting"
	KeySigning   KeyState = "signing"
	KeyVerifying KeyState = "verifying"
)

// KeyInfo is a signing key without its secret.
type KeyInfo struct {
	ID         string
	Algorithm  Algorithm
	State      KeyState
	CreatedAt  time.Time
	SignsFrom  time.Time
	LiveTokens int64 // license tokens, or leases, that it signed and that have not expired
}

const (
	// keyMaxAge is how old a replica's view of the keys may be.
	keyMaxAge = time.Second
	// keyMinAge is how old it must be before a token with an unknown kid is a reason to look again: a made-up kid costs next to nothing.
	keyMinAge = 100 * time.Millisecond
	// keyLead is how long a new key waits before it signs: long enough for every replica to have read it, clocks four seconds apart included.
	keyLead = 5 * time.Second
	// KeysMaxAge is how long those who verify leases may keep the published keys without asking again.
	KeysMaxAge = 5 * time.Minute
	// leaseKeyLead is how long a new lease key is published before it signs: until the last copy without it is too old, and twice as long again
	// for caches that take their time.
	leaseKeyLead = 3 * KeysMaxAge
)

var errNoKeys = errors.New("no signing keys")

// keyring is the view of the signing keys that this process has.
type keyring struct {
	store  Store
	master MasterKey
	now    func() time.Time

	mu    sync.Mutex
	view  *keyView
	read  time.Time // when the view was read
	err   error     // of the last look, when it failed
	tried time.Time // when it failed
}

// keyView is the keys, opened.
type keyView struct {
	tokens *token.KeySet
	leases []token.LeaseKey // the one that signs first; empty when there are none
}

// look returns the keys, at most maxAge old, to either side: a clock that was set back does not make them last. While the store does not answer it
// returns the last ones it gave, with the error.
func (k *keyring) look(ctx context.Context, maxAge time.Duration) (*keyView, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if k.view != nil && now.Sub(k.read).Abs() < maxAge {
		return k.view, nil
	}
	if k.err != nil && now.Sub(k.tried).Abs() < keyMinAge {
		return k.view, k.err
	}
	sealed, err := k.store.Keys(ctx)
	if err != nil {
		err = fmt.Errorf("read the signing keys: %w", err)
		if ctx.Err() == nil { // else it is only this caller who has left
			k.err, k.tried = err, now
		}
		return k.view, err
	}
	k.view, k.read, k.err = nil, now, nil
	k.view, err = k.open(sealed)
	return k.view, err
}

// set returns the keys, at most keyMaxAge old. While the store does not answer, the last view goes on being used.
func (k *keyring) set(ctx context.Context) (*keyView, error) {
	view, err := k.look(ctx, keyMaxAge)
	if view != nil {
		return view, nil
	}
	return nil, err
}

// parse reads a license token. bad says why it is not good; err that nobody can tell now. A token whose key is unknown is not refused on the
// word of an old view: the key may just have been added, and a no is final for whoever gets it.
func (k *keyring) parse(ctx context.Context, text string, now time.Time) (claims token.Claims, bad, err error) {
	view, err := k.set(ctx)
	if err != nil {
		return token.Claims{}, nil, err
	}
	claims, bad = view.tokens.Parse(text, now)
	if !errors.Is(bad, token.ErrUnknownKey) {
		return claims, bad, nil
	}
	if view, err = k.look(ctx, keyMinAge); err != nil {
		return token.Claims{}, nil, err
	}
	claims, bad = view.tokens.Parse(text, now)
	return claims, bad, nil
}

func (k *keyring) open(sealed []SealedKey) (*keyView, error) {
	view := &keyView{}
	var hmac []token.Key
	for _, s := range signingFirst(sealed, k.now()) {
		secret, err := k.master.open(s.purpose(), s.Sealed)
		if err != nil {
			return nil, fmt.Errorf("signing key %s: %w", s.ID, err)
		}
		if s.Algorithm != EdDSA {
			hmac = append(hmac, token.Key{ID: s.ID, Secret: secret})
			continue
		}
		lease, err := token.NewLeaseKey(s.ID, secret)
		if err != nil {
			return nil, err
		}
		view.leases = append(view.leases, lease)
	}
	if len(hmac) == 0 {
		return nil, errNoKeys
	}
	set, err := token.NewKeySet(hmac[0], hmac[1:]...)
	if err != nil {
		return nil, err
	}
	view.tokens = set
	return view, nil
}

// signingFirst is the keys, those that sign at now before all others.
func signingFirst(keys []SealedKey, now time.Time) []SealedKey {
	signing := signingKeys(keys, now)
	var first, others []SealedKey
	for _, k := range keys {
		if signing[k.Algorithm] == k.ID {
			first = append(first, k)
		} else {
			others = append(others, k)
		}
	}
	return append(first, others...)
}

// signingKeys is, for each algorithm, the id of the newest key that may sign at now; of the oldest when none may yet.
func signingKeys(keys []SealedKey, now time.Time) map[Algorithm]string {
	ids := map[Algorithm]string{}
	for _, k := range keys {
		if ids[k.Algorithm] == "" || !k.SignsFrom.After(now) {
			ids[k.Algorithm] = k.ID
		}
	}
	return ids
}

// firstKeys makes the first signing key of a new store, and the first lease key where leases are given. It signs at once: nobody can have a
// set of keys that lacks it.
func (s *Service) firstKeys(ctx context.Context) error {
	ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorService})
	view, err := s.keys.set(ctx)
	if errors.Is(err, errNoKeys) {
		if view, err = s.firstKey(ctx, HS256); err != nil {
			return err
		}
	}
	if err == nil && s.cfg.LeaseGrace > 0 && len(view.leases) == 0 {
		_, err = s.firstKey(ctx, EdDSA)
	}
	return err
}

func (s *Service) firstKey(ctx context.Context, a Algorithm) (*keyView, error) {
	k, act, err := s.newKey(ctx, a, s.time())
	if err != nil {
		return nil, err
	}
	if err := s.store.AddFirstKey(ctx, k, act); err != nil {
		return nil, err
	}
	return s.keys.look(ctx, 0)
}

// newKey makes a signing key, and the act of adding it.
func (s *Service) newKey(ctx context.Context, a Algorithm, signsFrom time.Time) (SealedKey, audit.Act, error) {
	secret := make([]byte, token.MinKeySize) // 32: also the size of an Ed25519 seed
	if _, err := io.ReadFull(s.cfg.Rand, secret); err != nil {
		return SealedKey{}, audit.Act{}, fmt.Errorf("draw a signing key: %w", err)
	}
	id, err := opaque.OfKey.New(s.cfg.Rand)
	if err != nil {
		return SealedKey{}, audit.Act{}, err
	}
	k := SealedKey{ID: id, Algorithm: a, CreatedAt: s.time(), SignsFrom: signsFrom}
	if k.Sealed, err = s.cfg.MasterKey.seal(k.purpose(), secret, s.cfg.Rand); err != nil {
		return SealedKey{}, audit.Act{}, err
	}
	return k, s.log.Act(ctx, audit.KeyAdded, "", id, audit.Details{"alg": a, "signs_from": signsFrom.Unix()}), nil
}

// RotateKey adds a signing key. It starts to sign when everybody who verifies knows it: after some seconds for license tokens, which only replicas
// verify, after some minutes for leases. What the older keys signed stays good.
func (s *Service) RotateKey(ctx context.Context, a Algorithm) (KeyInfo, error) {
	lead := keyLead
	if a == EdDSA {
		lead = leaseKeyLead
	}
	k, act, err := s.newKey(ctx, a, s.time().Add(lead))
	if err != nil {
		return KeyInfo{}, err
	}
	if err := s.store.AddKey(ctx, k, act); err != nil {
		return KeyInfo{}, err
	}
	return s.key(ctx, k.ID)
}

// Keys lists the signing keys that are not retired: those of license tokens, then those of leases, each oldest first.
func (s *Service) Keys(ctx context.Context) ([]KeyInfo, error) {
	keys, err := s.store.Keys(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(keys, func(a, b SealedKey) int { return -cmp.Compare(a.Algorithm, b.Algorithm) })
	now := s.time()
	signing := signingKeys(keys, now)
	infos := make([]KeyInfo, 0, len(keys))
	for _, k := range keys {
		live, err := s.store.LiveTokens(ctx, k.ID, now)
		if err != nil {
			return nil, err
		}
		infos = append(infos, KeyInfo{
			ID: k.ID, Algorithm: k.Algorithm, State: keyState(k, signing, now), CreatedAt: k.CreatedAt, SignsFrom: k.SignsFrom, LiveTokens: live,
		})
	}
	return infos, nil
}

// key is one of Keys. ErrNotFound.
func (s *Service) key(ctx context.Context, id string) (KeyInfo, error) {
	keys, err := s.Keys(ctx)
	if err != nil {
		return KeyInfo{}, err
	}
	i := slices.IndexFunc(keys, func(k KeyInfo) bool { return k.ID == id })
	if i < 0 {
		return KeyInfo{}, fmt.Errorf("signing key %s: %w", id, failure.ErrNotFound)
	}
	return keys[i], nil
}

func keyState(k SealedKey, signing map[Algorithm]string, now time.Time) KeyState {
	switch {
	case k.ID == signing[k.Algorithm]:
		return KeySigning
	case k.SignsFrom.After(now):
		return KeyWaiting
	}
	return KeyVerifying
}

// RetireKey ends a signing key: tokens that it signed are refused from then on, everywhere within a second. ErrKeyInUse: it signs, or it waits to,
// or live tokens depend on it; the last can be overridden by force. ErrNotFound: no such key.
func (s *Service) RetireKey(ctx context.Context, id string, force bool) error {
	k, err := s.key(ctx, id)
	if err != nil {
		return err
	}
	switch k.State {
	case KeySigning:
		return fmt.Errorf("%w: %s is signing: rotate first, and wait until another key signs", ErrKeyInUse, id)
	case KeyWaiting:
		return fmt.Errorf("%w: %s is waiting: wait until it signs, then rotate", ErrKeyInUse, id)
	}
	var alive time.Time
	if !force {
		alive = s.time().Add(-token.Leeway) // a clock that is ahead ends no token early
	}
	live, err := s.store.RetireKey(ctx, id, alive, s.log.Act(ctx, audit.KeyRetired, "", id, audit.Details{"alg": k.Algorithm, "live_tokens": k.LiveTokens}))
	if err != nil {
		return err
	}
	if live > 0 {
		return fmt.Errorf("%w: %d live %s depend on %s: wait until they have expired, or force it to end them", ErrKeyInUse, live, k.signs(), id)
	}
	return nil
}

// signs is what the key signs, for people.
func (k KeyInfo) signs() string {
	if k.Algorithm == EdDSA {
		return "leases"
	}
	return "tokens"
}
