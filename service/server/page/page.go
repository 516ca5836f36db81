// Package page is the pages for people: sign in by a link, look at a device login, approve or deny
// it.
//
// Who may do that is decided in service/auth.
package page

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/server/route"
)

// They need no script. A form is believed when the browser says that one of our pages sent it, and
// when it carries a token that was made for this session and this very purpose.

//go:embed templates
var templates embed.FS

// Limits count what people type.
type Limits interface {
	// TakeCode counts one user code that was typed, right or wrong.
	TakeCode(ctx context.Context, session, ip string) error
	// TakeAddress counts one request without a good credential.
	TakeAddress(ctx context.Context, ip string) error
}

// Config is what Pages are made of. All fields must be set.
type Config struct {
	Devices   *auth.Devices
	Sessions  *auth.Sessions
	App       *githubapp.Registry
	PublicURL string // where people reach the service; it has no slash at its end
	Limits    Limits
	Log       *slog.Logger
}

// Pages are the pages for people.
type Pages struct {
	cfg       Config
	templates *template.Template
	style     template.CSS
	policy    string // lets the style in and nothing else
}

// New returns the pages.
func New(cfg Config) *Pages {
	style, err := templates.ReadFile("templates/style.css")
	if err != nil {
		panic(err) // it is embedded
	}
	sum := sha256.Sum256(style)
	return &Pages{
		cfg:       cfg,
		templates: template.Must(template.ParseFS(templates, "templates/*.html")),
		style:     template.CSS(style),
		policy: "default-src 'none'; style-src 'sha256-" +
			base64.StdEncoding.EncodeToString(sum[:]) +
			"'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
	}
}

// Routes are the routes of the pages.
func (p *Pages) Routes() []route.Route {
	return []route.Route{
		route.Get("/device", route.SignedIn, p.deviceForm).As(route.Page),
		route.Post("/device", route.SignedIn, p.deviceConfirm).As(route.Page),
		route.Post("/device/approve", route.SignedIn, p.deviceApprove).As(route.Page),
		route.Post("/device/deny", route.SignedIn, p.deviceDeny).As(route.Page),
		route.Get("/sign-in", route.Open, p.signInForm).As(route.Page),
		route.Post("/sign-in", route.Open, p.signIn).As(route.Page),
		route.Post("/sign-out", route.SignedIn, p.signOut).As(route.Page),
		route.Get(githubapp.SetupPath, route.ByLink, p.setupForm).As(route.Page),
		route.Get(githubapp.CallbackPath, route.ByLink, p.setupDone).As(route.Page),
	}
}

// Refusals is how the errors of the pages look on the wire.
func Refusals() []route.Refusal {
	return []route.Refusal{
		{Err: errForeignForm, Status: http.StatusForbidden, Code: api.CodeInvalidRequest},
		{Err: errStaleForm, Status: http.StatusForbidden, Code: api.CodeInvalidRequest},
		{Err: errUsedLink, Status: http.StatusForbidden, Code: api.CodeInvalidRequest},
		{Err: githubapp.ErrLink, Status: http.StatusForbidden, Code: api.CodeInvalidRequest},
		{Err: errSetupFailed, Status: http.StatusServiceUnavailable, Code: api.CodeUnavailable},
	}
}

// view is what a page shows.
type view struct {
	Style   template.CSS
	Email   string // of the person who is signed in
	SignOut string // form token

	Title    string
	Text     string
	Fault    string // what was wrong with what was typed
	Form     string // form token
	UserCode string
	Link     string // secret of a sign-in link
	Login    auth.DeviceLogin
	Setup    githubapp.Form
	Policy   string // of the page; empty: that of all pages
}

// Since says when the login was begun.
func (v view) Since() string { return v.Login.CreatedAt.UTC().Format("15:04 UTC on 2 January 2006") }

// show writes a page.
func (p *Pages) show(c *gin.Context, status int, name string, v view) error {
	v.Style = p.style
	if who, ok := route.CallerOf(c); ok && who.Session != nil {
		v.Email, v.SignOut = who.Account.Email, who.Session.FormToken(purposeSignOut)
	}
	var out bytes.Buffer
	if err := p.templates.ExecuteTemplate(&out, name, v); err != nil {
		return err
	}
	h := c.Writer.Header()
	h.Set("Content-Security-Policy", cmp.Or(v.Policy, p.policy))
	h.Set("Referrer-Policy",
		"same-origin") // with less, the browser would not say where a form comes from
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	c.Data(status, "text/html; charset=utf-8", out.Bytes())
	return nil
}

// Message shows a page with a text and a way on.
func (p *Pages) Message(c *gin.Context, status int, title, text string) {
	if err := p.show(c, status, "message.html", view{Title: title, Text: text}); err != nil {
		p.cfg.Log.Error("page", "request_id", route.RequestID(c), "err", err)
	}
}

// The purposes of form tokens.
const (
	purposeDevice  = "device"
	purposeDecide  = "decide " // and the user code: only who was shown the login can decide it
	purposeSignOut = "sign-out"
)

var (
	errForeignForm = errors.New("this form was not sent by a page of this service: open the page anew, at the address that the service calls its own")
	errStaleForm   = errors.New("this form is not of your present session: go back, open the page anew, and try again")
	errUsedLink    = errors.New("this sign-in link is not known, was used already, or has expired: ask the operator of this service for a new one")
)

// bindPage reads a form that one of our own pages sent. errForeignForm.
func (p *Pages) bindPage(c *gin.Context) (map[string]string, error) {
	if !p.ownForm(c.Request) {
		return nil, errForeignForm
	}
	return route.Form(c)
}

// ownForm says whether the browser names our own origin as the sender. Our own is the public URL: a
// Host header says what a caller likes.
func (p *Pages) ownForm(r *http.Request) bool {
	if site := r.Header.Values("Sec-Fetch-Site"); len(site) > 0 &&
		(len(site) > 1 || site[0] != "same-origin") {
		return false
	}
	origin := r.Header.Values("Origin")
	return len(origin) == 1 && origin[0] == p.origin()
}

// origin is that of the public URL as browsers write it: lower case, without the port that the
// scheme has anyway.
func (p *Pages) origin() string {
	u, err := url.Parse(p.cfg.PublicURL)
	if err != nil {
		return ""
	}
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + host
}

// wantForm reads a form of one of our own pages that was made for the caller's session and a
// purpose. errForeignForm, errStaleForm.
func (p *Pages) wantForm(c *gin.Context,
	purpose func(form map[string]string) string) (map[string]string, error) {
	form, err := p.bindPage(c)
	if err != nil {
		return nil, err
	}
	if !route.Caller(c).Session.CheckFormToken(purpose(form), form["form"]) {
		return nil, errStaleForm
	}
	return form, nil
}

func requirePurpose(purpose string) func(map[string]string) string {
	return func(map[string]string) string { return purpose }
}

// secure says whether browsers reach us by https.
func (p *Pages) secure() bool { return strings.HasPrefix(p.cfg.PublicURL, "https://") }

// cookieName has a prefix with which browsers keep neighbouring hosts from setting the cookie,
// where they do that: on https.
func (p *Pages) cookieName() string {
	if p.secure() {
		return "__Host-pageflare-session"
	}
	return "pageflare-session"
}

func (p *Pages) setSession(c *gin.Context, secret string, lifetime time.Duration) {
	age := int(lifetime / time.Second)
	if secret == "" {
		age = -1
	}
	http.SetCookie(c.Writer, &http.Cookie{
		Name: p.cookieName(), Value: secret, Path: "/", MaxAge: age, Secure: p.secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// session is whose session the browser shows. license.ErrUnauthenticated: it shows none, none that
// is good, or two.
func (p *Pages) session(c *gin.Context) (auth.Caller, error) {
	cookies := c.Request.CookiesNamed(p.cookieName())
	if len(cookies) != 1 {
		return auth.Caller{}, auth.ErrUnauthenticated
	}
	return p.cfg.Sessions.Session(c.Request.Context(), cookies[0].Value)
}

// RequireSession is the guard of pages for people who are signed in. It sends others to the sign-in
// page, and remembers the code they came with.
func (p *Pages) RequireSession(c *gin.Context) error {
	who, err := p.session(c)
	switch {
	case errors.Is(err, auth.ErrUnauthenticated):
		p.rememberCode(c, auth.NormalUserCode(c.Query("user_code")))
		c.Redirect(http.StatusSeeOther, withCode("/sign-in", c.Query("user_code")))
		c.Abort()
		return nil
	case err != nil:
		return err
	}
	route.SetCaller(c, who)
	return nil
}

// codeCookie holds the user code of somebody who has to sign in first: they go on by a link that
// came by mail or chat, which knows nothing of it. It is filled in, and approves nothing.
const codeCookie = "pageflare-user-code"

// rememberCode sets the cookie for as long as a code is good; "" takes it away.
func (p *Pages) rememberCode(c *gin.Context, code string) {
	age := int(auth.DeviceCodeTTL / time.Second)
	if code == "" {
		if len(c.Request.CookiesNamed(codeCookie)) == 0 {
			return
		}
		age = -1
	}
	http.SetCookie(c.Writer, &http.Cookie{
		Name: codeCookie, Value: code, Path: "/sign-in", MaxAge: age, Secure: p.secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// codeOf is the user code of the address, else the one that the browser remembers.
func codeOf(c *gin.Context) string {
	if code := auth.NormalUserCode(c.Query("user_code")); code != "" {
		return code
	}
	cookie, err := c.Request.Cookie(codeCookie)
	if err != nil {
		return ""
	}
	return auth.NormalUserCode(cookie.Value)
}

// withCode adds a user code to one of our paths. What cannot be a code is left out, so nothing of a
// stranger's gets in.
func withCode(path, userCode string) string {
	if code := auth.NormalUserCode(userCode); code != "" {
		return path + "?user_code=" + code
	}
	return path
}

// signInForm answers GET /sign-in. Looking at a link does not use it up: programs that preview
// links do that too.
func (p *Pages) signInForm(c *gin.Context) error {
	v := view{Title: "Sign in", UserCode: codeOf(c)}
	link := c.Query("link")
	if link == "" {
		return p.show(c, http.StatusOK, "sign-in.html", v)
	}
	a, err := p.cfg.Sessions.SignInAccount(c.Request.Context(), link)
	if errors.Is(err, auth.ErrUnauthenticated) {
		return errUsedLink
	}
	if err != nil {
		return err
	}
	v.Link, v.Text = link, a.Email
	return p.show(c, http.StatusOK, "sign-in.html", v)
}

// signIn answers POST /sign-in: it uses the link up. The session is always a new one, whatever
// cookie the browser had, and that one's ends.
func (p *Pages) signIn(c *gin.Context) error {
	form, err := p.bindPage(c)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	secret, _, err := p.cfg.Sessions.SignIn(ctx, linkSecret(form["link"]))
	if errors.Is(err, auth.ErrUnauthenticated) {
		if over := p.cfg.Limits.TakeAddress(ctx, route.Address(c)); over != nil {
			return over
		}
		return errUsedLink
	}
	if err != nil {
		return err
	}
	if old, err := p.session(c); err == nil {
		if err := p.cfg.Sessions.SignOut(ctx, old); err != nil {
			return err
		}
	}
	p.setSession(c, secret.Reveal(), auth.SessionTTL)
	p.rememberCode(c, "")
	c.Redirect(http.StatusSeeOther, withCode("/device", form["user_code"]))
	return nil
}

// linkSecret finds the secret in a link that was pasted whole.
func linkSecret(typed string) string {
	typed = strings.TrimSpace(typed)
	if _, after, ok := strings.Cut(typed, "link="); ok {
		return after
	}
	return typed
}

// signOut answers POST /sign-out.
func (p *Pages) signOut(c *gin.Context) error {
	if _, err := p.wantForm(c, requirePurpose(purposeSignOut)); err != nil {
		return err
	}
	if err := p.cfg.Sessions.SignOut(c.Request.Context(), route.Caller(c)); err != nil {
		return err
	}
	p.setSession(c, "", 0)
	c.Redirect(http.StatusSeeOther, "/sign-in")
	return nil
}

// deviceForm answers GET /device. A code that came with the address is filled in, and nothing is
// done before the person goes on.
func (p *Pages) deviceForm(c *gin.Context) error {
	return p.showDeviceForm(c, http.StatusOK, auth.NormalUserCode(c.Query("user_code")), "")
}

func (p *Pages) showDeviceForm(c *gin.Context, status int, code, fault string) error {
	return p.show(c, status, "device.html", view{
		Title: "Connect a program", UserCode: code, Fault: fault, Form: route.Caller(c).Session.FormToken(purposeDevice),
	})
}

// deviceConfirm answers POST /device: it shows which program asks.
func (p *Pages) deviceConfirm(c *gin.Context) error {
	form, err := p.wantForm(c, requirePurpose(purposeDevice))
	if err != nil {
		return err
	}
	code := auth.NormalUserCode(form["user_code"])
	if code == "" {
		route.RecordRefusal(c, api.CodeInvalidRequest, "no user code")
		return p.showDeviceForm(c, http.StatusBadRequest, "",
			"That is no code. A code has eight letters, such as WDJB-MJHT.")
	}
	if err := p.cfg.Limits.TakeCode(c.Request.Context(), route.Caller(c).Session.ID,
		route.Address(c)); err != nil {
		return err
	}
	d, err := p.cfg.Devices.FindDevice(c.Request.Context(), code)
	if errors.Is(err, auth.ErrUnknownCode) {
		route.RecordRefusal(c, api.CodeNotFound, err.Error())
		return p.showDeviceForm(c, http.StatusNotFound, code,
			"This code is not known, was used already, or has expired. Compare it with what the program shows.")
	}
	if err != nil {
		return err
	}
	return p.show(c, http.StatusOK, "confirm.html", view{
		Title: "Approve this login?", UserCode: code, Login: d, Form: route.Caller(c).Session.FormToken(purposeDecide + code),
	})
}

// deviceApprove answers POST /device/approve.
func (p *Pages) deviceApprove(c *gin.Context) error {
	code, err := p.decisionCode(c)
	if err != nil {
		return err
	}
	d, err := p.cfg.Devices.ApproveDevice(c.Request.Context(), route.Caller(c), code)
	if err != nil {
		return err
	}
	p.Message(c, http.StatusOK, "Approved",
		"You approved the login of "+d.ClientName()+
			". It continues on its own in a few seconds; you can close this page.")
	return nil
}

// deviceDeny answers POST /device/deny.
func (p *Pages) deviceDeny(c *gin.Context) error {
	code, err := p.decisionCode(c)
	if err != nil {
		return err
	}
	if _, err := p.cfg.Devices.DenyDevice(c.Request.Context(), route.Caller(c), code); err != nil {
		return err
	}
	p.Message(c, http.StatusOK, "Denied",
		"You denied the login. The program that asked gets nothing.")
	return nil
}

// decisionCode is the user code of a form that the caller was shown together with the login behind
// it.
func (p *Pages) decisionCode(c *gin.Context) (string, error) {
	form, err := p.wantForm(c,
		func(form map[string]string) string { return purposeDecide + form["user_code"] })
	return form["user_code"], err
}
