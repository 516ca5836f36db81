package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// program is a server that was started.
type program struct {
	cmd     *exec.Cmd
	addr    string
	token   string // of the bare handlers
	ready   time.Duration
	drained chan struct{} // closed when all of its log was read
}

// start starts a server and waits for the line of its log that says where it listens.
func start(ctx context.Context, env []string, name string, args ...string) (*program, error) {
	p := &program{cmd: exec.CommandContext(ctx, name, args...), drained: make(chan struct{})}
	p.cmd.Env = env
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	log, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stderr = theirs
	begun := time.Now()
	err = p.cmd.Start()
	_ = theirs.Close()
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	lines, said := bufio.NewScanner(log), strings.Builder{}
	for lines.Scan() {
		var line struct{ Addr, Token string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Addr != "" {
			p.addr, p.token, p.ready = line.Addr, line.Token, time.Since(begun)
			go p.drain(log)
			return p, nil
		}
		said.WriteString(lines.Text() + "\n")
	}
	return nil, errors.Join(fmt.Errorf("%s %s did not start: %s", filepath.Base(name), strings.Join(args, " "), said.String()), p.cmd.Wait(), log.Close())
}

// A log of hundreds of bytes a request goes through a pipe, as under a supervisor. It is read now
// and then, many lines at a time: a reader that wakes up for each line costs as much as the line.
const (
	pipeSize  = 1 << 20
	drainRest = 5 * time.Millisecond
)

// drain reads a log away until the program ends.
func (p *program) drain(log *os.File) {
	defer close(p.drained)
	defer log.Close()
	if raw, err := log.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_SETPIPE_SZ, pipeSize)
		})
	}
	lines := make([]byte, pipeSize)
	for {
		if _, err := log.Read(lines); err != nil {
			return
		}
		time.Sleep(drainRest)
	}
}

// stop ends a server and waits for it.
func (p *program) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := p.cmd.Wait()
	<-p.drained
	return err
}

// cpu is the processor time that the program has used so far.
func (p *program) cpu() usage { return usage{service: processorTimeOf(p.cmd.Process.Pid)} }

// usage is processor time: of a server, and of the database behind it.
type usage struct{ service, database time.Duration }

// since is what was used between two moments, for each of so many answers.
func (u usage) since(before usage, answers int) usage {
	n := time.Duration(answers)
	return usage{(u.service - before.service) / n, (u.database - before.database) / n}
}

func (u usage) String() string {
	if u.database == 0 {
		return fmt.Sprintf("%d µs", u.service.Microseconds())
	}
	return fmt.Sprintf("%d + %d µs", u.service.Microseconds(), u.database.Microseconds())
}

// clockTick is the unit of /proc/PID/stat on Linux.
const clockTick = 10 * time.Millisecond

// processorTimeOf is what a process has used so far; 0 of one that has ended.
func processorTimeOf(pid int) time.Duration { return procStat(pid).own }

// processorTimeBelow is what a process and those that it has started, also those that have ended,
// have used so far.
func processorTimeBelow(pid int) time.Duration {
	first := procStat(pid)
	used := first.own + first.ended
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range all {
		child, _ := strconv.Atoi(filepath.Base(folder))
		if p := procStat(child); p.parent == pid {
			used += p.own
		}
	}
	return used
}

// process is what /proc says of one.
type process struct {
	parent     int
	own, ended time.Duration // processor time: its own, and that of its children that have ended
}

func procStat(pid int) (p process) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p
	}
	// the name in parentheses may hold anything; behind it are state, parent, …, then utime, stime,
	// cutime and cstime
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 15 {
		return p
	}
	p.parent, _ = strconv.Atoi(fields[1])
	ticks := func(fields []string) (sum time.Duration) {
		for _, text := range fields {
			n, _ := strconv.ParseInt(text, 10, 64)
			sum += time.Duration(n) * clockTick
		}
		return sum
	}
	p.own, p.ended = ticks(fields[11:13]), ticks(fields[13:15])
	return p
}

// memory is the memory of a process, in bytes.
type memory struct {
	resident int64 // what it has in memory, the pages of the program file that it has read included
	own      int64 // of that what it has made itself, and nobody can take away
	peak     int64 // the most that it ever had in memory
}

func memoryOf(pid int) (m memory, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		for name, to := range map[string]*int64{"VmRSS": &m.resident, "RssAnon": &m.own, "VmHWM": &m.peak} {
			var kib int64
			if n, _ := fmt.Sscanf(line, name+": %d kB", &kib); n == 1 {
				*to = kib << 10
			}
		}
	}
	if m.resident == 0 || m.own == 0 || m.peak == 0 {
		return m, errors.New("no VmRSS, RssAnon or VmHWM in /proc")
	}
	return m, nil
}

// command runs a command of the service on a database and returns what it prints.
func command(ctx context.Context, env []string, service string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, service, args...)
	cmd.Env, cmd.Stderr = env, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}
