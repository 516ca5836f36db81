package keyring_test

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/sqlitetest"
)

// world is the keys of a database, and its clock.
type world struct {
	*keyring.Keyring
	store *store.Store
	now   time.Time
}

func newWorld(t *testing.T, master keyring.MasterKey, leases bool) *world {
	t.Helper()
	w := &world{now: time.Now().UTC().Truncate(time.Millisecond)}
	var err error
	if w.store, err = store.Open(t.Context(), sqlitetest.New(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	w.store.AlwaysAsk()
	if w.Keyring, err = w.open(t.Context(), master, leases); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) open(ctx context.Context, master keyring.MasterKey, leases bool) (*keyring.Keyring, error) {
	now := func() time.Time { return w.now }
	log, err := audit.NewLog(ctx, w.store, []byte("the key of the audit log"), now)
	if err != nil {
		return nil, err
	}
	return keyring.New(ctx, keyring.Config{
		Store: w.store, Master: master, Log: log, Leases: leases, Now: now, Rand: rand.Reader,
	})
}

func (w *world) wantStates(t *testing.T, want ...keyring.State) []keyring.Key {
	t.Helper()
	keys, err := w.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []keyring.State
	for _, k := range keys {
		got = append(got, k.State)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("states (-want +got):\n%s", diff)
	}
	return keys
}

func (w *world) rotate(t *testing.T, a keyring.Algorithm) keyring.Key {
	t.Helper()
	k, err := w.Rotate(t.Context(), a)
	if err != nil || k.Algorithm != a || k.State != keyring.Waiting {
		t.Fatalf("Rotate(%s) = %+v, %v, want a key that waits", a, k, err)
	}
	return k
}

// leaseSigner is the kid by which leases are signed.
func (w *world) leaseSigner(t *testing.T) string {
	t.Helper()
	id, err := keyring.Sign(t.Context(), w.Keyring, func(v *keyring.View) (string, error) { return v.Leases[0].ID(), nil })
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestANewDatabaseGetsAKeyOfEachAlgorithmThatIsUsed(t *testing.T) {
	t.Parallel()
	master := newKey(t)
	w := newWorld(t, master, false)
	w.wantStates(t, keyring.Signing)
	again, err := w.open(t.Context(), master, true) // leases are given from now on
	if err != nil {
		t.Fatal(err)
	}
	w.Keyring = again
	keys := w.wantStates(t, keyring.Signing, keyring.Signing)
	if keys[0].Algorithm != keyring.HS256 || keys[1].Algorithm != keyring.EdDSA {
		t.Errorf("keys = %s, %s, want that of license tokens first", keys[0].Algorithm, keys[1].Algorithm)
	}
}

func TestKeysOfAnotherMasterKeyAreNotOpened(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newKey(t), true)
	if _, err := w.open(t.Context(), newKey(t), true); !errors.Is(err, keyring.ErrWrongMasterKey) {
		t.Errorf("New with another master key = %v, want ErrWrongMasterKey", err)
	}
	w.wantStates(t, keyring.Signing, keyring.Signing) // and none was added
}

func TestAKeyWaitsThenSignsThenVerifies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newKey(t), true)
	first := w.leaseSigner(t)
	second := w.rotate(t, keyring.EdDSA)
	lead := second.SignsFrom.Sub(w.now)
	if lead <= keyring.KeysMaxAge {
		t.Errorf("a lease key waits for %v, want longer than copies of the published keys last, %v", lead, keyring.KeysMaxAge)
	}
	w.now = second.SignsFrom.Add(-time.Millisecond)
	if got := w.leaseSigner(t); got != first {
		t.Errorf("before its time %s signs, want %s", got, first)
	}
	w.wantStates(t, keyring.Signing, keyring.Signing, keyring.Waiting)
	w.now = second.SignsFrom.Add(time.Second) // a view of before may be a second old
	if got := w.leaseSigner(t); got != second.ID {
		t.Errorf("from its time on %s signs, want %s", got, second.ID)
	}
	w.wantStates(t, keyring.Signing, keyring.Verifying, keyring.Signing)
}

func TestWhichKeysCanBeRetired(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newKey(t), false)
	first := w.wantStates(t, keyring.Signing)[0]
	second := w.rotate(t, keyring.HS256)
	for _, test := range []struct {
		name  string
		id    string
		force bool
		want  error
	}{
		{"the one that signs", first.ID, false, keyring.ErrInUse},
		{"the one that signs, by force", first.ID, true, keyring.ErrInUse},
		{"the one that waits", second.ID, false, keyring.ErrInUse},
		{"none", "k_0123456789abcdef", true, failure.ErrNotFound},
	} {
		if err := w.Retire(t.Context(), test.id, test.force); !errors.Is(err, test.want) {
			t.Errorf("Retire(%s) = %v, want %v", test.name, err, test.want)
		}
	}
	w.now = second.SignsFrom
	w.wantStates(t, keyring.Verifying, keyring.Signing)
	if err := w.Retire(t.Context(), first.ID, false); err != nil {
		t.Errorf("Retire(one that verifies nothing any more) = %v", err)
	}
	third := w.rotate(t, keyring.HS256)
	if err := w.Retire(t.Context(), third.ID, true); err != nil {
		t.Errorf("Retire(the one that waits, by force) = %v", err)
	}
	w.wantStates(t, keyring.Signing)
}
