package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/pageflare/ci/service/api"
)

// errCutOff says that a body ends before its JSON does.
var errCutOff = errors.New("cut off")

// acceptToken reads the 200 of issue and refresh.
func acceptToken(body []byte) (api.IssuedToken, error) {
	var issued api.IssuedToken
	if err := decode(body, &issued); err != nil {
		return api.IssuedToken{}, err
	}
	if issued.Token == "" {
		return api.IssuedToken{}, errors.New("no token in it")
	}
	if checkBearer(issued.Token) != nil {
		return api.IssuedToken{}, errors.New("a token with a space or the like in it")
	}
	return issued, nil
}

// acceptIntrospection reads the 200 of introspect, where false must be said.
func acceptIntrospection(body []byte) (known api.Introspection, err error) {
	var said struct {
		Active *bool `json:"active"`
	}
	if err := decode(body, &said); err != nil {
		return known, err
	}
	if said.Active == nil {
		return known, errors.New("it does not say whether the token is active")
	}
	return known, decode(body, &known)
}

// acceptHealth reads the 200 of health.
func acceptHealth(body []byte) error {
	var health api.Health
	if err := decode(body, &health); err != nil {
		return err
	}
	if health.Status != "ok" {
		return errors.New("its status is not ok")
	}
	return nil
}

// decode reads exactly one JSON object. Its errors quote nothing of the body.
func decode(body []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	err := dec.Decode(into)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("its JSON is %w", errCutOff)
	}
	if err != nil {
		return errors.New("not its JSON")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something after its JSON")
	}
	return nil
}

// checkBearer refuses what cannot stand in a header, or would be read there as something else. The
// error does not quote it.
func checkBearer(token string) error {
	if token == "" {
		return fmt.Errorf("%w: it is empty", ErrBearer)
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return fmt.Errorf("%w: character %d of %d is a space, a line break or not ASCII; copy the token again", ErrBearer, i+1, len(token))
		}
	}
	return nil
}
