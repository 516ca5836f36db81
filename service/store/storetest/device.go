package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
)

var devices = suite{
	"a device login is found by both of its codes":  deviceLogins,
	"a device login is consumed once":               deviceOnce,
	"old device logins are purged, a few at a time": deviceLetGo,
}

func newDeviceLogin(n int) auth.DeviceLogin {
	return auth.DeviceLogin{
		ID: fmt.Sprintf("dev_%03d",
			n), DeviceHash: fmt.Sprintf("device%d",
			n), UserHash: fmt.Sprintf("user%d",
			n), Client: "cl_pageflare_cli", Address: "192.0.2.7",
		State: auth.DeviceWaiting, Interval: 5 * time.Second, CreatedAt: at, ExpiresAt: at.Add(15 * time.Minute),
	}
}

func deviceLogins(t *testing.T, s Store) {
	a := create(t, s, 1)
	want := newDeviceLogin(1)
	must(t, s.AddDeviceLogin(t.Context(), want))
	for _, hash := range []string{want.DeviceHash, want.UserHash} {
		got, err := s.DeviceLogin(t.Context(), hash)
		must(t, err)
		same(t, want, got)
	}
	taken := newDeviceLogin(2)
	taken.UserHash = want.UserHash
	wantErr(t, "AddDeviceLogin(same user code)", s.AddDeviceLogin(t.Context(), taken),
		failure.ErrConflict)
	_, err := s.DeviceLogin(t.Context(), "unknown")
	wantErr(t, "DeviceLogin(unknown)", err, failure.ErrNotFound)

	want.State, want.AccountID, want.PolledAt, want.Interval = auth.DeviceUsed, a.ID, at.Add(time.Second), 10*time.Second
	want.TokenHash, want.TokenEnds = "token", at.Add(time.Hour)
	got, err := s.ChangeDeviceLogin(t.Context(), want.UserHash, func(d *auth.DeviceLogin) ([]audit.Act, error) {
		*d = want
		return []audit.Act{did(at)}, nil
	})
	must(t, err)
	same(t, want, got)
	got, owner, err := s.LoginToken(t.Context(), "token")
	must(t, err)
	same(t, want, got)
	same(t, a, owner)
	_, _, err = s.LoginToken(t.Context(), "")
	wantErr(t, "LoginToken(none)", err, failure.ErrNotFound)
	_, err = s.ChangeDeviceLogin(t.Context(), want.UserHash, func(d *auth.DeviceLogin) ([]audit.Act, error) {
		d.State = auth.DeviceDenied
		return nil, auth.ErrDenied
	})
	wantErr(t, "ChangeDeviceLogin(refused)", err, auth.ErrDenied)
	got, err = s.DeviceLogin(t.Context(), want.DeviceHash)
	must(t, err)
	same(t, want, got)
}

// Many that consume one login at once: one does, and the log says so once.
func deviceOnce(t *testing.T, s Store) {
	a := create(t, s, 1)
	approved := newDeviceLogin(1)
	approved.State = auth.DeviceApproved
	must(t, s.AddDeviceLogin(t.Context(), approved))
	before, err := s.AuditHead(t.Context())
	must(t, err)
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = s.ChangeDeviceLogin(t.Context(), approved.DeviceHash, func(d *auth.DeviceLogin) ([]audit.Act, error) {
				if d.State != auth.DeviceApproved {
					return nil, auth.ErrInvalidGrant
				}
				d.State, d.AccountID, d.TokenHash, d.TokenEnds = auth.DeviceUsed, a.ID, fmt.Sprintf("token%d", i), at
				return []audit.Act{did(at)}, nil
			})
		})
	}
	wg.Wait()
	done := 0
	for _, err := range errs {
		switch {
		case err == nil:
			done++
		case !errors.Is(err, auth.ErrInvalidGrant) && !errors.Is(err, failure.ErrConflict):
			t.Errorf("ChangeDeviceLogin = %v", err)
		}
	}
	after, err := s.AuditHead(t.Context())
	must(t, err)
	if done != 1 || after.Seq != before.Seq+1 {
		t.Errorf("%d of %d consumed the login, with %d lines in the log; want 1 and 1", done,
			len(errs), after.Seq-before.Seq)
	}
}

func deviceLetGo(t *testing.T, s Store) {
	for n := range 20 {
		must(t, s.AddDeviceLogin(t.Context(), newDeviceLogin(n)))
	}
	add := func(n int, later time.Duration) {
		d := newDeviceLogin(n)
		d.CreatedAt, d.ExpiresAt = d.CreatedAt.Add(later), d.ExpiresAt.Add(later)
		must(t, s.AddDeviceLogin(t.Context(), d))
	}
	left := func() (n int) {
		for i := range 20 {
			if _, err := s.DeviceLogin(t.Context(), newDeviceLogin(i).DeviceHash); err == nil {
				n++
			}
		}
		return n
	}
	add(100, 15*time.Minute+auth.LoginTokenTTL)
	if got := left(); got != 20 {
		t.Errorf("%d of 20 are left while a token of theirs may live", got)
	}
	add(101, time.Millisecond+15*time.Minute+auth.LoginTokenTTL)
	if got := left(); got == 0 || got == 20 {
		t.Errorf("%d of 20 are left after one addition, want some to go, not all", got)
	}
	add(102, time.Hour+15*time.Minute+auth.LoginTokenTTL)
	if got := left(); got != 0 {
		t.Errorf("%d of 20 are left after two additions, want 0", got)
	}
}
