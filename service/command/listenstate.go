package command

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// listenState is how far `webhook listen` came with one service, and one account or all. Each has a
// file of its own, and one that runs holds a lock beside it: two on one file would each overwrite what
// the other notes, and so show events again, or never.
type listenState struct {
	API     string        `json:"api"`
	Account string        `json:"account,omitempty"`
	After   *int64        `json:"after,omitempty"`  // the last event that was dealt with
	Replay  *listenReplay `json:"replay,omitempty"` // in the middle of which it ended
	Secret  string        `json:"secret,omitempty"` // of --forward

	path string
	lock *os.File
}

// listenReplay is how far it came in a replay.
type listenReplay struct {
	Event int64 `json:"event"` // that tells of it
	After int64 `json:"after"` // the last of its events that was dealt with
}

// openListenState locks and reads the file of a service and an account: below XDG_STATE_HOME, or
// ~/.local/state. close ends the lock.
func openListenState(getenv func(string) string, service, account string) (*listenState, error) {
	dir := getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) { // counts for nothing, as the XDG Base Directory Specification has it
		home := getenv("HOME")
		if !filepath.IsAbs(home) {
			return nil, Usagef("there is no folder to keep how far it came: set HOME or XDG_STATE_HOME to an absolute path")
		}
		dir = filepath.Join(home, ".local", "state")
	}
	sum := sha256.Sum256([]byte(service + "\n" + account))
	s := &listenState{API: service, Account: account}
	s.path = filepath.Join(dir, "pageflare", "webhook-listen", hex.EncodeToString(sum[:8])+".json")
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return nil, s.fault(err)
	}
	if err := s.takeLock(); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, s)
	}
	if err != nil {
		s.close()
		return nil, Usagef("%s cannot be read: %w: remove it to begin anew", s.path, err)
	}
	return s, nil
}

func (s *listenState) fault(err error) error {
	return fmt.Errorf("keep how far it came in %s: %w", s.path, err)
}

// takeLock takes the lock, or says who has it.
func (s *listenState) takeLock() (err error) {
	s.lock, err = os.OpenFile(s.path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return s.fault(err)
	}
	free, err := lockFile(s.lock)
	switch {
	case err != nil:
		err = s.fault(err)
	case !free:
		text, _ := os.ReadFile(s.lock.Name()) // it only helps to find the other one
		of := "all accounts"
		if s.Account != "" {
			of = "account " + s.Account
		}
		err = fmt.Errorf("another `webhook listen` of %s and %s runs here (process %.20q): end it, or set XDG_STATE_HOME to another folder for this one",
			s.API, of, strings.TrimSpace(string(text)))
	default:
		if err = s.lock.Truncate(0); err == nil {
			_, err = s.lock.WriteString(strconv.Itoa(os.Getpid()) + "\n")
		}
		if err != nil {
			err = s.fault(err)
		}
	}
	if err != nil {
		s.close()
	}
	return err
}

// close lets another one have the file.
func (s *listenState) close() { _ = s.lock.Close() } // what is lost by that is the number of a process

// save writes the file, as a whole or not at all; its owner alone can read it.
func (s *listenState) save() error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(s.path), ".webhook-listen-*") // mode 0600
	if err != nil {
		return s.fault(err)
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(append(text, '\n'))
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), s.path)
	}
	if err != nil {
		return s.fault(err)
	}
	return nil
}
