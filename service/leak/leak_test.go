package leak_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/leak"
	"github.com/pageflare/ci/service/opaque"
)

func appOfSettings() githubapp.Given {
	return githubapp.Given{ID: "4711", Key: opaque.Secret(githubtest.PEM(githubtest.AppKey()))}
}

func TestALeakedLicenseTokenEndsWithItsFamily(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.IssueToken(t, w.account.ID, 24*time.Hour)
	caller, err := w.Authenticate(t.Context(), token)
	must(t, err)
	w.ahead.Add(int64(12 * time.Hour))
	child, err := w.Refresh(t.Context(), caller)
	must(t, err)
	other := w.IssueToken(t, w.account.ID, 24*time.Hour)

	v := w.report(t, token)
	want := leak.Verdict{Outcome: leak.Ended, Target: leak.Target{
		Kind: leak.LicenseToken, ID: caller.Token.ID, AccountID: w.account.ID, Subject: opaque.TokenID(caller.Token.ID).Family(),
	}}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Errorf("Report (-want +got)\n%s", diff)
	}
	if !w.refused(t, token) || !w.refused(t, child.Token.Reveal()) || w.refused(t, other) {
		t.Error("the family has to end, and no other")
	}
	lines := w.lines(t)
	if len(lines) != 1 || lines[0].Object != caller.Token.ID || lines[0].Account != w.account.ID {
		t.Fatalf("audit log: %+v", lines)
	}
	if want := `{"door":"admin","kind":"license_token","source":"commit","url":"https://github.com/acme/site"}`; lines[0].Details != want {
		t.Errorf("details = %s, want %s", lines[0].Details, want)
	}
	if n := w.Acts(t, audit.FamilyRevoked); n != 1 {
		t.Errorf("%d lines say that the family ended, want 1", n)
	}
	for _, again := range []string{token, child.Token.Reveal()} {
		if v := w.report(t, again); v.Outcome != leak.Over || len(w.lines(t)) != 1 {
			t.Errorf("reported again: %+v, %d lines", v, len(w.lines(t)))
		}
	}
}

// A token whose key was retired is refused already; what it was refreshed to under another key may
// live.
func TestALeakedTokenOfARetiredKeyIsKnownByItsRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.IssueToken(t, w.account.ID, 24*time.Hour)
	caller, err := w.Authenticate(t.Context(), token)
	must(t, err)
	old := w.signing(t)
	_, err = w.Rotate(t.Context(), "HS256")
	must(t, err)
	w.ahead.Add(int64(12 * time.Hour))
	child, err := w.Refresh(t.Context(), caller)
	must(t, err)
	must(t, w.Retire(t.Context(), old, true))
	if w.refused(t, child.Token.Reveal()) {
		t.Fatal("the child is signed by the new key")
	}
	if v := w.report(t, token); v.Outcome != leak.Ended || !w.refused(t, child.Token.Reveal()) {
		t.Errorf("Report = %+v, want the family ended", v)
	}
	head, _, _ := strings.Cut(token, ".")
	forged := head + strings.TrimPrefix(token[:len(token)-4], head) + "AAAA"
	if v := w.report(t, forged); v.Ours() {
		t.Errorf("Report(the same with another signature) = %+v, want it not ours", v)
	}
}

func (w *world) signing(t *testing.T) string {
	t.Helper()
	keys, err := w.Keys(t.Context())
	must(t, err)
	return keys[0].ID
}

func TestALeakedAPITokenEndsWithAllThatItIssued(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	caller, err := w.Authenticate(t.Context(), w.key)
	must(t, err)
	issued, err := w.Issue(t.Context(), caller)
	must(t, err)
	v := w.report(t, w.key)
	if v.Outcome != leak.Ended || v.ID != caller.ID || !w.refused(t, w.key) || !w.refused(t, issued.Token.Reveal()) {
		t.Errorf("Report = %+v, want it ended with what it issued", v)
	}
	if a, b := w.Acts(t, audit.APITokenRevoked), w.Acts(t, audit.IssuesRevoked); a != 1 || b != 1 || len(w.lines(t)) != 1 {
		t.Errorf("lines: %d, %d, %d", a, b, len(w.lines(t)))
	}
	// one that was revoked before, without its tokens
	second, record, err := w.CreateAPIToken(t.Context(), w.account.ID, "ci")
	must(t, err)
	caller, err = w.Authenticate(t.Context(), second.Reveal())
	must(t, err)
	issued, err = w.Issue(t.Context(), caller)
	must(t, err)
	_, _, err = w.RevokeAPIToken(t.Context(), record.ID, false)
	must(t, err)
	if v := w.report(t, second.Reveal()); v.Outcome != leak.Ended || !w.refused(t, issued.Token.Reveal()) {
		t.Errorf("Report(revoked alone) = %+v, want what it issued ended", v)
	}
	if v := w.report(t, second.Reveal()); v.Outcome != leak.Over || !v.Ours() {
		t.Errorf("Report(nothing left) = %+v, want a true positive", v)
	}
}

func TestEveryKindOfTokenEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := t.Context()
	link := func() string {
		link, _, err := w.CreateSignInLink(ctx, w.account.ID)
		must(t, err)
		u, err := url.Parse(link.Reveal())
		must(t, err)
		return u.Query().Get("link")
	}
	session, _, err := w.SignIn(ctx, link())
	must(t, err)
	login := func() (code string) {
		codes, err := w.BeginDevice(ctx, "cl_pageflare_cli", "192.0.2.7")
		must(t, err)
		w.DecideLogin(t, w.account.ID, codes.UserCode.Reveal(), true)
		return codes.DeviceCode.Reveal()
	}
	used := login()
	got, err := w.PollDevice(ctx, "cl_pageflare_cli", used)
	must(t, err)
	waiting := login()
	admin := w.AdminToken(t, auth.ScopeKeysRead)
	caller, err := w.Authenticate(ctx, got.Token.Reveal())
	must(t, err)
	byLogin, err := w.Issue(ctx, caller)
	must(t, err)
	for _, c := range []struct {
		kind leak.Kind
		text string
		over func() bool
	}{
		{leak.AdminToken, admin, func() bool { return w.refused(t, admin) }},
		{leak.LoginToken, got.Token.Reveal(), func() bool { return w.refused(t, got.Token.Reveal()) && w.refused(t, byLogin.Token.Reveal()) }},
		{leak.DeviceCode, waiting, func() bool { _, err := w.PollDevice(ctx, "cl_pageflare_cli", waiting); return err != nil }},
		{leak.Session, session.Reveal(), func() bool { _, err := w.Session(ctx, session.Reveal()); return err != nil }},
	} {
		if v := w.report(t, c.text); v.Kind != c.kind || v.Outcome != leak.Ended || v.ID == "" || !c.over() {
			t.Errorf("%s: %+v, over: %t", c.kind, v, c.over())
		}
		if v := w.report(t, c.text); v.Outcome == leak.Ended {
			t.Errorf("%s ended twice", c.kind)
		}
	}
	unused := link()
	if v := w.report(t, unused); v.Kind != leak.SignInLink || v.Outcome != leak.Ended {
		t.Errorf("sign-in link: %+v", v)
	}
	if _, err := w.SignInAccount(ctx, unused); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("the link still signs in: %v", err)
	}
	if n := len(w.lines(t)); n != 5 {
		t.Errorf("%d lines of leaks, want 5", n)
	}
}

func TestWhatOnlyLooksLikeATokenEndsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	other := newWorld(t, nil)
	made, err := opaque.APIToken.New(strings.NewReader(strings.Repeat("abcdefgh", 100)))
	must(t, err)
	setup, err := opaque.SetupLink.New(strings.NewReader(strings.Repeat("abcdefgh", 100)))
	must(t, err)
	for name, text := range map[string]string{
		"nothing": "", "a word": "hunter2", "an unknown API token": made.Reveal(), "an unknown link": setup.Reveal(), "with a wrong checksum": w.key[:len(w.key)-1] + "_",
		"of another service": other.IssueToken(t, other.account.ID, 0), "a JWT of somebody else": "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "in two lines": w.key + "\n",
		"long": strings.Repeat("a", 1<<20), "not UTF-8": "pf_at_\xff\xfe",
	} {
		if v := w.report(t, text); v.Ours() || v.Outcome != leak.NotOurs {
			t.Errorf("%s: %+v, want a false positive", name, v)
		}
	}
	if n := len(w.lines(t)); n != 0 {
		t.Errorf("%d lines", n)
	}
}

func TestExpiredTokensAndDeletedAccountsAreTruePositives(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	expired := w.IssueToken(t, w.account.ID, time.Hour)
	w.ahead.Add(int64(2 * time.Hour))
	if v := w.report(t, expired); v.Outcome != leak.Ended { // what it was refreshed to may live
		t.Errorf("expired: %+v", v)
	}
	gone, key := w.Account(t, "gone@example.com")
	token := w.IssueToken(t, gone.ID, 0)
	_, err := w.DeleteAccount(t.Context(), gone.ID)
	must(t, err)
	for name, text := range map[string]string{"license token": token, "API token": key} {
		if v := w.report(t, text); v.Outcome != leak.Over || v.AccountID != gone.ID {
			t.Errorf("%s of a deleted account: %+v, want true, and nothing left", name, v)
		}
	}
}

// Who publishes a token writes the text around it.
func TestHostilePlacesStayOneHarmlessLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, c := range []struct{ source, url, wantSource, wantURL string }{
		{"Commit", "https://user:pass@github.com/a/b?token=x#y", "commit", "https://github.com/a/b"},
		{"x\n{\"msg\":\"forged\"}\x1b[31m", "https://h/\n\x1b[31m", "x\ufffd{\"msg\":\"forged\"}\ufffd[31m", ""},
		{strings.Repeat("é", 100), "javascript:alert(1)", strings.Repeat("é", 25) + "…", ""},
		{"pf_at_abcdefghijklmnopqrstuvwxyz0123456789", "https://h/pf_at_abcdefghijklmnopqrstuvwxyz0123456789/x", "[hidden]", "https://h/[hidden]/x"},
		{"\xff\u202e", "https://h/" + strings.Repeat("a", 9000), "\ufffd\ufffd", ""},
		{"", "https://h/" + strings.Repeat("a", 1000), "", "https://h/" + strings.Repeat("a", 490) + "…"},
		{"", "https://h/%0a%1b", "", "https://h/%0a%1b"},
		{"", "file:///etc/passwd", "", ""},
	} {
		token := w.IssueToken(t, w.account.ID, 0)
		_, err := w.leaks.Report(t.Context(), leak.Found{Token: opaque.Secret(token), Door: leak.ByPartnerAlert, Source: c.source, URL: c.url})
		must(t, err)
		var got struct{ Source, URL string }
		must(t, json.Unmarshal([]byte(w.lines(t)[0].Details), &got))
		if got.Source != c.wantSource || got.URL != c.wantURL {
			t.Errorf("%q at %q is recorded as %q at %q, want %q at %q", c.source, c.url, got.Source, got.URL, c.wantSource, c.wantURL)
		}
	}
}

// A crash between the act and what follows it loses nothing: the note of the account is of the same
// transaction.
func TestFreshTokensAreAskedForUntilThatWorks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	var asked []string
	fault := errors.New("down")
	s := leak.New(leak.Config{
		Store: w.Store, Keys: w.Parts.Keys, Log: w.Parts.Log, Now: time.Now,
		Hurry: func(_ context.Context, account string) error { asked = append(asked, account); return fault },
	})
	token := w.IssueToken(t, w.account.ID, 0)
	_, err := s.Report(t.Context(), leak.Found{Token: opaque.Secret(token)})
	must(t, err)
	select {
	case <-s.Soon():
	default:
		t.Error("nobody is told that there is work")
	}
	if err := s.Follow(t.Context()); !errors.Is(err, fault) {
		t.Errorf("Follow = %v", err)
	}
	fault = nil
	must(t, s.Follow(t.Context()))
	must(t, s.Follow(t.Context())) // nothing is left
	if want := []string{w.account.ID, w.account.ID}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
}

func TestThePatternsMatchOurTokensAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	var whole []*regexp.Regexp
	for _, p := range leak.Patterns() {
		whole = append(whole, regexp.MustCompile(`(?:`+p.Before+`)(`+p.Secret+`)(?:`+p.After+`)`))
	}
	find := func(text string) (found []string) {
		for _, re := range whole {
			for _, m := range re.FindAllStringSubmatch(text, -1) {
				found = append(found, m[1])
			}
		}
		return found
	}
	tokens := []string{w.key, w.admin}
	for range 50 {
		_, err := w.Rotate(t.Context(), "HS256")
		must(t, err)
		w.ahead.Add(int64(time.Minute))
		tokens = append(tokens, w.IssueToken(t, w.account.ID, 0))
	}
	for _, token := range tokens {
		for _, text := range []string{token, "PAGEFLARE_TOKEN=" + token + "\n", `{"token":"` + token + `"}`, "Bearer " + token + ",", "'" + token + "'", token + "\r\n"} {
			if got := find(text); !slices.Equal(got, []string{token}) {
				t.Fatalf("%d of %q, want the token", len(got), text[:20])
			}
		}
	}
	head, rest, _ := strings.Cut(tokens[2], ".")
	for name, text := range map[string]string{
		"a JWT of somebody else":        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
		"another order of members":      "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiIsImtpZCI6ImtfMDEyMzQ1Njc4OWFiY2RlZiJ9." + rest,
		"another key id":                "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InhfMDEyMzQ1Njc4OWFiY2RlZiJ9." + rest,
		"a longer key id":               strings.TrimSuffix(head, "J9") + "AAAAJ9." + rest,
		"a lease":                       "eyJhbGciOiJFZERTQSIsInR5cCI6ImxlYXNlK2p3dCIsImtpZCI6ImtfMDEyMzQ1Njc4OWFiY2RlZiJ9." + rest,
		"claims that begin otherwise":   head + "." + strings.Replace(rest, "eyJzdWIi", "eyJpc3Mi", 1),
		"a part of a longer text":       "x" + tokens[2],
		"with a fourth part":            tokens[2] + ".AAAA",
		"an API token in a longer text": w.key + "A",
		"a prefix in a longer text":     "x" + w.key,
	} {
		if got := find(text); len(got) > 0 {
			t.Errorf("%s is taken for a token", name)
		}
	}
	for _, p := range leak.Patterns() {
		if strings.Contains(p.Secret, "(?") || strings.Contains(p.Secret, `\b`) {
			t.Errorf("%s has what GitHub's scanner does not take", p.Secret)
		}
	}
}
