package server

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/show"
)

// The pages for people: sign in by a link, look at a device login, approve or deny it. They need no script. A form is believed when the browser
// says that one of our pages sent it, and when it carries a token that was made for this session and this very purpose.

//go:embed templates
var templates embed.FS

// pages are the templates, with the policy that lets their style in and nothing else.
type pages struct {
	templates *template.Template
	style     template.CSS
	policy    string
}

func newPages() *pages {
	style, err := templates.ReadFile("templates/style.css")
	if err != nil {
		panic(err) // it is embedded
	}
	sum := sha256.Sum256(style)
	return &pages{
		templates: template.Must(template.ParseFS(templates, "templates/*.html")),
		style:     template.CSS(style),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
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
}

// Since says when the login was begun.
func (v view) Since() string { return v.Login.CreatedAt.UTC().Format("15:04 UTC on 2 January 2006") }

// show writes a page.
func (s *Server) show(c *gin.Context, status int, name string, v view) error {
	v.Style = s.pages.style
	if who, ok := c.Get(callerKey); ok && who.(auth.Caller).Session != nil {
		session := who.(auth.Caller).Session
		v.Email, v.SignOut = who.(auth.Caller).Account.Email, session.FormToken(purposeSignOut)
	}
	var out bytes.Buffer
	if err := s.pages.templates.ExecuteTemplate(&out, name, v); err != nil {
		return err
	}
	h := c.Writer.Header()
	h.Set("Content-Security-Policy", s.pages.policy)
	h.Set("Referrer-Policy", "same-origin") // with less, the browser would not say where a form comes from
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	c.Data(status, "text/html; charset=utf-8", out.Bytes())
	return nil
}

// message shows a page with a text and a way on.
func (s *Server) message(c *gin.Context, status int, title, text string) {
	if err := s.show(c, status, "message.html", view{Title: title, Text: text}); err != nil {
		s.log.Error("page", "request_id", requestID(c), "err", err)
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
	errUsedLink    = errors.New("this sign-in link is not known, was used already, or has expired: ask those who run this service for a new one")
)

// bindPage reads a form that one of our own pages sent. errForeignForm.
func (s *Server) bindPage(c *gin.Context) (map[string]string, error) {
	if !s.ownForm(c.Request) {
		return nil, errForeignForm
	}
	return bindForm(c)
}

// ownForm says whether the browser names our own origin as the sender. Our own is the public URL: a Host header says what a caller likes.
func (s *Server) ownForm(r *http.Request) bool {
	if site := r.Header.Values("Sec-Fetch-Site"); len(site) > 0 && (len(site) > 1 || site[0] != "same-origin") {
		return false
	}
	origin := r.Header.Values("Origin")
	return len(origin) == 1 && origin[0] == s.origin()
}

// origin is that of the public URL as browsers write it: lower case, without the port that the scheme has anyway.
func (s *Server) origin() string {
	u, err := url.Parse(s.parts.PublicURL)
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

// wantForm reads a form of one of our own pages that was made for the caller's session and a purpose. errForeignForm, errStaleForm.
func (s *Server) wantForm(c *gin.Context, purpose func(form map[string]string) string) (map[string]string, error) {
	form, err := s.bindPage(c)
	if err != nil {
		return nil, err
	}
	if !caller(c).Session.CheckFormToken(purpose(form), form["form"]) {
		return nil, errStaleForm
	}
	return form, nil
}

func always(purpose string) func(map[string]string) string {
	return func(map[string]string) string { return purpose }
}

// secure says whether browsers reach us by https.
func (s *Server) secure() bool { return strings.HasPrefix(s.parts.PublicURL, "https://") }

// cookieName has a prefix with which browsers keep neighbouring hosts from setting the cookie, where they do that: on https.
func (s *Server) cookieName() string {
	if s.secure() {
		return "__Host-pageflare-session"
	}
	return "pageflare-session"
}

func (s *Server) setSession(c *gin.Context, secret string, life time.Duration) {
	age := int(life / time.Second)
	if secret == "" {
		age = -1
	}
	http.SetCookie(c.Writer, &http.Cookie{
		Name: s.cookieName(), Value: secret, Path: "/", MaxAge: age, Secure: s.secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// session is whose session the browser shows. license.ErrUnauthenticated: it shows none, none that is good, or two.
func (s *Server) session(c *gin.Context) (auth.Caller, error) {
	cookies := c.Request.CookiesNamed(s.cookieName())
	if len(cookies) != 1 {
		return auth.Caller{}, auth.ErrUnauthenticated
	}
	return s.parts.Sessions.Session(c.Request.Context(), cookies[0].Value)
}

// wantSession is the guard of pages for people who are signed in. It sends others to the sign-in page, and remembers the code they came with.
func (s *Server) wantSession(c *gin.Context) {
	who, err := s.session(c)
	switch {
	case errors.Is(err, auth.ErrUnauthenticated):
		c.Redirect(http.StatusSeeOther, withCode("/sign-in", c.Query("user_code")))
		c.Abort()
	case err != nil:
		s.fail(c, err)
		c.Abort()
	default:
		setCaller(c, who)
	}
}

// withCode adds a user code to one of our paths. What cannot be a code is left out, so nothing of a stranger's gets in.
func withCode(path, userCode string) string {
	if code := auth.NormalUserCode(userCode); code != "" {
		return path + "?user_code=" + code
	}
	return path
}

// signInForm answers GET /sign-in. Looking at a link does not use it up: programs that preview links do that too.
func (s *Server) signInForm(c *gin.Context) error {
	v := view{Title: "Sign in", UserCode: auth.NormalUserCode(c.Query("user_code"))}
	link := c.Query("link")
	if link == "" {
		return s.show(c, http.StatusOK, "sign-in.html", v)
	}
	a, err := s.parts.Sessions.SignInAccount(c.Request.Context(), link)
	if errors.Is(err, auth.ErrUnauthenticated) {
		return errUsedLink
	}
	if err != nil {
		return err
	}
	v.Link, v.Text = link, a.Email
	return s.show(c, http.StatusOK, "sign-in.html", v)
}

// signIn answers POST /sign-in: it uses the link up. The session is always a new one, whatever cookie the browser had, and that one's ends.
func (s *Server) signIn(c *gin.Context) error {
	form, err := s.bindPage(c)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	secret, _, err := s.parts.Sessions.SignIn(ctx, linkSecret(form["link"]))
	if errors.Is(err, auth.ErrUnauthenticated) {
		if over := s.limits.takeAddress(ctx, c.ClientIP()); over != nil {
			return over
		}
		return errUsedLink
	}
	if err != nil {
		return err
	}
	if old, err := s.session(c); err == nil {
		if err := s.parts.Sessions.SignOut(ctx, old); err != nil {
			return err
		}
	}
	s.setSession(c, secret.Reveal(), auth.SessionLife)
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
func (s *Server) signOut(c *gin.Context) error {
	if _, err := s.wantForm(c, always(purposeSignOut)); err != nil {
		return err
	}
	if err := s.parts.Sessions.SignOut(c.Request.Context(), caller(c)); err != nil {
		return err
	}
	s.setSession(c, "", 0)
	c.Redirect(http.StatusSeeOther, "/sign-in")
	return nil
}

// deviceForm answers GET /device. A code that came with the address is filled in, and nothing is done before the person goes on.
func (s *Server) deviceForm(c *gin.Context) error {
	return s.showDeviceForm(c, http.StatusOK, auth.NormalUserCode(c.Query("user_code")), "")
}

func (s *Server) showDeviceForm(c *gin.Context, status int, code, fault string) error {
	return s.show(c, status, "device.html", view{
		Title: "Connect a program", UserCode: code, Fault: fault, Form: caller(c).Session.FormToken(purposeDevice),
	})
}

// deviceConfirm answers POST /device: it shows which program asks.
func (s *Server) deviceConfirm(c *gin.Context) error {
	form, err := s.wantForm(c, always(purposeDevice))
	if err != nil {
		return err
	}
	code := auth.NormalUserCode(form["user_code"])
	if code == "" {
		because(c, api.CodeInvalidRequest, "no user code")
		return s.showDeviceForm(c, http.StatusBadRequest, "", "That is no code. A code has eight letters, such as WDJB-MJHT.")
	}
	if err := s.limits.takeCode(c.Request.Context(), caller(c).Session.ID, c.ClientIP()); err != nil {
		return err
	}
	d, err := s.parts.Devices.FindDevice(c.Request.Context(), code)
	if errors.Is(err, auth.ErrUnknownCode) {
		because(c, api.CodeNotFound, err.Error())
		return s.showDeviceForm(c, http.StatusNotFound, code, "This code is not known, was used already, or has expired. Compare it with what the program shows.")
	}
	if err != nil {
		return err
	}
	return s.show(c, http.StatusOK, "confirm.html", view{
		Title: "Approve this login?", UserCode: code, Login: d, Form: caller(c).Session.FormToken(purposeDecide + code),
	})
}

// deviceApprove answers POST /device/approve.
func (s *Server) deviceApprove(c *gin.Context) error {
	code, err := s.decided(c)
	if err != nil {
		return err
	}
	d, err := s.parts.Devices.ApproveDevice(c.Request.Context(), caller(c), code)
	if err != nil {
		return err
	}
	s.message(c, http.StatusOK, "Approved", "You approved the login of "+d.ClientName()+". It goes on by itself in a few seconds; you can close this page.")
	return nil
}

// deviceDeny answers POST /device/deny.
func (s *Server) deviceDeny(c *gin.Context) error {
	code, err := s.decided(c)
	if err != nil {
		return err
	}
	if _, err := s.parts.Devices.DenyDevice(c.Request.Context(), caller(c), code); err != nil {
		return err
	}
	s.message(c, http.StatusOK, "Denied", "You denied the login. The program that asked gets nothing.")
	return nil
}

// decided is the user code of a form that the caller was shown together with the login behind it.
func (s *Server) decided(c *gin.Context) (string, error) {
	form, err := s.wantForm(c, func(form map[string]string) string { return purposeDecide + form["user_code"] })
	return form["user_code"], err
}

// createSignInLink answers POST /_api/admin/accounts/{id}/sign-in.
func (s *Server) createSignInLink(c *gin.Context) error {
	link, ends, err := s.parts.Sessions.CreateSignInLink(c.Request.Context(), c.Param("id"))
	return answer(c, func(ends time.Time) api.SignInLink {
		return api.SignInLink{URL: link.Reveal(), ExpiresAt: show.Time(ends)}
	}, ends, err)
}
