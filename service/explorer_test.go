package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/servicetest"
)

// waitFor waits until an expression of the page is true.
func (b *browser) waitFor(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](expression)); err != nil {
		b.picture("failed")
		b.t.Fatalf("%s does not come true: %v\n%.3000s", expression, err, b.text())
	}
}

// picture keeps what the browser shows where SCREENSHOTS says, for people.
func (b *browser) picture(name string) {
	b.t.Helper()
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		shot, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		must(b.t, err)
		must(b.t, os.WriteFile(dir+"/"+name+".png", shot, 0o600))
	}
}

// press clicks the first visible button of that text.
func (b *browser) press(text string) {
	b.t.Helper()
	quoted, err := json.Marshal(text)
	must(b.t, err)
	find := `[...document.querySelectorAll("button")].find(e => e.innerText.trim().startsWith(` + string(quoted) + `) && e.checkVisibility())`
	b.waitFor("!!" + find)
	evaluate[bool](b, "("+find+".click(), true)")
}

// The explorer at /docs, in a real browser: it shows the routes, its Send button works against this
// service, with a token too, and nothing is asked of any other host.
func TestTheExplorerSendsRequests(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	b := newBrowser(t)
	var mu sync.Mutex
	var elsewhere []string
	must(t, chromedp.Listen(b.ctx, func(event any) {
		e, ok := event.(*network.EventRequestWillBeSent)
		if !ok || strings.HasPrefix(e.Request.URL, s.Origin+"/") || strings.HasPrefix(e.Request.URL, "data:") || strings.HasPrefix(e.Request.URL, "blob:") {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		elsewhere = append(elsewhere, e.Request.URL)
	}))
	b.look(1280, "light")
	b.open(s.Origin + "/docs#tag/service/GET/_api/health")
	b.waitFor(`document.body.innerText.includes("Is the service running?")`)
	b.picture("docs")
	b.press("Test Request")
	b.press("Send")
	b.waitFor(`document.body.innerText.includes("200 OK")`)
	b.picture("docs-sent")

	_, key := s.Account(t, "a@example.com")
	b.open("about:blank")
	b.open(s.Origin + "/docs#tag/license/POST/_api/license/issue")
	b.waitFor(`document.body.innerText.includes("Issue a new license token")`)
	b.press("Test Request")
	const field = `[...document.querySelectorAll("[role=dialog] input[placeholder=Token]")].find(e => e.checkVisibility())`
	b.waitFor("!!" + field)
	evaluate[bool](b, "("+field+".focus(), true)")
	b.keys(key)
	b.press("Send")
	b.waitFor(`document.body.innerText.includes("200 OK")`)
	b.picture("docs-issued")
	if lines, err := s.Lines(t.Context(), audit.Query{Action: audit.TokenIssued, Limit: 1}); err != nil || len(lines) != 1 {
		t.Errorf("audit = %v, %v, want the token that was issued in the browser", lines, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(elsewhere) > 0 {
		t.Errorf("the page asked %q", elsewhere)
	}
	b.quiet()
}

// Who opens /docs finds a box for a token, not the task to choose how one is given.
func TestTheExplorerAsksForAToken(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	b := newBrowser(t)
	b.look(1280, "light")
	b.open(s.Origin + "/docs/")
	b.waitFor(`document.body.innerText.includes("Issues and refreshes Pageflare license tokens.") && /authentication/i.test(document.body.innerText)`)
	b.picture("docs-start")
	if strings.Contains(b.text(), "No authentication selected") {
		t.Error("the box for the token says that none is selected")
	}
	b.waitFor(`!!document.querySelector("input[placeholder=Token]")`)
	b.quiet()
}
