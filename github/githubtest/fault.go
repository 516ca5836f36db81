package githubtest

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// A Fault says how a request goes wrong.
type Fault struct {
	// Status is answered instead of doing what was asked. 0: the request takes effect and its own answer is sent, with the
	// rest of the fault.
	Status int
	Header map[string]string // added to the answer
	Body   string            // optional; GitHub's words for Status when empty. Anything but JSON goes as text/html
	Times  int               // how often; 0 is once, below 0 always
	Proxy  bool              // it is not GitHub that answers: what GitHub puts into every answer is missing

	OnArrive func()          // optional; called when the request is there
	Hold     <-chan struct{} // optional; the answer waits until it is closed or the client leaves

	Truncate        bool // the connection ends in the middle of the body
	CloseConnection bool // the connection is reset instead of an answer; with Status 0, after the request took effect
}

// plan is a fault that waits for its requests.
type plan struct {
	match string
	fault Fault
	left  int
	while func() bool // nil: always
}

// FailNext plans a fault for the next requests that match: a method, a space and the end of a path, as in
// "GET /secrets/public-key". "" matches every request. Faults for the same request come in the order of planning.
func (s *Server) FailNext(match string, fault Fault) {
	left := fault.Times
	if left == 0 {
		left = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.planned = append(s.planned, &plan{match: match, fault: fault, left: left})
}

// FailNextWhile has every request fail as long as while says so.
func (s *Server) FailNextWhile(while func() bool, fault Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.planned = append(s.planned, &plan{fault: fault, left: -1, while: while})
}

func (s *Server) nextFault(req *request) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.planned {
		if p.left == 0 || !p.matches(req) || p.while != nil && !p.while() {
			continue
		}
		if p.left > 0 {
			p.left--
		}
		return p.fault, true
	}
	return Fault{}, false
}

func (p *plan) matches(req *request) bool {
	method, end, _ := strings.Cut(p.match, " ")
	return p.match == "" || method == req.Method && strings.HasSuffix(req.path, end)
}

// arrive holds the request as long as the fault says. It is false when the client left before that.
func (f Fault) arrive(ctx context.Context) bool {
	if f.OnArrive != nil {
		f.OnArrive()
	}
	if f.Hold == nil {
		return true
	}
	select {
	case <-f.Hold:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Server) sendFaulty(w http.ResponseWriter, req *request, f Fault) {
	a := f.applyTo(func() answer { return s.answer(req) })
	if !f.Proxy {
		a = s.signed(req, a)
	}
	switch {
	case f.CloseConnection:
		s.log(req, 0)
		reset(w)
	case f.Truncate:
		s.log(req, a.status)
		truncate(w, a)
	default:
		s.send(w, req, a)
	}
}

// applyTo gives the answer with the fault in it; the real answer is only made when the request is to take effect.
func (f Fault) applyTo(real func() answer) answer {
	var a answer
	switch {
	case f.Status == 0:
		a = real()
	default:
		a = refuse(f.Status, statusMessage(f.Status))
	}
	if f.Body != "" {
		a.body = []byte(f.Body)
		a.header.Set("Content-Type", contentType(f.Body))
	}
	for name, value := range f.Header {
		a.header.Set(name, value)
	}
	return a
}

func contentType(body string) string {
	if strings.HasPrefix(body, "{") {
		return "application/json; charset=utf-8"
	}
	return "text/html; charset=utf-8"
}

// statusMessage gives what GitHub says with a status.
func statusMessage(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "Bad credentials"
	case http.StatusForbidden:
		return "Resource not accessible by personal access token"
	case http.StatusUnprocessableEntity:
		return "Validation Failed"
	case http.StatusTooManyRequests:
		return "API rate limit exceeded"
	}
	return http.StatusText(status)
}

// truncate promises the whole body and ends the connection after half of it.
func truncate(w http.ResponseWriter, a answer) {
	a.header.Set("Content-Length", strconv.Itoa(len(a.body)+1))
	a.body = a.body[:len(a.body)/2]
	a.writeTo(w)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// reset ends the connection the hard way, so that the client sees a reset and not an early end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
