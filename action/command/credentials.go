package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pageflare/ci/action/atomicfile"
)

// credentials is the wire form of the credentials file:
// {"token":"…","machine_id":"…","api_url":"…"}. The token alone is in files of others, and in those
// of our first versions.
type credentials struct {
	Token     string `json:"token"`
	MachineID string `json:"machine_id,omitempty"` // what this machine called itself when the token was made for it
	APIURL    string `json:"api_url,omitempty"`    // the License API that the token is of
}

// errNoToken says that there is a credentials file, and that it is of no use.
var errNoToken = errors.New("holds no token")

// credentialsFile is where the vendor's documents say that tokens are kept, below XDG_CONFIG_HOME
// or HOME. (The vendor's CLI 0.9.2 keeps its own in license.json beside it.) A path that is not
// absolute counts for nothing, as the XDG Base Directory Specification has it: it would name a
// folder of whatever project one happens to be in.
func (p program) credentialsFile() (string, error) {
	dir := p.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		home := p.Getenv("HOME")
		if !filepath.IsAbs(home) {
			return "", UsageError{errors.New("credentials: there is no folder for them: set HOME or XDG_CONFIG_HOME to an absolute path")}
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "pageflare", "credentials.json"), nil
}

// readCredentials returns what is in the file. os.ErrNotExist: there is no file. errNoToken: there
// is nothing in it. The error never quotes it.
func readCredentials(file string) (credentials, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return credentials{}, fmt.Errorf("credentials: %w", err)
	}
	var c credentials
	if json.Unmarshal(b, &c) != nil || c.Token == "" {
		return credentials{}, UsageError{fmt.Errorf("credentials: %s %w: log in again, or remove it", file, errNoToken)}
	}
	return c, nil
}

// write stores the credentials for their owner alone (mode 0600), whole or not at all.
func (c credentials) write(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := atomicfile.Replace(file, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	return nil
}

// tryFolder finds out whether a folder, which need not be there yet, can take a file. It leaves
// nothing behind.
func tryFolder(folder string) error {
	dir := folder
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	f, err := os.CreateTemp(dir, ".pageflare-*")
	if err != nil {
		return fmt.Errorf("credentials: nothing can be stored in %s: %w", folder, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
