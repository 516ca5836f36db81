package browser

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

//go:embed collect.js
var collectScript string

// pageTime is how long one page may take in all. Reaching it is an error of the run, not a
// difference.
const pageTime = 90 * time.Second

// Browser is one headless Chromium.
type Browser struct {
	ctx  context.Context
	stop func()
}

// Start starts Chromium with an empty profile. Close ends it.
func Start(ctx context.Context) (*Browser, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	allocator, stopAll := chromedp.NewExecAllocator(ctx,
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		// pages in the background are drawn as if they were in front: many are open at a time
		chromedp.Flag("disable-background-timer-throttling", true), chromedp.Flag("disable-renderer-backgrounding", true),
		chromedp.Flag("disable-backgrounding-occluded-windows", true),
		chromedp.Flag("hide-scrollbars", true), chromedp.WSURLReadTimeout(time.Minute),
	)
	first, stop := chromedp.NewContext(allocator)
	b := &Browser{ctx: first, stop: func() {
		_ = chromedp.Cancel(first) // waits for its end
		stop()
		stopAll()
	}}
	if err := chromedp.Do(first); err != nil {
		b.stop()
		return nil, fmt.Errorf("start chromium: %w", err)
	}
	return b, nil
}

// program is the lightest browser there is: the headless shell draws no windows, which each visit
// would otherwise get.
func program() (string, error) {
	for _, name := range []string{"chromium-headless-shell", "chromium", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no chromium on the PATH: run e2e/chromium.sh")
}

// Close ends Chromium and waits for its end.
func (b *Browser) Close() { b.stop() }

// Site is a folder that is being served. Close ends that.
type Site struct {
	browser *Browser
	server  *server
}

// Open serves a folder to the browser.
func (b *Browser) Open(dir string) (*Site, error) {
	s, err := serve(dir)
	if err != nil {
		return nil, err
	}
	return &Site{b, s}, nil
}

func (s *Site) Close() error { return s.server.close() }

// Look opens a page as a first visitor does, with an empty profile, and tells what is there. It may
// be called concurrently.
func (s *Site) Look(ctx context.Context, at string) (*Snapshot, error) {
	for range visits - 1 {
		if snapshot, err := s.visit(ctx, at); err != nil || !snapshot.disturbed() {
			return snapshot, err
		}
	}
	return s.visit(ctx, at)
}

// visits is how often a page is opened when the machine's own network changes meanwhile, as it does
// when a container starts: Chromium then gives up requests that are under way.
const visits = 3

func (s *Snapshot) disturbed() bool {
	return slices.ContainsFunc(s.Failures, func(f string) bool { return strings.HasPrefix(f, "net::ERR_NETWORK_CHANGED") })
}

// echoes says whether a line of the console tells that the answer for a missing sheet, which is
// plain text, is no sheet. Chromium tells it in some visits of a page and not in others; that it is
// missing is among the failures.
func echoes(line string) bool {
	return strings.HasPrefix(line, "Refused to apply style from '") && strings.Contains(line, "MIME type ('text/plain')")
}

func (s *Site) visit(ctx context.Context, at string) (*Snapshot, error) {
	v := &visit{snapshot: Snapshot{Page: at}, urls: map[network.RequestID]string{}, arrived: make(chan struct{}, 1)}
	tab, cancel := chromedp.NewContext(s.browser.ctx,
		chromedp.WithNewBrowserContext(func(p *target.CreateBrowserContextParams) {
			p.ProxyServer = "http://" + s.server.address
			p.ProxyBypassList = "<-loopback>" // by default, Chromium asks no proxy for names below localhost
		}), chromedp.WithListener(v.listen))
	defer cancel()
	limited, end := context.WithTimeout(tab, pageTime)
	defer end()
	defer context.AfterFunc(ctx, end)()
	if err := v.run(limited, at); err != nil {
		return nil, fmt.Errorf("look at %s: %w", at, err)
	}
	return &v.snapshot, nil
}

// visit is one page being looked at.
type visit struct {
	snapshot Snapshot

	mu      sync.Mutex
	urls    map[network.RequestID]string
	idle    map[cdp.LoaderID]bool
	arrived chan struct{} // gets a value when a page has become idle
}

func (v *visit) run(ctx context.Context, at string) error {
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		return err
	}
	if _, err := chromedp.Call(ctx, page.SetLifecycleEventsEnabled, page.SetLifecycleEventsEnabledParams{Enabled: true}); err != nil {
		return err
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 800)); err != nil {
		return err
	}
	to, err := chromedp.Call(ctx, page.Navigate, page.NavigateParams{URL: "http://" + host + at})
	if err != nil {
		return err
	}
	if to.ErrorText != "" {
		return errors.New(to.ErrorText)
	}
	if err := v.waitIdle(ctx, to.LoaderID); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{v.onScreen, v.printed, v.clicked, v.stored} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.snapshot.Console = slices.DeleteFunc(v.snapshot.Console, echoes)
	slices.Sort(v.snapshot.Console)
	slices.Sort(v.snapshot.Failures)
	return nil
}

// waitIdle waits until the page has loaded and asks for nothing any more, as Chromium judges it.
func (v *visit) waitIdle(ctx context.Context, loader cdp.LoaderID) error {
	for {
		v.mu.Lock()
		idle := v.idle[loader]
		v.mu.Unlock()
		if idle {
			return nil
		}
		select {
		case <-v.arrived:
		case <-ctx.Done():
			return fmt.Errorf("it does not come to rest: %w", ctx.Err())
		}
	}
}

func (v *visit) onScreen(ctx context.Context) error {
	err := collect(ctx, &v.snapshot.content)
	if err != nil {
		return err
	}
	shot, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: "png"})
	v.snapshot.Screen = shot.Data
	return err
}

func (v *visit) printed(ctx context.Context) error {
	if err := emulate(ctx, "print"); err != nil {
		return err
	}
	if err := collect(ctx, &v.snapshot.Print); err != nil {
		return err
	}
	return emulate(ctx, "")
}

func emulate(ctx context.Context, media string) error {
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: media})
	return err
}

func collect(ctx context.Context, into *content) error {
	b, err := chromedp.Run(ctx, chromedp.Evaluate[[]byte](collectScript, chromedp.EvalAwaitPromise, chromedp.EvalAsValue))
	if err != nil {
		return fmt.Errorf("collect what is on the page: %w", err)
	}
	return json.Unmarshal(b, into)
}

// clicked presses the button that the page marks by data-e2e-click, with the mouse as a person
// does, and waits until the element that is marked by data-e2e-result says something else. A page
// that does not answer is given up after answerTime.
func (v *visit) clicked(ctx context.Context) error {
	type place struct{ X, Y float64 }
	at, err := chromedp.Run(ctx, chromedp.Evaluate[*place](`(() => {
		const button = document.querySelector('[data-e2e-click]'), result = document.querySelector('[data-e2e-result]');
		if (!button || !result) return null;
		button.scrollIntoView({ block: 'center', behavior: 'instant' });
		const text = () => (document.querySelector('[data-e2e-result]')?.textContent ?? '').trim();
		const was = text();
		window.__answer = new Promise(done => {
			const look = () => { if (text() !== was) { watch.disconnect(); done(was + ' → ' + text()); } };
			const watch = new MutationObserver(look);
			watch.observe(document, { subtree: true, childList: true, characterData: true });
			setTimeout(() => { watch.disconnect(); done(was + ' → (no answer)'); }, `+answerTime+`);
		});
		const r = button.getBoundingClientRect();
		return { X: r.left + r.width / 2, Y: r.top + r.height / 2 };
	})()`))
	if err != nil || at == nil {
		return err
	}
	for _, kind := range []input.DispatchMouseEventType{"mouseMoved", "mousePressed", "mouseReleased"} {
		p := input.DispatchMouseEventParams{Type: kind, X: at.X, Y: at.Y}
		if kind != "mouseMoved" {
			p.Button, p.ClickCount = "left", 1
		}
		if _, err := chromedp.Call(ctx, input.DispatchMouseEvent, p); err != nil {
			return err
		}
	}
	v.snapshot.Click, err = chromedp.Run(ctx, chromedp.Evaluate[string](`window.__answer`, chromedp.EvalAwaitPromise))
	return err
}

// answerTime is how long a page may take to answer a click, in milliseconds: forever, to a person.
const answerTime = "10000"

// stored lists what the page's service worker has in its caches, once that has come to rest.
func (v *visit) stored(ctx context.Context) error {
	b, err := chromedp.Run(ctx, chromedp.Evaluate[[]byte](`(async () => {
		if (!navigator.serviceWorker || !(await navigator.serviceWorker.getRegistrations()).length) return [];
		await navigator.serviceWorker.ready;
		const list = async () => {
			const urls = [];
			for (const key of await caches.keys())
				for (const request of await (await caches.open(key)).keys()) urls.push(new URL(request.url).pathname.replace(/[0-9a-f]{40}/g, 'HASH'));
			return [...new Set(urls)].sort();
		};
		// There is no event for the end of its work. A page may name what its worker stores last, which can be after a rest of
		// seconds; then it is over when the list has not grown for a second, and in any case after 30 seconds.
		const last = document.documentElement.dataset.e2eStored, end = Date.now() + 30000;
		let now = await list(), since = Date.now();
		while (Date.now() < end && (Date.now() - since < 1000 || !now.length || last && !now.includes(last))) {
			await new Promise(done => setTimeout(done, 50));
			const next = await list();
			if (next.length !== now.length) { now = next; since = Date.now(); }
		}
		return now;
	})()`, chromedp.EvalAwaitPromise, chromedp.EvalAsValue))
	if err != nil {
		return fmt.Errorf("ask the service worker: %w", err)
	}
	return json.Unmarshal(b, &v.snapshot.Stored)
}

// listen takes note of the events of the page. It runs on the connection's own goroutine.
func (v *visit) listen(event any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e := event.(type) {
	case *page.EventLifecycleEvent:
		if e.Name == "networkIdle" {
			if v.idle == nil {
				v.idle = map[cdp.LoaderID]bool{}
			}
			v.idle[e.LoaderID] = true
			select {
			case v.arrived <- struct{}{}:
			default:
			}
		}
	case *log.EventEntryAdded:
		// what the network says is in the list of failures
		if e.Entry.Level == "error" && e.Entry.Source != "network" {
			v.snapshot.Console = append(v.snapshot.Console, firstLine(e.Entry.Text))
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "assert" {
			v.snapshot.Console = append(v.snapshot.Console, "console."+string(e.Type)+": "+firstLine(argumentText(e.Args)))
		}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil && e.ExceptionDetails.Exception.Description != "" {
			text = e.ExceptionDetails.Exception.Description
		}
		v.snapshot.Console = append(v.snapshot.Console, "not caught: "+firstLine(text))
	case *network.EventRequestWillBeSent:
		v.urls[e.RequestID] = e.Request.URL
	case *network.EventResponseReceived:
		if e.Response.Status >= 400 {
			v.snapshot.Failures = append(v.snapshot.Failures, fmt.Sprintf("%d %s", e.Response.Status, shortURL(e.Response.URL)))
		}
	case *network.EventLoadingFailed:
		// what the browser itself gave up, such as a guess ahead of a click, is nobody's failure
		if !e.Canceled || e.BlockedReason != "" {
			why := e.ErrorText
			if e.BlockedReason != "" {
				why = "blocked (" + string(e.BlockedReason) + ")"
			}
			v.snapshot.Failures = append(v.snapshot.Failures, why+" "+shortURL(v.urls[e.RequestID]))
		}
	}
}

func shortURL(url string) string { return strings.TrimPrefix(url, "http://"+host) }

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if len(line) > 200 {
		line = line[:200] + "…"
	}
	return line
}

func argumentText(args []*runtime.RemoteObject) string {
	var words []string
	for _, a := range args {
		text := a.Description
		if text == "" {
			text = strings.Trim(string(a.Value), `"`)
		}
		words = append(words, text)
	}
	return strings.Join(words, " ")
}
