//go:build e2e

package faults_test

import (
	"encoding/base64"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// link is the network between a replica and PostgreSQL: a proxy that can cut connections, swallow
// what travels, and act on what the server says.
type link struct {
	url string // of the database, by the link

	listener net.Listener
	target   string

	mu      sync.Mutex
	open    map[net.Conn]bool
	silent  chan struct{} // closed when packets travel again; nil: they do
	refuses bool
	onReply func(net.Conn, pgproto3.BackendMessage) verdict // of each message of the server; nil: pass
}

// verdict is what becomes of a message of the server.
type verdict int

const (
	pass verdict = iota
	cut          // the connection ends in place of the message
)

// newLink makes a link to the server of a database's URL. It ends with the test.
func newLink(t *testing.T, database string) *link {
	t.Helper()
	u, err := url.Parse(database)
	must(t, err)
	l := &link{target: u.Host, open: map[net.Conn]bool{}}
	l.listener, err = net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	u.Host = l.listener.Addr().String()
	l.url = u.String()
	go l.accept()
	t.Cleanup(func() {
		l.heal()
		_ = l.listener.Close()
		l.cut()
	})
	return l
}

func (l *link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		go l.carry(client)
	}
}

// carry serves one connection until either side ends it.
func (l *link) carry(client net.Conn) {
	defer client.Close()
	l.wait()
	l.mu.Lock()
	refuses := l.refuses
	l.mu.Unlock()
	if refuses {
		return
	}
	l.mu.Lock()
	target := l.target
	l.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	l.mu.Lock()
	l.open[client], l.open[server] = true, true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.open, client)
		delete(l.open, server)
	}()
	toClient, toServer := pgproto3.NewBackend(client, client), pgproto3.NewFrontend(server, server)
	first, err := toClient.ReceiveStartupMessage()
	if err != nil {
		return
	}
	startup, ok := first.(*pgproto3.StartupMessage)
	if !ok { // the tests use neither TLS nor cancellation
		return
	}
	toServer.Send(startup)
	if toServer.Flush() != nil {
		return
	}
	go func() {
		defer server.Close()
		defer client.Close()
		l.forward(server, client)
	}()
	for {
		reply, err := toServer.Receive()
		if err != nil || !l.mayPass(client, reply) {
			return
		}
		l.wait()
		toClient.Send(reply)
		if toClient.Flush() != nil {
			return
		}
	}
}

// forward copies what the client sends.
func (l *link) forward(to io.Writer, from io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.wait()
		if _, fault := to.Write(buffer[:n]); fault != nil || err != nil {
			return
		}
	}
}

func (l *link) mayPass(to net.Conn, reply pgproto3.BackendMessage) bool {
	l.mu.Lock()
	judge := l.onReply
	l.mu.Unlock()
	return judge == nil || judge(to, reply) == pass
}

// judge lets f see each message of the server, and for whom it is, before it travels on; nil: no more.
func (l *link) judge(f func(to net.Conn, m pgproto3.BackendMessage) verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onReply = f
}

// wait returns when packets travel.
func (l *link) wait() {
	l.mu.Lock()
	silent := l.silent
	l.mu.Unlock()
	if silent != nil {
		<-silent
	}
}

// hang swallows all packets from now on, as a firewall does that forgot a connection.
func (l *link) hang() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = make(chan struct{})
}

// heal lets packets and connections through again.
func (l *link) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.silent != nil {
		close(l.silent)
	}
	l.silent, l.refuses = nil, false
}

// refuse lets no connection through from now on, and cuts those there are.
func (l *link) refuse() {
	l.mu.Lock()
	l.refuses = true
	l.mu.Unlock()
	l.cut()
}

// moveTo lets new connections go to the server of another URL.
func (l *link) moveTo(database string) {
	u, err := url.Parse(database)
	if err != nil {
		panic(err) // it is made by a test
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = u.Host
}

// cut ends all connections.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		_ = c.Close()
	}
}

// loseCommit cuts the next connection over which the server says that it has committed a record or a
// line of the audit log, in place of saying so, and returns how often it has done that. Such a
// transaction inserts, and moves the head of the log last; what looks after the database does not.
func (l *link) loseCommit(times int) (lost func() int) {
	var mu sync.Mutex
	left := times
	did := map[net.Conn][]string{} // what each connection has done since its last COMMIT
	l.judge(func(to net.Conn, m pgproto3.BackendMessage) verdict {
		done, ok := m.(*pgproto3.CommandComplete)
		mu.Lock()
		defer mu.Unlock()
		if !ok {
			return pass
		}
		tag := string(done.CommandTag)
		if tag != "COMMIT" && tag != "ROLLBACK" {
			did[to] = append(did[to], tag)
			return pass
		}
		before := did[to]
		delete(did, to)
		inserts := slices.ContainsFunc(before, func(tag string) bool { return strings.HasPrefix(tag, "INSERT") })
		if left == 0 || tag != "COMMIT" || !inserts || before[len(before)-1] != "UPDATE 1" {
			return pass
		}
		left--
		return cut
	})
	return func() int { mu.Lock(); defer mu.Unlock(); return times - left }
}

func unbase64(t *testing.T, text string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(text)
	must(t, err)
	return string(raw)
}
