package main

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// browser is a real Chromium with an empty profile.
type browser struct {
	t      *testing.T
	ctx    context.Context
	mu     sync.Mutex
	faults []string // what the console complained of
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		path, err = exec.LookPath("google-chrome")
	}
	if err != nil {
		t.Fatal("no chromium on the PATH: run e2e/chromium.sh, as make test does")
	}
	// chromedp gives it an empty profile of its own
	allocator, stopAll := chromedp.NewExecAllocator(t.Context(),
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(time.Minute),
	)
	ctx, stop := chromedp.NewContext(allocator)
	b := &browser{t: t, ctx: ctx}
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for its end
		stop()
		stopAll()
	})
	must(t, chromedp.Listen(ctx, b.listen))
	_, err = chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: complaintsAsText})
	must(t, err)
	return b
}

// complaintsAsText is a script that turns what the console is told into text, so that a test can say
// what it was.
const complaintsAsText = `for (const level of ["warn", "error"]) {
	const say = console[level];
	console[level] = (...all) => say(all.map(one => typeof one === "object" ? JSON.stringify(one) : String(one)).join(" "));
}`

func (b *browser) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		b.faults = append(b.faults, fmt.Sprintf("%s %s: %s", e.Entry.Source, e.Entry.Level, e.Entry.Text))
	case *runtime.EventConsoleAPICalled:
		if e.Type != "info" && e.Type != "log" {
			fault := "console " + string(e.Type)
			for _, a := range e.Args {
				fault += fmt.Sprintf(" %.600s", a.Value)
			}
			b.faults = append(b.faults, fault)
		}
	case *runtime.EventExceptionThrown:
		b.faults = append(b.faults, e.ExceptionDetails.Text)
	}
}

// quiet fails if the console complained of anything: of a script, or of what the policy forbids.
func (b *browser) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.faults) > 0 {
		b.t.Errorf("the console of the browser says:\n%s", strings.Join(b.faults, "\n"))
	}
}

// evaluate is the value of a script in a page.
func evaluate[T any](b *browser, script string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script))
	must(b.t, err)
	return v
}

func (b *browser) open(url string) {
	b.t.Helper()
	must(b.t, chromedp.Do(b.ctx, chromedp.Navigate(url)))
}

// keys types with the keyboard, into whatever has the focus.
func (b *browser) keys(text string) {
	b.t.Helper()
	must(b.t, chromedp.Do(b.ctx, chromedp.KeyEvent(text)))
}

// tabTo presses the tabulator until the element that has the text or the id has the focus.
func (b *browser) tabTo(name string) {
	b.t.Helper()
	var seen []string
	for range 12 {
		b.keys(kb.Tab)
		at := evaluate[string](b, `document.activeElement.id || document.activeElement.textContent.trim()`)
		if at == name {
			return
		}
		seen = append(seen, at)
	}
	b.t.Fatalf("tabulator reaches %q, not %q", seen, name)
}

// enter presses the enter key, and waits for the page that it leads to.
func (b *browser) enter(heading string) {
	b.t.Helper()
	b.keys(kb.Enter)
	b.wantHeading(heading)
}

func (b *browser) wantHeading(heading string) {
	b.t.Helper()
	b.want(`//h1[normalize-space()="` + heading + `"]`)
}

func (b *browser) wantText(text string) { b.t.Helper(); b.want(`//p[contains(., "` + text + `")]`) }

// want waits for a page with an element.
func (b *browser) want(path string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.WaitReady(chromedp.Search(path))); err != nil {
		b.t.Fatalf("the page says %q, want %s: %v", b.text(), path, err)
	}
}

func (b *browser) text() string { b.t.Helper(); return evaluate[string](b, `document.body.innerText`) }

// faultsOfPage is a script that lists what keeps people from using a page.
const faultsOfPage = `(() => {
	const bad = [], all = s => [...document.querySelectorAll(s)];
	if (all('h1').length !== 1) bad.push('not one h1');
	if (all('main').length !== 1) bad.push('not one main');
	if (!document.title.startsWith(all('h1')[0].textContent)) bad.push('the title is not the heading');
	if (document.documentElement.lang !== 'en') bad.push('no language');
	if (all('script').length) bad.push('a script');
	for (const e of all('input:not([type=hidden])')) if (!e.labels.length || !e.labels[0].textContent.trim()) bad.push('no label: ' + e.id);
	for (const e of all('button')) if (!e.textContent.trim()) bad.push('a button without a name');
	for (const e of all('[aria-describedby]')) for (const id of e.getAttribute('aria-describedby').split(' ')) if (!document.getElementById(id)) bad.push('no ' + id);
	const ids = all('[id]').map(e => e.id); if (new Set(ids).size !== ids.length) bad.push('an id twice');
	for (const e of all('button, input:not([type=hidden])')) if (e.getBoundingClientRect().height < 24) bad.push('too small: ' + e.textContent);
	if (document.documentElement.scrollWidth > document.documentElement.clientWidth) bad.push('scrolls sideways: ' + document.documentElement.scrollWidth);
	const rgb = s => s.match(/[\d.]+/g).map(Number);
	const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
	const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
	for (const e of all('body *')) {
		if (!e.checkVisibility() || !([...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || e.value && e.type !== 'hidden')) continue;
		const a = light(rgb(getComputedStyle(e).color).slice(0, 3)), b = light(ground(e).slice(0, 3));
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		if (ratio < 4.5) bad.push('contrast ' + ratio.toFixed(1) + ': ' + (e.textContent || e.value).trim().slice(0, 30));
	}
	return bad;
})()`

// usable fails if something keeps people from using the page that is shown: wide, at 320 pixels,
// light and dark.
func (b *browser) usable() {
	b.t.Helper()
	for _, width := range []int64{1280, 320} {
		for _, scheme := range []string{"light", "dark"} {
			b.look(width, scheme)
			if bad := evaluate[[]string](b, faultsOfPage); len(bad) > 0 {
				b.t.Errorf("at %d pixels, %s: %s\n%s", width, scheme, strings.Join(slices.Compact(bad), "; "), b.text())
			}
		}
	}
}

// look sets how wide the page is, and whether the person likes it light or dark.
func (b *browser) look(width int64, scheme string) {
	b.t.Helper()
	must(b.t, chromedp.Do(b.ctx, chromedp.EmulateViewport(width, 800)))
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	must(b.t, err)
}
