package githubapp

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
)

// Local is a listener on this machine by which a command makes the App: its page posts the manifest
// to GitHub, and GitHub sends the browser back to it. The address of the page has a secret, so that
// no other user of the machine can make the App in the operator's place.
type Local struct {
	registry *Registry
	ask      Ask
	secret   opaque.Secret
	at       string // http://127.0.0.1:PORT
	form     Form
	server   *http.Server
	made     chan App // one, when the App is there
	failed   chan error
	ended    chan struct{} // closed when nothing is served any more
}

// Listen starts the listener; port 0 picks one. Refusals: those of Check.
func (r *Registry) Listen(ctx context.Context, ask Ask, port int) (*Local, error) {
	if err := r.Check(ctx, ask); err != nil {
		return nil, err
	}
	secret, err := r.NewSecret()
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen for the answer of GitHub: %w: choose another port with --port", err)
	}
	l := &Local{
		registry: r, ask: ask, secret: secret, at: "http://" + listener.Addr().String(),
		made: make(chan App, 1), failed: make(chan error, 1), ended: make(chan struct{}),
	}
	if l.form, err = r.Form(ask, l.at+"/done", State(secret)); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /start/{secret}", l.start)
	mux.HandleFunc("GET /done", l.done)
	l.server = &http.Server{
		Handler: l.fromHere(mux), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: time.Minute,
		BaseContext:  func(net.Listener) context.Context { return ctx },
	}
	go func() {
		defer close(l.ended)
		_ = l.server.Serve(listener) // until Close
	}()
	return l, nil
}

// URL is the page to open in a browser on this machine.
func (l *Local) URL() opaque.Secret { return opaque.Secret(l.at + "/start/" + l.secret.Reveal()) }

// Wait returns the App that was made, or why none was.
func (l *Local) Wait(ctx context.Context) (App, error) {
	select {
	case a := <-l.made:
		return a, nil
	case err := <-l.failed:
		return App{}, err
	case <-ctx.Done():
		return App{}, fmt.Errorf("no App was made: %w", ctx.Err())
	}
}

// Close ends the listener, when the page that is being written has been.
func (l *Local) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var err error
	if l.server.Shutdown(ctx) != nil {
		err = l.server.Close()
	}
	<-l.ended
	return err
}

// Paste takes the address that GitHub sent a browser to which could not reach the listener.
func (l *Local) Paste(ctx context.Context, address string) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil {
		l.fail(failure.Invalid("that is not the address that GitHub sent the browser to"))
		return
	}
	if _, err := l.finish(ctx, u.Query()); err != nil {
		l.fail(err)
	}
}

func (l *Local) fail(err error) {
	select {
	case l.failed <- err:
	default:
	}
}

// finish makes the App of an answer of GitHub's, and says what became of it.
func (l *Local) finish(ctx context.Context, query url.Values) (App, error) {
	if subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(State(l.secret))) != 1 {
		return App{}, ErrLink // it may be anybody: who asked goes on waiting
	}
	a, err := l.registry.Convert(ctx, l.ask, query.Get("code"))
	if err != nil {
		l.fail(err)
		return a, err
	}
	select {
	case l.made <- a:
	default:
	}
	return a, nil
}

// fromHere refuses what a page of another site makes a browser ask by a name that it lets point to
// this machine.
func (l *Local) fromHere(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if "http://"+r.Host != l.at {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; form-action "+l.form.Origin+
			" https:; frame-ancestors 'none'; base-uri 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (l *Local) start(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.PathValue("secret")), []byte(l.secret.Reveal())) != 1 {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	_ = localPage.Execute(w, l.form) // a browser that is gone
}

func (l *Local) done(w http.ResponseWriter, r *http.Request) {
	a, err := l.finish(r.Context(), r.URL.Query())
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		_ = localEnd.Execute(w, map[string]any{
			"Title": "No App was made", "Text": "The terminal says why. You can close this page.",
		})
		return
	}
	_ = localEnd.Execute(w, map[string]any{
		"Title": "The GitHub App " + a.Slug + " was made", "Link": a.InstallURL(),
		"Text": "Install it next, in the account whose repositories it is for.",
	})
}

var localPage = template.Must(template.New("start").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Make the GitHub App</title>
<h1>Make the GitHub App of your License service</h1>
<p>GitHub asks you to confirm, for {{with .Organization}}the organization {{.}}{{else}}your own account{{end}}.</p>
<form method="post" action="{{.Action}}"><input type="hidden" name="manifest" value="{{.Manifest}}">
<button>Continue to GitHub</button></form>
`))

var localEnd = template.Must(template.New("end").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{.Title}}</title>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{with .Link}}<p><a href="{{.}}">{{.}}</a></p>{{end}}
`))
