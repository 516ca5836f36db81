package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The load is made by connections that speak HTTP/1.1 themselves: each has one request on its way,
// puts it together from bytes that are ready, and reads no more of an answer than its status, its
// length and its token. A full client would take more of the machine than the servers that are
// measured, and hide what differs between them. Every server gets its load from this code.

// target is what is asked for.
type target struct {
	addr         string
	method, path string
	kind, body   string       // content type and body; empty: none
	status       string       // of the answer; empty: 200
	credential   string       // the header whose value a bearer is, up to it; empty: that of bearers
	header       string       // lines of other headers
	cpu          func() usage // what those that answer have used so far
}

// bearers gives one connection its credentials.
type bearers interface {
	// next is the bearer of the next request; nil: there is none any more.
	next() []byte
	// answered is told the body of the answer.
	answered(body []byte) error
}

// figures are what one load came to.
type figures struct {
	answers   int
	perSecond float64
	p50, p99  time.Duration
	cpu       usage         // of those that answer, for each answer
	load      time.Duration // processor time of the load itself, for each answer
}

// load asks over and over, on a connection for each of the bearers, for so long or until there
// are none any more. An answer with another status than the target's is an error.
func load(ctx context.Context, what target, each []bearers, length time.Duration) (figures, error) {
	callers := make([]*caller, len(each))
	defer func() {
		for _, c := range callers {
			if c != nil {
				_ = c.conn.Close()
			}
		}
	}()
	for i, b := range each {
		c, err := newCaller(ctx, what, b)
		if err != nil {
			return figures{}, err
		}
		callers[i] = c
	}
	used, own, begun := what.cpu(), processorTime(syscall.RUSAGE_SELF), time.Now()
	errs := make([]error, len(callers))
	var wg sync.WaitGroup
	for i, c := range callers {
		wg.Go(func() { errs[i] = c.run(ctx, begun.Add(length)) })
	}
	wg.Wait()
	elapsed, ownThen, usedThen := time.Since(begun), processorTime(syscall.RUSAGE_SELF), what.cpu()
	if err := errors.Join(errs...); err != nil {
		return figures{}, firstOf(err)
	}
	var took []time.Duration
	for _, c := range callers {
		took = append(took, c.took...)
	}
	if len(took) == 0 {
		return figures{}, errors.Join(ctx.Err(), errors.New("no request was answered"))
	}
	slices.Sort(took)
	return figures{
		answers: len(took), perSecond: float64(len(took)) / elapsed.Seconds(),
		p50: took[len(took)/2], p99: took[len(took)*99/100], cpu: usedThen.since(used, len(took)),
		load: (ownThen - own) / time.Duration(len(took)),
	}, nil
}

// firstOf is the first of many errors, which say the same.
func firstOf(err error) error {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) && len(many.Unwrap()) > 0 {
		return many.Unwrap()[0]
	}
	return err
}

// caller is one connection.
type caller struct {
	conn          net.Conn
	before, after []byte // of the bearer in a request
	status        []byte
	bearers       bearers
	out, in       []byte
	took          []time.Duration
}

const (
	answerSize     = 8 << 10          // of the longest answer
	answerPatience = 10 * time.Second // for the last answer of a load
)

func newCaller(ctx context.Context, what target, b bearers) (*caller, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", what.addr)
	if err != nil {
		return nil, err
	}
	c := &caller{
		conn: conn, bearers: b, in: make([]byte, answerSize), took: make([]time.Duration, 0, 4096),
		before: fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n%s%s", what.method, what.path, what.addr, what.header,
			cmp.Or(what.credential, "Authorization: Bearer ")),
		after: []byte("\r\n\r\n"), status: []byte(what.status),
	}
	if what.status == "" {
		c.status = []byte("200")
	}
	if what.body != "" {
		c.after = fmt.Appendf(nil, "\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", what.kind, len(what.body), what.body)
	}
	return c, nil
}

func (c *caller) run(ctx context.Context, end time.Time) error {
	if err := c.conn.SetDeadline(end.Add(answerPatience)); err != nil {
		return err
	}
	for now := time.Now(); now.Before(end) && ctx.Err() == nil; {
		bearer := c.bearers.next()
		if bearer == nil {
			return nil
		}
		body, err := c.ask(bearer)
		if err != nil {
			return err
		}
		done := time.Now()
		c.took, now = append(c.took, done.Sub(now)), done
		if err := c.bearers.answered(body); err != nil {
			return err
		}
	}
	return nil
}

// ask makes one request and returns the body of its answer, which is good until the next call.
func (c *caller) ask(bearer []byte) ([]byte, error) {
	c.out = append(append(append(c.out[:0], c.before...), bearer...), c.after...)
	if _, err := c.conn.Write(c.out); err != nil {
		return nil, err
	}
	for n := 0; ; {
		if n == len(c.in) {
			return nil, fmt.Errorf("an answer is longer than %d bytes", len(c.in))
		}
		more, err := c.conn.Read(c.in[n:])
		if n += more; err != nil {
			return nil, err
		}
		body, whole, err := parseAnswer(c.in[:n])
		if err != nil {
			return nil, err
		}
		if !whole {
			continue
		}
		if got := c.in[len(statusLine):][:3]; !bytes.Equal(got, c.status) {
			return nil, fmt.Errorf("status %s: %s", got, body)
		}
		return body, nil
	}
}

var (
	statusLine    = []byte("HTTP/1.1 ")
	endOfHead     = []byte("\r\n\r\n")
	contentLength = []byte("\r\nContent-Length: ")
)

// parseAnswer finds the body of an answer as Go's servers write it; whole is false while some of
// it is missing.
func parseAnswer(b []byte) (body []byte, whole bool, err error) {
	head, rest, found := bytes.Cut(b, endOfHead)
	if !found {
		return nil, false, nil
	}
	_, line, found := bytes.Cut(head, contentLength)
	if !found || !bytes.HasPrefix(head, statusLine) {
		return nil, false, fmt.Errorf("not an answer with a Content-Length: %q", head)
	}
	digits, _, _ := bytes.Cut(line, endOfHead[:2])
	n, err := strconv.Atoi(string(digits))
	if err != nil {
		return nil, false, fmt.Errorf("the length of an answer: %w", err)
	}
	if len(rest) > n {
		return nil, false, fmt.Errorf("%d bytes come after an answer", len(rest)-n)
	}
	return rest, len(rest) == n, nil
}

// fixed is one credential for all requests of a connection.
type fixed []byte

func (f fixed) next() []byte        { return f }
func (fixed) answered([]byte) error { return nil }

// same is the same credential for every connection.
func same(bearer string, connections int) []bearers {
	return slices.Repeat([]bearers{fixed(bearer)}, connections)
}

// once gives each credential to one request, whichever connection comes first.
type once struct {
	all  [][]byte
	used atomic.Int64
}

func (o *once) next() []byte {
	if i := o.used.Add(1) - 1; i < int64(len(o.all)) {
		return o.all[i]
	}
	return nil
}

func (*once) answered([]byte) error { return nil }

// session is a license token that is refreshed again and again: each time the one that it got last.
type session struct {
	token    []byte
	repeated bool // an answer may be the token that was sent, as it is of the bare handler within a second
}

func newSessions(tokens []string, repeated bool) []*session {
	all := make([]*session, len(tokens))
	for i, t := range tokens {
		all[i] = &session{[]byte(t), repeated}
	}
	return all
}

var (
	tokenMember    = []byte(`"token":"`)
	errNotRecorded = errors.New("the token that was sent came back: nothing was recorded for it")
)

func (s *session) answered(body []byte) error {
	_, rest, _ := bytes.Cut(body, tokenMember)
	token, _, found := bytes.Cut(rest, tokenMember[:1])
	if !found {
		return fmt.Errorf("no token in the answer %s", body)
	}
	if !s.repeated && bytes.Equal(token, s.token) {
		return errNotRecorded
	}
	s.token = append(s.token[:0], token...)
	return nil
}

// turns are the sessions of one connection, one after the other.
type turns struct {
	sessions []*session
	at       int
}

func (t *turns) next() []byte { return t.sessions[t.at].token }

func (t *turns) answered(body []byte) error {
	s := t.sessions[t.at]
	t.at = (t.at + 1) % len(t.sessions)
	return s.answered(body)
}

// share deals sessions out to connections, each of which has at least one.
func share(all []*session, connections int) []bearers {
	dealt := make([]*turns, connections)
	each := make([]bearers, connections)
	for i := range dealt {
		dealt[i] = &turns{}
		each[i] = dealt[i]
	}
	for i, s := range all {
		t := dealt[i%connections]
		t.sessions = append(t.sessions, s)
	}
	return each
}
