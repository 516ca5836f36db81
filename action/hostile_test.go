package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A repository is anybody's: what it holds must harm neither the log, nor the summary, nor the
// runner.
func TestAHostileRepositoryHarmsNobody(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(2 * dayLong)
	page := []byte(`<!doctype html><title>x</title><img src="gone.png"><img src="::error::gone.png">`)
	for _, name := range []string{
		"a\n::set-output name=x::y.html", "::add-mask::dist.html", "b\r\n::stop-commands::pwned.html", "<img src=x onerror=alert(1)>.html", "pipe|`code`.css",
		"<details><h1>big.html", "[x](https:&#47;&#47;evil.example).html", "@octocat.html", "\u202etxt.exe.html", "_GitHubActionsFileCommandDelimeter_.html",
		"%0A::error::z.html", strings.Repeat("n", 240) + ".html",
	} {
		must(t, os.WriteFile(filepath.Join(j.ws, "dist", name), page, 0o644))
	}
	must(t, os.Symlink("loop", filepath.Join(j.ws, "dist", "loop")))
	must(t, os.Symlink(".", filepath.Join(j.ws, "dist", "self")))
	r := j.run()
	r.wantExit(t, 0)
	j.wantWhole(true)
	stop := strings.Index(r.log, "::stop-commands::")
	word, _, _ := strings.Cut(r.log[stop+len("::stop-commands::"):], "\n")
	quiet := stop + strings.Index(r.log[stop:], "\n::"+word+"::\n")
	for i, line := range strings.Split(r.log[:stop]+r.log[quiet+1:], "\n") {
		name, _, isCommand := strings.Cut(strings.TrimPrefix(line, "::"), "::")
		if strings.HasPrefix(line, "::") && isCommand {
			switch strings.Fields(name)[0] {
			case "add-mask", "group", "endgroup", "stop-commands", "notice", "warning", word:
			default:
				t.Errorf("line %d of the log is a command that is not ours: %q", i, line)
			}
		}
		if strings.HasPrefix(line, "::add-mask::dist") {
			t.Errorf("a file name became a mask: %q", line)
		}
	}
	theirs := r.summary
	for _, ours := range []string{"](https://github.com/pageflare/ci#the-action)", "](https://github.com/pageflare/ci/blob/main/docs/action.md#the-guard)"} {
		theirs = strings.ReplaceAll(theirs, ours, "")
	}
	for _, bad := range []string{"<img", "<h1>", "<details><h1", "@octocat", "](http", "\u202e", "\n::"} {
		if strings.Contains(theirs, bad) {
			t.Errorf("the summary holds %q:\n%s", bad, r.summary)
		}
	}
	for name := range r.outputs {
		if _, known := readMetadata(t).Outputs[name]; !known {
			t.Errorf("output %q was injected", name)
		}
	}
}

// The secrets of the job are in environment and memory of the Action, which the optimizer must not
// read though it is the same user. Root has the right to in some containers.
func TestTheOptimizerCannotReadTheAction(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.input("optimizer-path", j.fakeCLI(`#!/bin/sh
{ echo; echo tried:
for f in environ mem maps fd/1 task/$PPID/environ; do
	(: < /proc/$PPID/$f) 2>/dev/null && echo "opened $f"
done
sed -n 's/^NoNewPrivs:.*1$/confined/p' /proc/self/status
echo end of it; } >&2
exit 3
`))
	r := j.run()
	r.wantExit(t, 3)
	_, got, _ := strings.Cut(r.log, "\ntried:\n")
	if got, _, _ = strings.Cut(got, "end of it\n"); got != "confined\n" {
		t.Errorf("the optimizer read of the Action:\n%s", got)
	}
}

// The runner takes commands again only when it sees the word in a line of its own: without that, no
// error would be shown.
func TestCommandsAreTakenAgainAfterHalfALine(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.input("optimizer-path", j.write("fake-cli", "#!/bin/sh\nprintf 'half a line' >&2\nexec cat /dev/zero\n"))
	r := j.run()
	r.wantExit(t, 1)
	_, after, _ := strings.Cut(r.log, "::stop-commands::")
	word, after, _ := strings.Cut(after, "\n")
	if !strings.Contains(after, "half a line") || !strings.Contains(after, "\n::"+word+"::\n") || !strings.Contains(after, "\n::error::") {
		t.Errorf("the word %s or the error is not in a line of its own:\n%s", word, r.log)
	}
}

// What the License API answers is not ours either: claims end up in outputs and in the summary.
func TestHostileClaimsHarmNobody(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.env["PAGEFLARE_TOKEN"] = hostileToken(t)
	r := j.run()
	r.wantExit(t, 2)
	r.wantLog(t, "input token: wrong claims: sub holds a character that is not for text")
	if j.read("output") != "" || !strings.Contains(r.summary, "input token") || strings.Contains(r.summary, "injected") || strings.Contains(r.summary, "script") ||
		strings.Contains(r.summary, "error") {
		t.Errorf("want no outputs, and a summary that names the fault and none of the claims:\n%s\n%s", j.read("output"), r.summary)
	}

	j = newJob(t) // the same as an answer: the old token goes on being used
	j.licensed(2 * dayLong)
	j.api(func(w http.ResponseWriter, _ *http.Request) { answerToken(w, hostileToken(t)) })
	r = j.run()
	r.wantExit(t, 0)
	r.wantOutputs(t, map[string]string{"token-state": "kept", "tier": "pro"})
	for name := range r.outputs {
		if _, known := readMetadata(t).Outputs[name]; !known {
			t.Errorf("output %q was injected", name)
		}
	}
}

func TestOutputsStayOnOneLine(t *testing.T) {
	t.Parallel()
	if got := oneLine("pro\n_GitHubActionsFileCommandDelimeter_\r\nx=1\u2028"); strings.ContainsAny(got, "\r\n") {
		t.Errorf("oneLine = %q", got)
	}
}
