package main

import (
	"strings"
	"syscall"
	"testing"
)

// hunt collects all that the program prints, to look for secrets in it when the story is over.
type hunt struct {
	*box
	prints  map[string]string // what was printed, by the command that did
	secrets map[string]string // by what they are
}

// do runs a command whose output holds no secret.
func (h *hunt) do(stdin string, args ...string) {
	h.t.Helper()
	r := h.runWith(stdin, args...)
	h.prints[strings.Join(args, " ")] += r.out + r.err
}

// answer runs a command whose answer is a secret: that is in what it returns, and must not be in
// stderr.
func (h *hunt) answer(what, path string, args ...string) string {
	h.t.Helper()
	r := h.run(append(args, "--json")...)
	if r.exit != exitOK {
		h.t.Fatalf("%s = exit %d, %s", strings.Join(args, " "), r.exit, r.err)
	}
	h.prints[strings.Join(args, " ")] += r.err
	h.secrets[what] = mustMember(h.t, r.out, path)
	return r.out
}

// call asks the running service; its answer is for the caller alone.
func (h *hunt) call(r *running, method, path, token string) string {
	h.t.Helper()
	_, body, err := r.call(h.t.Context(), method, path, token)
	must(h.t, err)
	return body
}

func TestNoSecretIsPrintedButWhereItIsTheAnswer(t *testing.T) {
	t.Parallel()
	h := &hunt{newBox(t), map[string]string{}, map[string]string{}}
	h.env["LICENSE_LOG_LEVEL"] = "debug"
	r := h.serve("--log-format", "json")
	h.env["LICENSE_LISTEN"] = r.addr
	h.secrets["key file"] = strings.TrimSpace(h.read(keyFile))
	id := mustMember(t, h.answer("API token", "api_token", "account", "create", "--email", "dev@example.com", "--valid-until", "2099-03-12"), "id")
	atID := mustMember(t, h.answer("second API token", "api_token", "api-token", "create", "--account", id), "id")
	h.answer("issued token", "token", "token", "issue", "--account", id)
	jti := mustMember(t, h.answer("second issued token", "token", "token", "issue", "--account", id, "--ttl", "72h"), "jti")
	h.secrets["token of the API"] = mustMember(t, h.call(r, "POST", "/_api/license/issue", h.secrets["API token"]), "token")
	h.secrets["refreshed token"] = mustMember(t, h.call(r, "GET", "/_api/license/refresh", h.secrets["issued token"]), "token")

	// requests that go wrong, with good tokens in the wrong place and almost good ones in the right
	// place
	apiToken, issued := h.secrets["API token"], h.secrets["issued token"]
	h.call(r, "GET", "/_api/license/refresh", apiToken)
	h.call(r, "GET", "/_api/license/refresh", issued+"x")
	h.call(r, "POST", "/_api/license/issue", apiToken[:41]+"!")
	h.call(r, "GET", "/_api/license/refresh?token="+issued, "")
	h.call(r, "GET", "/nowhere/"+apiToken, "")

	// everything else that there is to say, faults included
	h.do("", "account", "list", "--json")
	h.do("", "account", "show", id)
	h.do("", "account", "create", "--email", "dev@example.com", "--valid-until", "2099-03-12")
	h.do("", "account", "update", id, "--tier", "team")
	h.do("", "api-token", "list", "--account", id, "--json")
	h.do(h.secrets["second API token"]+"\n", "api-token", "revoke", "-")
	h.do(apiToken[:41], "api-token", "revoke", "-")
	h.do("", "api-token", "revoke", atID)
	h.do("", "token", "list", "--account", id, "--json")
	h.do(issued, "token", "show", "-")
	h.do(issued[:len(issued)-20], "token", "show", "-")
	h.do(issued[4:], "token", "show", "-", "--json")
	h.do(issued+" "+issued, "token", "revoke", "-")
	h.do(issued, "token", "revoke", "-", "--family")
	h.do("", "token", "revoke", jti)
	h.do("", "key", "list", "--json")
	h.do("", "key", "rotate")
	h.do("", "doctor")
	h.do("", "healthcheck")
	h.call(r, "GET", "/_api/license/refresh", issued)

	// a key that does not fit, and one that is no key
	key := h.secrets["key file"]
	h.env["LICENSE_KEY"] = zeroKey
	h.do("", "doctor")
	h.env["LICENSE_KEY"] = key[:43]
	h.do("", "doctor", "--log-format", "text")
	delete(h.env, "LICENSE_KEY")
	h.write(keyFile, key[:43]+"\n")
	h.do("", "account", "list")
	h.write(keyFile, key+"\n")

	exit, log, err := r.stop(syscall.SIGTERM)
	must(t, err)
	if exit != exitOK || strings.Count(log, `"msg":"request"`) < 8 || !strings.Contains(log, `"status":403`) {
		t.Errorf("exit = %d, want 0 and every request in the log:\n%s", exit, log)
	}
	h.prints["serve"] = log
	h.found(t)
}

// found fails for each secret, or the greater part of one, that was printed.
func (h *hunt) found(t *testing.T) {
	t.Helper()
	if len(h.secrets) != 7 || len(h.prints) < 20 {
		t.Fatalf("the hunt is for %d secrets in %d outputs", len(h.secrets), len(h.prints))
	}
	for what, s := range h.secrets {
		for command, text := range h.prints {
			if strings.Contains(text, s[len(s)-24:]) || strings.Contains(text, s[12:36]) && !strings.HasPrefix(s, "eyJ") {
				t.Errorf("%s printed the %s:\n%s", command, what, text)
			}
		}
	}
}
