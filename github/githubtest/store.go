package githubtest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/nacl/box"
)

// maxSecret is the largest value in bytes: 48 KB.
const maxSecret = 48 * 1024

// store keeps the secrets of one place, with the key pair that values for it are sealed with.
type store struct {
	keyID           string
	public, private *[32]byte
	secrets         map[string]stored // by name in upper case: names match in any case
}

// stored is a secret as it lies there: sealed, with the key that opens it.
type stored struct {
	sealed           []byte
	public, private  *[32]byte
	created, updated time.Time
	access           Access // zero but for organizations
}

func (v stored) open() (string, bool) {
	value, ok := box.OpenAnonymous(nil, v.sealed, v.public, v.private)
	return string(value), ok
}

// store gives the store of a place, which is made when it is first asked for. s.mu must be held.
func (s *Server) store(place string) *store {
	place = strings.ToLower(place)
	st, ok := s.stores[place]
	if !ok {
		// the ids of different stores differ, so that a client that mixes them up is found
		st = &store{secrets: make(map[string]stored), keyID: strconv.Itoa(568250167242549743 + 1000*len(s.stores))}
		st.rotate(s.cfg.Rand)
		s.stores[place] = st
	}
	return st
}

// rotate makes the next key pair. Key ids are long digit strings, as GitHub's are.
func (st *store) rotate(rand io.Reader) {
	public, private, err := box.GenerateKey(rand)
	if err != nil {
		panic(fmt.Sprintf("githubtest: no randomness for a key pair: %v", err))
	}
	id, err := strconv.Atoi(st.keyID)
	if err != nil {
		panic(err) // the ids are our own
	}
	st.public, st.private, st.keyID = public, private, strconv.Itoa(id+1)
}

func (st *store) seal(value string, rand io.Reader) []byte {
	sealed, err := box.SealAnonymous(nil, []byte(value), st.public, rand)
	if err != nil {
		panic(fmt.Sprintf("githubtest: no randomness for a sealed box: %v", err))
	}
	return sealed
}

// check opens a box to see that it was sealed for this store.
func (st *store) check(encrypted string) ([]byte, error) {
	sealed, err := base64.StdEncoding.Strict().DecodeString(encrypted)
	if err != nil {
		return nil, errors.New("encrypted_value is not base64")
	}
	value, ok := box.OpenAnonymous(nil, sealed, st.public, st.private)
	if !ok {
		return nil, errors.New("encrypted_value was not sealed for the public key")
	}
	if len(value) > maxSecret {
		return nil, errors.New("the value is larger than 48 KB")
	}
	return sealed, nil
}
