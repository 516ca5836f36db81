package oidc

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// keysMaxAge is how old our view of an issuer's keys may be while the issuer answers: a key
	// that it withdrew is refused soon after.
	keysMaxAge = 10 * time.Minute
	// fetchPause is the least time between two fetches from one issuer, whatever tokens say: nobody
	// makes us ask by a made-up `kid`.
	fetchPause = 30 * time.Second
	// firstPause is the same while we have no key yet.
	firstPause = 3 * time.Second
	// maxKeys is the most keys an issuer may publish. GitHub has about five.
	maxKeys = 64
	// Sizes of RSA keys in bits. Smaller ones are weak, larger ones are slow on purpose.
	minKeyBits, maxKeyBits = 2048, 8192
)

// keys is our view of the keys of one issuer. The last good one is used for as long as the issuer
// does not answer; there is a copy of it with the key store, for those who were not running when it
// answered last.
type keys struct {
	issuer   string
	fetch    func(ctx context.Context) ([]json.RawMessage, error) // what the issuer publishes, each key still encoded
	now      func() time.Time
	log      *slog.Logger
	keyStore KeyStore // nil: nothing is stored

	mu     sync.Mutex
	known  keysByID
	read   time.Time     // when known was fetched
	tried  time.Time     // when the last fetch began
	failed bool          // the last fetch did
	ended  chan struct{} // closed when the fetch that runs has ended; nil while none runs
}

// keysByID are usable keys by kid; nil before the first fetch that went well.
type keysByID map[string][]*rsa.PublicKey

// lookup returns the keys of that name. ErrUnknownKey: the issuer has published none.
// ErrUnreachable: it does not answer, and may have.
func (k *keys) lookup(ctx context.Context, keyID string) ([]*rsa.PublicKey, error) {
	for {
		found, wait, err := k.look(ctx, keyID)
		if wait == nil {
			return found, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, ctx.Err())
		}
	}
}

// look answers from what is known, or fetches, or says for whose fetch to wait.
func (k *keys) look(ctx context.Context,
	keyID string) (found []*rsa.PublicKey, wait <-chan struct{}, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	found = k.known[keyID]
	fresh := now.Sub(k.read).Abs() < keysMaxAge
	switch {
	case found != nil && (fresh || k.ended != nil || !k.mayFetch(now)):
		return found, nil, nil
	case k.ended != nil:
		return nil, k.ended, nil
	case !k.mayFetch(now) && k.failed:
		return nil, nil, ErrUnreachable
	case !k.mayFetch(now): // final, though the key may be seconds old: see docs/decisions/0007
		return nil, nil, ErrUnknownKey
	}
	k.refresh(ctx, now)
	if found = k.known[keyID]; found != nil {
		return found, nil, nil
	}
	if k.failed {
		return nil, nil, ErrUnreachable
	}
	return nil, nil, ErrUnknownKey
}

// mayFetch says whether the pause since the last fetch is over. To either side: a clock that was
// set back does not make it last permanently.
func (k *keys) mayFetch(now time.Time) bool {
	pause := fetchPause
	if k.known == nil {
		pause = firstPause
	}
	return now.Sub(k.tried).Abs() >= pause
}

// refresh fetches the keys. It is called with the lock held and gives it up while it waits. A
// caller who leaves does not end the fetch, for others wait for it too. A panic on the way is a
// fetch that failed: it leaves everything as its callers expect it.
func (k *keys) refresh(ctx context.Context, now time.Time) {
	ended := make(chan struct{})
	k.ended, k.tried = ended, now
	read := k.read
	var known keysByID
	err := errors.New("the fetch panicked")
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.ended, k.failed = nil, err != nil
		close(ended)
		if known != nil {
			k.known, k.read = known, read
		}
		switch {
		case err != nil && k.known == nil:
			k.log.Warn("issuer does not answer", "issuer", k.issuer, "keys", 0, "err", err)
		case err != nil:
			k.log.Warn("issuer does not answer", "issuer", k.issuer, "keys", len(k.known),
				"fetched", k.read.UTC().Format(time.RFC3339), "err", err)
		}
	}()
	ctx = context.WithoutCancel(ctx)
	all, err := k.fetch(ctx)
	if err == nil {
		known, err = usable(all)
	}
	if err == nil {
		read = now
		k.keep(ctx, all, now)
		return
	}
	if kept, at := k.fromStore(ctx, now); at.After(read) {
		known, read = kept, at
	}
}

// keep hands the keys to the key store, also when they are those of before: another process may
// have kept others meanwhile, which the issuer withdrew.
func (k *keys) keep(ctx context.Context, all []json.RawMessage, now time.Time) {
	if k.keyStore == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	set, err := json.Marshal(keySet{all})
	if err == nil {
		err = k.keyStore.StoreIssuerKeys(ctx, k.issuer, set, now)
	}
	if err != nil {
		k.log.Warn("keys of the issuer are not stored", "issuer", k.issuer, "err", err)
	}
}

// maxCachedKeyAge is how long keys count that another process fetched: longer than any outage, and
// no more than that, for an issuer withdraws keys.
const maxCachedKeyAge = 7 * 24 * time.Hour

// fromStore is what the key store has, read as strictly as what an issuer sends; nothing when there
// is none, when it is too old, or when it was fetched in the future, by a clock that was wrong.
func (k *keys) fromStore(ctx context.Context, now time.Time) (keysByID, time.Time) {
	if k.keyStore == nil {
		return nil, time.Time{}
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	text, at, err := k.keyStore.IssuerKeys(ctx, k.issuer)
	if err == nil &&
		(text == nil || at.Before(now.Add(-maxCachedKeyAge)) || at.After(now.Add(Leeway))) {
		return nil, time.Time{}
	}
	var all []json.RawMessage
	var known keysByID
	if err == nil {
		all, err = parseKeySet(text)
	}
	if err == nil {
		known, err = usable(all)
	}
	if err != nil {
		k.log.Warn("stored keys of the issuer cannot be used", "issuer", k.issuer, "err", err)
		return nil, time.Time{}
	}
	return known, at
}

// usable leaves out the keys that can not have signed an identity token, also those of a kind that
// we do not know (RFC 7517, 5).
func usable(all []json.RawMessage) (keysByID, error) {
	if len(all) > maxKeys {
		return nil, fmt.Errorf("%d keys are more than %d", len(all), maxKeys)
	}
	known := keysByID{}
	for _, raw := range all {
		if id, public := usableKey(raw); public != nil {
			known[id] = append(known[id], public)
		}
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("no RSA key for signatures among %d", len(all))
	}
	return known, nil
}

// usableKey is a key for RS256 and its name; nil for any other.
func usableKey(raw []byte) (string, *rsa.PublicKey) {
	var key jose.JSONWebKey
	if json.Unmarshal(raw, &key) != nil {
		return "", nil
	}
	var ops struct {
		Operations *[]string `json:"key_ops"` // which the library does not read (RFC 7517, 4.3)
	}
	if json.Unmarshal(raw, &ops) != nil || ops.Operations != nil && !slices.Contains(*ops.Operations, "verify") {
		return "", nil
	}
	public, isRSA := key.Key.(*rsa.PublicKey)
	if !isRSA || key.KeyID == "" || (key.Use != "" && key.Use != "sig") ||
		(key.Algorithm != "" && key.Algorithm != string(jose.RS256)) {
		return "", nil
	}
	if bits := public.N.BitLen(); bits < minKeyBits || bits > maxKeyBits {
		return "", nil
	}
	return key.KeyID, public
}
