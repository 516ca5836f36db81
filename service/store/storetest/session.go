package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
)

var signIns = suite{
	"a sign-in link begins one session": sessions,
}

func sessions(t *testing.T, s Store) {
	a := create(t, s, 1)
	link := auth.SignInLink{Hash: "link", AccountID: a.ID, ExpiresAt: at.Add(time.Minute)}
	made := did(at)
	made.Action = "made"
	must(t, s.AddSignInLink(t.Context(), link, made))
	same(t, audit.Action("made"), lastLine(t, s).Action)
	got, err := s.SignInLink(t.Context(), link.Hash)
	must(t, err)
	same(t, link, got)
	wantErr(t, "AddSignInLink(no account)",
		s.AddSignInLink(t.Context(),
			auth.SignInLink{Hash: "x", AccountID: "user_none", ExpiresAt: at}, did(at)), failure.ErrNotFound)

	session := func(n int) auth.Session {
		return auth.Session{
			ID: fmt.Sprintf("ses_%d", n), Hash: fmt.Sprintf("session%d", n), AccountID: a.ID,
			CreatedAt: at, ExpiresAt: at.Add(time.Hour),
		}
	}
	begun := did(at)
	begun.Action = "begun"
	must(t, s.BeginSession(t.Context(), link.Hash, session(1), begun))
	same(t, audit.Action("begun"), lastLine(t, s).Action)
	wantErr(t, "BeginSession(used link)",
		s.BeginSession(t.Context(), link.Hash, session(2), did(at)), failure.ErrNotFound)
	_, _, err = s.Session(t.Context(), session(2).Hash)
	wantErr(t, "Session(refused)", err, failure.ErrNotFound)
	found, owner, err := s.Session(t.Context(), session(1).Hash)
	must(t, err)
	if found != session(1) {
		t.Errorf("Session = %+v, want %+v", found, session(1))
	}
	same(t, a, owner)

	later := did(at.Add(2 * time.Hour)) // when the first session has expired
	must(t, s.AddSignInLink(t.Context(),
		auth.SignInLink{
			Hash: "late", AccountID: a.ID, ExpiresAt: later.At.Add(time.Minute),
		}, later))
	third := session(3)
	third.CreatedAt, third.ExpiresAt = later.At, later.At.Add(time.Hour)
	must(t, s.BeginSession(t.Context(), "late", third, later))
	_, _, err = s.Session(t.Context(), session(1).Hash)
	wantErr(t, "Session(purged)", err, failure.ErrNotFound)
	before, err := s.AuditHead(t.Context())
	must(t, err)
	for range 2 {
		must(t, s.EndSession(t.Context(), third.ID, later))
	}
	after, err := s.AuditHead(t.Context())
	must(t, err)
	same(t, before.Seq+1, after.Seq)
	_, _, err = s.Session(t.Context(), third.Hash)
	wantErr(t, "Session(ended)", err, failure.ErrNotFound)
}
