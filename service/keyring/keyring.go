// Package keyring is the keys of the service: the master key that seals the secrets in the
// database, and the signing keys, how they change and which one signs.
//
// What is signed is decided in service/license, how a signed token looks in service/token.
package keyring

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

// Algorithm is what a signing key signs, and how. Keys of different algorithms never stand in for
// each other: they are sealed for different purposes and live in different sets.
type Algorithm string

// The algorithms: license tokens are signed with a secret that only this service has, leases with a
// key whose public half anybody may have.
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

// State is what a signing key does.
type State string

// A key first waits until everybody who verifies knows it, then signs, and when a newer one signs
// it still verifies.
const (
	Waiting   State = "waiting"
	Signing   State = "signing"
	Verifying State = "verifying"
)

// Key is a signing key without its secret.
type Key struct {
	ID         string
	Algorithm  Algorithm
	State      State
	CreatedAt  time.Time
	SignsFrom  time.Time
	LiveTokens int64 // license tokens, or leases, that it signed and that have not expired
}

const (
	// keyMaxAge is how old a replica's view of the keys may be.
	keyMaxAge = time.Second
	// keyMinAge is how old it must be before a token with an unknown kid is a reason to look again:
	// a made-up kid costs next to nothing.
	keyMinAge = 100 * time.Millisecond
	// keyLead is how long a new key waits before it signs: long enough for every replica to have
	// read it, clocks four seconds apart included.
	keyLead = 5 * time.Second
	// KeysMaxAge is how long those who verify leases may keep the published keys without asking
	// again.
	KeysMaxAge = 5 * time.Minute
	// leaseKeyLead is how long a new lease key is published before it signs: until the last copy
	// without it is too old, and twice as long again for caches that take their time.
	leaseKeyLead = 3 * KeysMaxAge
)

var (
	// ErrInUse says that a signing key cannot be retired yet.
	ErrInUse = errors.New("key in use")
	// ErrRetired says that what was just signed cannot be handed out: its key was retired in that
	// moment. Another key has to sign.
	ErrRetired = errors.New("the signing key was retired")

	errNoKeys = errors.New("no signing keys")
)

// Store is what the keys need of a database. Every method that changes something has made it
// durable, its act included, when it returns nil.
type Store interface {
	// Keys returns all signing keys that are not retired, of every algorithm, in the order in which
	// they were added: by no clock, for one that was wrong must not make an older key the newest.
	Keys(ctx context.Context) ([]SealedKey, error)
	// AddKey stores a new signing key.
	AddKey(ctx context.Context, k SealedKey, act audit.Act) error
	// AddFirstKey stores a signing key unless there is one with its algorithm.
	AddFirstKey(ctx context.Context, k SealedKey, act audit.Act) error
	// RetireKey removes a signing key for good at the time of the act, unless something that it
	// signed expires after alive; then it changes nothing and returns how much that is. Zero:
	// whatever it signed. Nothing can be recorded under the key in between. ErrNotFound.
	RetireKey(ctx context.Context, id string, alive time.Time,
		act audit.Act) (live int64, err error)
	// LiveTokens counts the recorded tokens and leases of a key that expire after now.
	LiveTokens(ctx context.Context, key string, now time.Time) (int64, error)
	// Rights returns the state of rights, at most 250 ms old; see service/rights.
	Rights(ctx context.Context) (int64, error)
}

// Config is what a Keyring is made of. All fields must be set.
type Config struct {
	Store  Store
	Master MasterKey
	Log    *audit.Log
	Leases bool             // there is a key for leases
	Now    func() time.Time // in the resolution that is stored
	Rand   io.Reader        // cryptographic randomness
}

// New returns the keys of a database. In one without keys it makes the first ones.
// ErrWrongMasterKey: those in the database were sealed by another master key.
func New(ctx context.Context, c Config) (*Keyring, error) {
	r := &Keyring{
		store: c.Store, master: c.Master, log: c.Log, leases: c.Leases, now: c.Now, rand: c.Rand,
	}
	return r, r.firstKeys(ctx)
}

// Keyring is the view of the signing keys that this process has. It is safe for use by several
// goroutines, and several Keyrings can share one database.
type Keyring struct {
	store  Store
	master MasterKey
	log    *audit.Log
	leases bool
	now    func() time.Time
	rand   io.Reader

	mu    sync.Mutex
	view  *View
	read  time.Time // when the view was read
	err   error     // of the last look, when it failed
	tried time.Time // when it failed
}

// View is the keys, opened.
type View struct {
	Tokens *token.KeySet
	Leases []token.LeaseKey // the one that signs first; empty when there are none
	AsOf   int64            // the state of rights in which these are the keys
}

// look returns the keys, at most maxAge old, to either side: a clock that was set back does not
// make them last. While the store does not answer it returns the last ones it gave, with the error.
func (r *Keyring) look(ctx context.Context, maxAge time.Duration) (*View, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if r.view != nil && now.Sub(r.read).Abs() < maxAge {
		if state, err := r.store.Rights(ctx); err != nil || state == r.view.AsOf {
			return r.view, nil // while nobody can tell, the last keys go on being used
		}
	}
	if r.err != nil && now.Sub(r.tried).Abs() < keyMinAge {
		return r.view, r.err
	}
	asOf, err := r.store.Rights(ctx)
	var sealed []SealedKey
	if err == nil {
		sealed, err = r.store.Keys(ctx)
	}
	if err != nil {
		err = fmt.Errorf("read the signing keys: %w", err)
		if ctx.Err() == nil { // else it is only this caller who has left
			r.err, r.tried = err, now
		}
		return r.view, err
	}
	r.view, r.read, r.err = nil, now, nil
	if r.view, err = r.open(sealed); r.view != nil {
		r.view.AsOf = asOf
	}
	return r.view, err
}

// set returns the keys, at most keyMaxAge old. While the store does not answer, the last view goes
// on being used.
func (r *Keyring) set(ctx context.Context) (*View, error) {
	view, err := r.look(ctx, keyMaxAge)
	if view != nil {
		return view, nil
	}
	return nil, err
}

// Parse reads a license token. bad says why it is not good; err that nobody can tell now. A token
// whose key is unknown is not refused on the word of an old view: the key may just have been added,
// and a no is final for anyone who gets it.
func (r *Keyring) Parse(ctx context.Context, text string,
	now time.Time) (claims token.Claims, bad, err error) {
	view, err := r.set(ctx)
	if err != nil {
		return token.Claims{}, nil, err
	}
	claims, bad = view.Tokens.Parse(text, now)
	if errors.Is(bad, token.ErrNotYetValid) { // or our clock is behind, and nobody can tell
		return claims, bad, r.log.CheckClock(ctx)
	}
	if !errors.Is(bad, token.ErrUnknownKey) {
		return claims, bad, nil
	}
	if view, err = r.look(ctx, keyMinAge); err != nil {
		return token.Claims{}, nil, err
	}
	claims, bad = view.Tokens.Parse(text, now)
	return claims, bad, nil
}

func (r *Keyring) open(sealed []SealedKey) (*View, error) {
	view := &View{}
	var hmac []token.Key
	for _, s := range signingFirst(sealed, r.now()) {
		secret, err := r.master.Open(s.purpose(), s.Sealed)
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
		view.Leases = append(view.Leases, lease)
	}
	if len(hmac) == 0 {
		return nil, errNoKeys
	}
	set, err := token.NewKeySet(hmac[0], hmac[1:]...)
	if err != nil {
		return nil, err
	}
	view.Tokens = set
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

// signingKeys is, for each algorithm, the id of the newest key that may sign at now; of the oldest
// when none may yet. An older key that may only sign later, since the clock was ahead when it was
// added, never takes over from a newer one.
func signingKeys(keys []SealedKey, now time.Time) map[Algorithm]string {
	ids := map[Algorithm]string{}
	for _, k := range keys {
		if ids[k.Algorithm] == "" || !k.SignsFrom.After(now) {
			ids[k.Algorithm] = k.ID
		}
	}
	return ids
}

// firstKeys makes the first signing key of a new store, and the first lease key where leases are
// given. It signs at once: nobody can have a set of keys that lacks it.
func (r *Keyring) firstKeys(ctx context.Context) error {
	ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorService})
	view, err := r.set(ctx)
	if errors.Is(err, errNoKeys) {
		if view, err = r.firstKey(ctx, HS256); err != nil {
			return err
		}
	}
	if err == nil && r.leases && len(view.Leases) == 0 {
		_, err = r.firstKey(ctx, EdDSA)
	}
	return err
}

func (r *Keyring) firstKey(ctx context.Context, a Algorithm) (*View, error) {
	k, act, err := r.newKey(ctx, a, r.now())
	if err != nil {
		return nil, err
	}
	if err := r.store.AddFirstKey(ctx, k, act); err != nil {
		return nil, err
	}
	return r.look(ctx, 0)
}

// newKey makes a signing key, and the act of adding it.
func (r *Keyring) newKey(ctx context.Context, a Algorithm,
	signsFrom time.Time) (SealedKey, audit.Act, error) {
	secret := make([]byte, token.MinKeySize) // 32: also the size of an Ed25519 seed
	if _, err := io.ReadFull(r.rand, secret); err != nil {
		return SealedKey{}, audit.Act{}, fmt.Errorf("generate a signing key: %w", err)
	}
	id, err := opaque.OfKey.New(opaque.RandOf(ctx, r.rand)) // and never the secret
	if err != nil {
		return SealedKey{}, audit.Act{}, err
	}
	k := SealedKey{ID: id, Algorithm: a, CreatedAt: r.now(), SignsFrom: signsFrom}
	if k.Sealed, err = r.master.Seal(k.purpose(), secret, r.rand); err != nil {
		return SealedKey{}, audit.Act{}, err
	}
	return k, r.log.Act(ctx, audit.KeyAdded, "", id,
		audit.Details{"alg": a, "signs_from": signsFrom.Unix()}), nil
}

// Rotate adds a signing key. It starts to sign when everybody who verifies knows it: after some
// seconds for license tokens, which only replicas verify, after some minutes for leases. What the
// older keys signed stays good. A request that its sender named adds one, however often it is sent.
func (r *Keyring) Rotate(ctx context.Context, a Algorithm) (Key, error) {
	lead := keyLead
	if a == EdDSA {
		lead = leaseKeyLead
	}
	k, act, err := r.newKey(ctx, a, r.now().Add(lead))
	if err != nil {
		return Key{}, err
	}
	err = r.store.AddKey(ctx, k, act)
	if _, named := opaque.RequestName(ctx); named && errors.Is(err, failure.ErrConflict) {
		if there, fault := r.key(ctx, k.ID); fault == nil && there.Algorithm == a {
			return there, nil // this very request made it before
		}
	}
	if err != nil {
		return Key{}, err
	}
	return r.key(ctx, k.ID)
}

// Keys lists the signing keys that are not retired: those of license tokens, then those of leases,
// each in the order in which they were added.
func (r *Keyring) Keys(ctx context.Context) ([]Key, error) {
	keys, err := r.store.Keys(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(keys,
		func(a, b SealedKey) int { return -cmp.Compare(a.Algorithm, b.Algorithm) })
	now := r.now()
	signing := signingKeys(keys, now)
	infos := make([]Key, 0, len(keys))
	for _, k := range keys {
		live, err := r.store.LiveTokens(ctx, k.ID, now)
		if err != nil {
			return nil, err
		}
		infos = append(infos, Key{
			ID: k.ID, Algorithm: k.Algorithm, State: stateOf(k, signing[k.Algorithm], keys,
				now), CreatedAt: k.CreatedAt, SignsFrom: k.SignsFrom, LiveTokens: live,
		})
	}
	return infos, nil
}

// key is one of Keys. ErrNotFound.
func (r *Keyring) key(ctx context.Context, id string) (Key, error) {
	keys, err := r.Keys(ctx)
	if err != nil {
		return Key{}, err
	}
	i := slices.IndexFunc(keys, func(k Key) bool { return k.ID == id })
	if i < 0 {
		return Key{}, fmt.Errorf("signing key %s: %w", id, failure.ErrNotFound)
	}
	return keys[i], nil
}

// stateOf is the state of one of the keys, which are in the order in which they were added; signing
// is the one that signs.
func stateOf(k SealedKey, signing string, keys []SealedKey, now time.Time) State {
	at := func(id string) int {
		return slices.IndexFunc(keys,
			func(o SealedKey) bool { return o.ID == id })
	}
	switch {
	case k.ID == signing:
		return Signing
	case k.SignsFrom.After(now) && at(k.ID) > at(signing):
		return Waiting
	}
	return Verifying
}

// Retire ends a signing key: tokens that it signed are refused from then on, everywhere within a
// second. ErrInUse: it signs, or it waits to, or live tokens depend on it; the last two can be
// overridden by force. ErrNotFound: no such key.
func (r *Keyring) Retire(ctx context.Context, id string, force bool) error {
	k, err := r.key(ctx, id)
	if err != nil {
		return err
	}
	switch {
	case k.State == Signing:
		return fmt.Errorf("%w: %s is signing: rotate first, and wait until another key signs",
			ErrInUse, id)
	case k.State == Waiting && !force:
		return fmt.Errorf("%w: %s is waiting: wait until it signs, then rotate, or retire it with --force", ErrInUse, id)
	}
	var alive time.Time
	if !force {
		alive = r.now().Add(-token.Leeway) // a clock that is ahead ends no token early
	}
	live, err := r.store.RetireKey(ctx, id, alive,
		r.log.Act(ctx, audit.KeyRetired, "", id,
			audit.Details{"alg": k.Algorithm, "live_tokens": k.LiveTokens}))
	if err != nil {
		return err
	}
	if live > 0 {
		return fmt.Errorf("%w: %d live %s depend on %s: wait until they have expired, or end them with --force", ErrInUse, live, k.signs(), id)
	}
	return nil
}

// signs is what the key signs, for people.
func (k Key) signs() string {
	if k.Algorithm == EdDSA {
		return "leases"
	}
	return "tokens"
}

// Sign lets f sign with the keys. When the key was retired in that moment f has another try, with
// the keys that there are then.
//
// Nothing is signed while the clock is behind the database (audit.ErrClockBehind): it would end
// before anybody gets it.
func Sign[T any](ctx context.Context, r *Keyring, f func(*View) (T, error)) (out T, err error) {
	if err := r.log.CheckClock(ctx); err != nil {
		return out, err
	}
	view, err := r.set(ctx)
	if err != nil {
		return out, err
	}
	if out, err = f(view); !errors.Is(err, ErrRetired) {
		return out, err
	}
	if view, err = r.look(ctx, 0); err != nil {
		return out, err
	}
	return f(view)
}

// LeaseKeys is what verifies leases: the public keys that sign, that will, and that did and are not
// retired.
func (r *Keyring) LeaseKeys(ctx context.Context) ([]token.PublicKey, error) {
	view, err := r.set(ctx)
	if err != nil {
		return nil, err
	}
	keys := make([]token.PublicKey, 0, len(view.Leases))
	for _, k := range view.Leases {
		keys = append(keys, k.Public())
	}
	return keys, nil
}

// CheckKeys tells whether the keys in the database open.
func (r *Keyring) CheckKeys(ctx context.Context) error {
	keys, err := r.store.Keys(ctx)
	if err != nil {
		return err
	}
	_, err = r.open(keys)
	return err
}
