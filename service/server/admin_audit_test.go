package server_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/servicetest"
)

// heldLog is a store whose audit log, while it is held, is read only as far as a test lets it.
type heldLog struct {
	audit.Store
	begun chan struct{} // somebody reads
	free  chan struct{} // closed when the reader may go on
}

func newHeldLog() *heldLog {
	return &heldLog{begun: make(chan struct{}, 8), free: make(chan struct{})}
}

func (h *heldLog) between(s *parts.Stores) { h.Store, s.Audit = s.Audit, h }

func (h *heldLog) AuditAfter(ctx context.Context, seq int64, limit int) ([]audit.Entry, error) {
	h.begun <- struct{}{}
	select {
	case <-h.free:
		return h.Store.AuditAfter(ctx, seq, limit)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// verify asks a service at an address for its verdict, and says later what it was.
func verify(ctx context.Context, t *testing.T, addr, token string) (result func() (int, string)) {
	t.Helper()
	type said struct {
		status int
		body   string
		err    error
	}
	ended := make(chan said, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/_api/admin/audit/verify", nil)
		if err != nil {
			ended <- said{err: err}
			return
		}
		req.Header.Set("Authorization", "Bearer "+token)
		transport := &http.Transport{DisableKeepAlives: true}
		res, err := transport.RoundTrip(req)
		if err != nil {
			ended <- said{err: err}
			return
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		ended <- said{res.StatusCode, string(body), err}
	}()
	return func() (int, string) {
		t.Helper()
		s := <-ended
		if s.err != nil && ctx.Err() == nil {
			t.Error(s.err)
		}
		return s.status, s.body
	}
}

// Neither the time limit of reading a request nor that of answering it ends a verification.
func TestAVerificationHasMoreTimeThanOtherAnswers(t *testing.T) {
	t.Parallel()
	for name, hurry := range map[string]func(*servicetest.Service) (addr string, pass func()){
		"than answers have": func(s *servicetest.Service) (string, func()) {
			s.Server.ShortenAnswers(time.Nanosecond) // over before the handler begins
			return serveLong(t, s), func() {}
		},
		"than requests have": func(s *servicetest.Service) (string, func()) {
			addr := serveShortened(t, s, long, short)
			return addr, func() { // the time of one that began later is over
				sendHalf(t, addr, "POST /_api/license/issue HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", "{").wantStatus(t, http.StatusRequestTimeout)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := newHeldLog()
			s := servicetest.Start(t, servicetest.Options{Between: log.between})
			token := s.AdminToken(t, auth.ScopeAuditRead)
			addr, pass := hurry(s)
			result := verify(t.Context(), t, addr, token)
			<-log.begun
			pass()
			close(log.free)
			if status, body := result(); status != http.StatusOK || !strings.Contains(body, `"intact":true`) {
				t.Errorf("verify = %d %s, want 200 and whole", status, body)
			}
		})
	}
}

// serveLong serves on a listener of its own, within the time limits as they are, until the test
// ends.
func serveLong(t *testing.T, s *servicetest.Service) string {
	t.Helper()
	addr, stop := serveUntil(t, s)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return addr
}

// serveUntil serves on a listener of its own until stop, which returns what Serve did.
func serveUntil(t *testing.T, s *servicetest.Service) (addr string, stop func() error) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Server.Serve(ctx, l) }()
	return l.Addr().String(), func() error {
		cancel()
		return <-ended
	}
}

// One verification at a time: it takes all of a processor. It ends with the client that waits for
// it.
func TestOneVerificationAtATime(t *testing.T) {
	t.Parallel()
	log := newHeldLog()
	s := servicetest.Start(t, servicetest.Options{Between: log.between})
	s.MayFail() // 503 is what a second one gets
	a := &admin{t, s, s.AdminToken(t, auth.ScopeAuditRead)}
	ctx, leave := context.WithCancel(t.Context())
	result := verify(ctx, t, strings.TrimPrefix(s.Origin, "http://"), a.token)
	<-log.begun
	busy := a.do("GET", "audit/verify", "")
	busy.wantCode(t, http.StatusServiceUnavailable, api.CodeUnavailable)
	if got := busy.header.Get("Retry-After"); got != "10" {
		t.Errorf("Retry-After = %q, want 10", got)
	}
	leave()
	result()
	if a.do("GET", "audit?limit=1", "").status != http.StatusOK { // others go on
		t.Error("the log cannot be listed")
	}
	close(log.free)
	for { // the first one ends on its own, though nobody told it more of the log
		again := a.do("GET", "audit/verify", "")
		if again.status == http.StatusServiceUnavailable {
			continue
		}
		if got := into[api.AuditVerdict](t, again); !got.Intact {
			t.Errorf("verdict = %+v", got)
		}
		return
	}
}

// A service that stops does not wait for a verification.
func TestAStopEndsAVerification(t *testing.T) {
	t.Parallel()
	log := newHeldLog()
	s := servicetest.Start(t, servicetest.Options{Between: log.between})
	s.ServesBeside()
	addr, stop := serveUntil(t, s)
	result := verify(t.Context(), t, addr, s.AdminToken(t, auth.ScopeAuditRead))
	<-log.begun
	if err := stop(); err != nil {
		t.Errorf("Serve = %v, want a graceful stop", err)
	}
	if status, body := result(); status != http.StatusServiceUnavailable || !strings.Contains(body, "given up") {
		t.Errorf("verify = %d %s, want 503", status, body)
	}
}

func TestVerifyFromANotedEndThroughTheAdminAPI(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	a.Account(t, "a@example.com")
	end := into[api.AuditVerdict](t, a.do("GET", "audit/verify", "")).End
	a.Account(t, "b@example.com")
	for _, query := range []string{"?from=" + end, "?from=" + end + "&expected_head=" + end} {
		if got := into[api.AuditVerdict](t, a.do("GET", "audit/verify"+query, "")); !got.Intact || got.End == end {
			t.Errorf("verdict of %s = %+v", query, got)
		}
	}
	if got := into[api.AuditVerdict](t, a.do("GET", "audit/verify?from=2:"+strings.Repeat("0", 64), "")); got.Intact || !strings.Contains(got.Fault, "line 2 has another hash") {
		t.Errorf("verdict = %+v", got)
	}
	for _, query := range []string{"?from=7", "?from=" + end + "&expected_head=1:" + strings.Repeat("0", 64), "?form=" + end} {
		a.do("GET", "audit/verify"+query, "").wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	}
}

// A log that somebody tampered with is a fault of the service, told to anyone who runs it, and no
// conflict of the caller's.
func TestALogThatCannotBeWrittenIsAFaultOfTheService(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"the next line is there": `INSERT INTO audit_log SELECT seq + 1, at, actor_kind, actor_id, address, request_id, action, account_id, object, details, hash
			FROM audit_log ORDER BY seq DESC LIMIT 1`,
		"there is no head": `DELETE FROM audit_head`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log strings.Builder
			s := servicetest.Start(t, servicetest.Options{Log: &log})
			a := &admin{t, s, s.AdminToken(t, auth.Scopes...)}
			owner, key := s.Account(t, "a@example.com")
			s.Alter(t, statement)
			a.do("POST", "accounts/"+owner.ID+"/suspend", "").wantCode(t, http.StatusInternalServerError, api.CodeInternal)
			call(t, s, "POST", "/_api/license/issue", "", bearer(key)...).wantCode(t, http.StatusInternalServerError, api.CodeInternal)
			if n := strings.Count(log.String(), "run `pageflare-license audit verify`"); n != 2 {
				t.Errorf("the log has the remedy %d times, want 2:\n%s", n, log.String())
			}
			if got := into[api.AuditVerdict](t, a.do("GET", "audit/verify", "")); got.Intact {
				t.Errorf("verdict = %+v", got)
			}
		})
	}
}

func TestTheVerdictOfTheAdminAPISaysWhatWasPruned(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := servicetest.Start(t, servicetest.Options{Now: func() time.Time { return now }, TokenTTL: time.Hour, Elapsed: func() time.Duration { return 0 }})
	a := &admin{t, s, s.AdminToken(t, auth.Scopes...)}
	_, key := s.Account(t, "a@example.com")
	call(t, s, "POST", "/_api/license/issue", "", bearer(key)...).wantStatus(t, http.StatusOK)
	before := into[api.AuditVerdict](t, a.do("GET", "audit/verify", ""))
	if !before.Intact || before.ContentsFrom != 1 || before.Pruned != (api.AuditPruning{}) {
		t.Errorf("verdict = %+v, want nothing pruned", before)
	}
	now = now.Add(402 * 24 * time.Hour)
	for s.Upkeep.Turn(t.Context()) == 0 {
	}
	after := into[api.AuditVerdict](t, a.do("GET", "audit/verify?expected_head="+before.End, ""))
	want := api.AuditPruning{Records: 1, From: before.Lines, Through: before.Lines, At: after.Pruned.At}
	if !after.Intact || after.ContentsFrom != before.Lines+1 || after.Pruned != want || after.Pruned.At == "" {
		t.Errorf("verdict = %+v, want the record of line %d pruned", after, before.Lines)
	}
}
