package main

import (
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/servicetest"
)

// behindTLS puts the License service behind a certificate that nobody trusts.
func (j *job) behindTLS() {
	j.t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(j.service.ServeHTTP))
	s.Config.ErrorLog = nil
	s.StartTLS()
	j.t.Cleanup(s.Close)
	j.input("api-url", s.URL+"/_api").input("oidc-audience", j.service.Origin)
}

// A job that was meant to be licensed says what keeps it from that, each with its own remedy, in
// the log and in the summary.
func TestAnUnlicensedRunNamesItsOwnCauseAndRemedy(t *testing.T) {
	t.Parallel()
	empty := func(j *job) {
		j.input("api-url", "")
		j.env["HTTPS_PROXY"] = "http://127.0.0.1:1" // so that nothing leaves this machine, whatever happens
	}
	for name, c := range map[string]struct {
		set     func(j *job)
		keyless bool // the job has id-token: write
		level   string
		want    []string
		not     []string
	}{
		"the permission is forgotten": {func(*job) {}, false, "notice",
			[]string{`store one in the secret PAGEFLARE_TOKEN`, `or, without a secret, give this job "permissions: id-token: write" (api-url is 127.0.0.1:`}, nil},
		"the permission is forgotten, and keyless is off": {func(j *job) { j.input("keyless", "off") }, false, "notice",
			[]string{"store one in the secret PAGEFLARE_TOKEN"}, []string{"id-token"}},
		"the vendor's, and nothing is set": {func(j *job) { delete(j.env, "INPUT_API-URL") }, false, "notice",
			[]string{"store one in the secret PAGEFLARE_TOKEN"}, []string{"id-token", "is empty"}},
		"the variable of api-url is empty": {empty, false, "notice",
			[]string{"input api-url is empty, which means the vendor's: set the variable that api-url takes; or store one"}, nil},
		"the variable is empty, with an identity": {empty, true, "warning",
			[]string{"input api-url is empty, which means the vendor's, and the identity of this job is not shown to that by mistake: set the variable that api-url takes"},
			[]string{"store one"}},
		"a private authority": {(*job).behindTLS, true, "warning",
			[]string{"is signed by an authority that is not trusted here: give that authority in input ca-certificates"}, []string{"check api-url", "keyless"}},
		"/_api is forgotten": {func(j *job) { j.input("api-url", j.service.Origin) }, true, "warning",
			[]string{"there is no License API at http://127.0.0.1:", "did you mean http://127.0.0.1:", "/_api? then give that as input api-url"}, []string{"check api-url"}},
		"another audience": {func(j *job) { j.input("oidc-audience", "https://elsewhere.example") }, true, "warning",
			[]string{"check that oidc-audience (https://elsewhere.example) is the public URL", "LICENSE_PUBLIC_URL", "; without input oidc-audience it is http://127.0.0.1:"}, nil},
		"the service is down": {func(j *job) {
			j.api(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "3600")
				w.WriteHeader(http.StatusServiceUnavailable)
			})
		}, true, "warning", []string{"is not available: 503"}, []string{"oidc-audience", "keyless"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			identities := func() int { return 0 }
			if c.keyless {
				identities = j.keyless().Minted
			}
			c.set(j)
			r := j.run()
			r.wantExit(t, 0)
			r.wantOutputs(t, map[string]string{"token-state": "missing"})
			r.wantLog(t, "::"+c.level+"::no license token")
			shown := html.UnescapeString(r.summary)
			for _, want := range c.want {
				if !strings.Contains(r.log, want) || !strings.Contains(shown, want) {
					t.Errorf("log or summary lacks %q:\n%s\n%s", want, r.log, shown)
				}
			}
			for _, not := range c.not {
				if strings.Contains(r.log, not) || strings.Contains(shown, not) {
					t.Errorf("log or summary has %q, which is advice for another problem:\n%s", not, r.log)
				}
			}
			if j.env["INPUT_API-URL"] == "" && identities() > 0 {
				t.Error("the identity was asked for, and would be shown to the vendor")
			}
			j.wantWhole(true)
		})
	}
}

// The same with a token that is due: the old one is used.
func TestARefreshThatFailsNamesItsOwnCauseAndRemedy(t *testing.T) {
	t.Parallel()
	vendor := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(vendor.Close)
	for name, c := range map[string]struct {
		set  func(j *job)
		want string
	}{
		"a private authority": {(*job).behindTLS, "give that authority in input ca-certificates"},
		"/_api is forgotten":  {func(j *job) { j.input("api-url", j.service.Origin) }, "/_api? then give that as input api-url"},
		"the variable of api-url is empty": {func(j *job) {
			j.input("api-url", "")
			j.env["HTTPS_PROXY"] = tunnelTo(t, vendor.Listener.Addr().String()) // that is where the vendor's would be
		}, "input api-url is empty, so the vendor's was asked: set the variable that it takes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.licensed(2 * dayLong)
			c.set(j)
			r := j.run()
			r.wantExit(t, 0)
			r.wantOutputs(t, map[string]string{"token-state": "kept"})
			r.wantSaid(t, c.want)
			if strings.Contains(r.log, "check api-url") && j.env["INPUT_API-URL"] != "" {
				t.Errorf("the advice is for another problem:\n%s", r.log)
			}
		})
	}
}

// tunnelTo is a proxy that connects to one address, whatever is asked for.
func tunnelTo(t *testing.T, address string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		there, err := (&net.Dialer{}).DialContext(req.Context(), "tcp", address)
		if err != nil || req.Method != http.MethodConnect {
			http.Error(w, "no tunnel", http.StatusBadGateway)
			return
		}
		defer there.Close()
		here, rest, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		fmt.Fprint(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() { _, _ = io.Copy(there, rest) }()
		_, _ = io.Copy(here, there)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestKeylessRequireFailsWhereItCannotBeDone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set     func(j *job)
		keyless bool
		exit    int
		want    []string
	}{
		"no permission":             {func(*job) {}, false, 2, []string{`input keyless: "require": this job has no permission to get an identity token: give it "permissions: id-token: write"`}},
		"no permission, in a check": {func(j *job) { j.input("mode", "check") }, false, 2, []string{"id-token: write"}},
		"a license token as well": {func(j *job) { j.licensed(30 * dayLong) }, true, 2,
			[]string{`input keyless: "require" and a license token exclude each other: leave out input token and PAGEFLARE_TOKEN, or give auto`}},
		"an empty api-url": {func(j *job) { j.input("api-url", "") }, true, 2, []string{`input keyless: "require": input api-url is empty`}},
		"everything at once": {func(j *job) { j.input("api-url", "").input("mode", "x"); j.licensed(30 * dayLong) }, false, 2,
			[]string{"exclude each other", "id-token: write", "input api-url is empty", `input mode: "x" is not known`}},
		"an exchange that is refused": {func(j *job) { j.input("oidc-audience", "https://elsewhere.example") }, true, 1, []string{"::error::no license token, and the identity"}},
		"the service is down, and fail-on is never": {func(j *job) {
			j.input("fail-on", "never").api(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "3600")
				w.WriteHeader(http.StatusServiceUnavailable)
			})
		}, true, 1, []string{"::error::", "is not available: 503"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t).input("keyless", "require")
			if c.keyless {
				j.keyless()
			}
			c.set(j)
			r := j.run()
			r.wantExit(t, c.exit)
			r.wantLog(t, c.want...)
			if countOf(r.log, "::error::") != 1 || j.optimized() {
				t.Errorf("want one error, and the site as it was:\n%s", r.log)
			}
		})
	}
}

func TestKeylessRequireExchanges(t *testing.T) {
	t.Parallel()
	for mode, state := range map[string]string{"optimize": "exchanged", "refresh-only": "exchanged", "check": "missing"} {
		j := newJob(t)
		issuer := j.keyless()
		j.env["PAGEFLARE_TOKEN"] = "" // how an absent secret arrives
		r := j.input("keyless", "require").input("mode", mode).run()
		r.wantExit(t, 0)
		r.wantOutputs(t, map[string]string{"token-state": state})
		if issuer.Minted() != 1 || strings.Contains(r.log, "::warning::") {
			t.Errorf("%s: %d identities, want 1 and no warning:\n%s", mode, issuer.Minted(), r.log)
		}
	}
}

// Forks get no permission and no variables. Their pull requests run unlicensed, with a notice, as
// ever.
func TestKeylessRequireFailsNoGuest(t *testing.T) {
	t.Parallel()
	j := newJob(t).input("keyless", "require").input("api-url", "")
	j.env["GITHUB_EVENT_NAME"], j.env["GITHUB_ACTOR"] = "pull_request", "mallory"
	j.env["GITHUB_EVENT_PATH"] = j.write("event.json", `{"pull_request":{"head":{"repo":{"full_name":"mallory/site"}},"user":{"login":"mallory"}}}`)
	r := j.run()
	r.wantExit(t, 0)
	r.wantLog(t, "::notice::no license token: this pull request comes from the fork mallory/site")
	j.wantWhole(true)
}

func TestKeylessOffShowsTheIdentityToNobody(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"optimize", "check"} {
		j := newJob(t)
		issuer := j.keyless()
		j.api(func(_ http.ResponseWriter, req *http.Request) { t.Errorf("%s %s was asked", req.Method, req.URL) })
		r := j.input("keyless", "off").input("mode", mode).run()
		r.wantExit(t, 0)
		r.wantOutputs(t, map[string]string{"token-state": "missing"})
		if issuer.Requests() != 0 || strings.Contains(r.log, "id-token") {
			t.Errorf("%s: %d identities were asked for, want none and no word of it:\n%s", mode, issuer.Requests(), r.log)
		}
	}
}

func TestKeylessTakesThreeWords(t *testing.T) {
	t.Parallel()
	r := newJob(t).input("keyless", "yes").run()
	r.wantExit(t, 2)
	r.wantLog(t, `input keyless: "yes" is not known; give auto, require or off`)
}

// A token of an hour is what keyless jobs get.
func TestTheSummaryTellsMinutes(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.keyless()
	r := j.run()
	r.wantExit(t, 0)
	if !strings.Contains(r.summary, " min)") || strings.Contains(r.summary, "(in 0 h)") {
		t.Errorf("want the minutes that are left:\n%s", r.summary)
	}
}

func TestFaultyInputsHaveASummary(t *testing.T) {
	t.Parallel()
	j := newJob(t).input("mode", "<script>|`x`\n::error::y @octocat").input("secret-name", "MY-TOKEN")
	r := j.run()
	r.wantExit(t, 2)
	for _, want := range []string{"## Pageflare\n", "> [!CAUTION]\n", "\n- input mode: \"", "\n- input secret-name: ", "give optimize, refresh-only or check"} {
		if !strings.Contains(r.summary, want) {
			t.Errorf("the summary lacks %q:\n%s", want, r.summary)
		}
	}
	if strings.ContainsAny(r.summary, "<`|@") || strings.Contains(r.summary, "\n::") {
		t.Errorf("what somebody wrote is not escaped:\n%s", r.summary)
	}

	j = newJob(t).input("mode", "x").input("summary", "false")
	r = j.run()
	r.wantExit(t, 2)
	if r.summary != "" {
		t.Errorf("nobody wanted this summary:\n%s", r.summary)
	}
}

func TestCommandsNameTheRemedyToo(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	secure := httptest.NewTLSServer(http.HandlerFunc(s.ServeHTTP))
	t.Cleanup(secure.Close)
	a, _ := s.Account(t, "dev@example.com")
	licensed := s.IssueToken(t, a.ID, time.Hour)
	j := newJob(t)
	j.env["PAGEFLARE_TOKEN"] = licensed
	for args, want := range map[string]string{
		"token refresh --api-url " + secure.URL + "/_api":                                    "give that authority in --ca-certificates or SSL_CERT_FILE",
		"token issue --api-url " + s.Origin:                                                  "there is no License API at " + s.Origin + " (status 404): did you mean " + s.Origin + "/_api? then give that as --api-url or PAGEFLARE_API_URL",
		"token show --ca-certificates none.pem":                                              `error: --ca-certificates: "none.pem": no such file or directory`,
		"token refresh --api-url " + secure.URL + "/_api --ca-certificates " + j.pem(secure): "eyJ",
	} {
		if _, out := j.program(strings.Fields(args)...); !strings.Contains(out, want) {
			t.Errorf("pageflare-action %s lacks %q:\n%s", args, want, out)
		}
	}
}

// pem is a file of a server's certificate.
func (j *job) pem(s *httptest.Server) string {
	return j.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
}
