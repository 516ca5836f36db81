package postgrestest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Pooler is a PgBouncer in transaction mode before a server: each transaction of a client may get
// another connection.
type Pooler struct {
	cmd  *exec.Cmd
	dir  string
	port int
}

// poolerSettings are in no way made for the service: it has to work with what a pooler does unless
// it is told otherwise.
const poolerSettings = `[databases]
* = host=127.0.0.1 port=%d user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 1000
default_pool_size = 10
`

// Pool starts a PgBouncer before the server, for every database in it. Stop ends it.
func (s *Server) Pool(ctx context.Context) (p *Pooler, err error) {
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path = "/usr/sbin/pgbouncer" // where Debian puts it, which is not on everybody's PATH
	}
	p = &Pooler{}
	if p.port, err = freePort(ctx); err != nil {
		return nil, err
	}
	if p.dir, err = os.MkdirTemp("", "pageflare-pgbouncer-"); err != nil {
		return nil, err
	}
	ini := filepath.Join(p.dir, "pgbouncer.ini")
	if err := os.WriteFile(ini, fmt.Appendf(nil, poolerSettings, s.port, p.port), 0o644); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	if err := os.Chmod(p.dir, 0o755); err != nil { // nothing in it is secret, and another user reads it
		return nil, errors.Join(err, p.Stop())
	}
	p.cmd = exec.Command(path, ini)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	if err := startUntil(p.cmd, "process up"); err != nil {
		p.cmd = nil
		return nil, errors.Join(fmt.Errorf("start %s: %w: install Debian's package pgbouncer, as `make e2e` does",
			path, err), p.Stop())
	}
	return p, nil
}

// startUntil starts a program and returns when its log has a line with said in it.
func startUntil(cmd *exec.Cmd, said string) error {
	log, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(log)
	var all []string
	for lines.Scan() {
		if all = append(all, lines.Text()); strings.Contains(lines.Text(), said) {
			go io.Copy(io.Discard, log) // until it ends
			return nil
		}
	}
	return errors.Join(fmt.Errorf("it ended: %s", strings.Join(all, "\n")), cmd.Wait())
}

// Stop ends the pooler.
func (p *Pooler) Stop() error {
	var err error
	if p.cmd != nil {
		err = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // by our signal
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}

// URL is that of a database of the server, by the pooler.
func (p *Pooler) URL(database string) string {
	return localURL(p.port, database)
}
