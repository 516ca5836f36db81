package leak

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
)

// MaxBody is the most bytes of an alert.
const MaxBody = 25 << 20

// ErrAlerts says that the body is not an array of alerts.
var ErrAlerts = failure.Invalid("the body is not a JSON array of alerts")

// Label is what the sender of an alert is told of a token, by its hash: the text is not repeated.
type Label struct {
	TokenHash string // SHA-256, hexadecimal
	TokenType string // as it was sent
	True      bool   // it is, or was, a token of ours
}

// alert is one of an array:
//
//	[{"token":"pf_at_…","type":"pageflare_api_token","url":"https://github.com/…","source":"commit"},…]
//
// The url may be empty, and source may be anything: GitHub adds to both.
type alert struct {
	Token  opaque.Secret `json:"token"`
	Type   string        `json:"type"`
	URL    string        `json:"url"`
	Source string        `json:"source"`
}

// maxText is the longest text that is looked at: no token of ours is longer.
const maxText = 16 << 10

// Alerts reports the tokens of an alert, whose signature was checked, one after the other: an entry
// that cannot be read, or whose token cannot be ended now, spoils none of the others. Each text has
// one label, however often it is there. When some could not be looked at the error says so, and the
// whole alert may be sent again: what was done stays done. ErrAlerts: the body is no array.
func (s *Service) Alerts(ctx context.Context, v Verifier, body []byte) ([]Label, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if begin, err := d.Token(); err != nil || begin != json.Delim('[') {
		return nil, ErrAlerts
	}
	labels := []Label{}
	type entry struct{ token, kind string }
	seen := map[entry]bool{}
	verdicts := map[string]bool{}
	var faults []error
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, ErrAlerts
		}
		var a alert
		if json.Unmarshal(raw, &a) != nil || a.Token == "" || len(a.Token) > maxText {
			s.count(v.door(), Verdict{Outcome: NotOurs})
			continue
		}
		text := a.Token.Reveal()
		if v.test != "" && HashOf(text) != v.test {
			return nil, fmt.Errorf("%w: a test of alerts is about its own token alone", auth.ErrUnauthenticated)
		}
		if len(a.Type) > maxURL {
			a.Type = a.Type[:maxURL]
		}
		if seen[entry{text, a.Type}] {
			continue
		}
		seen[entry{text, a.Type}] = true
		ours, known := verdicts[text]
		if !known {
			verdict, err := s.Report(ctx, Found{
				Token: a.Token, Door: v.door(), Source: a.Source, URL: a.URL,
			})
			if err != nil {
				faults = append(faults, err)
				if ctx.Err() != nil {
					return nil, fmt.Errorf("%w: %w", errLate, err)
				}
				continue
			}
			ours = verdict.Ours()
			verdicts[text] = ours
		}
		labels = append(labels, Label{TokenHash: HashOf(text), TokenType: a.Type, True: ours})
	}
	if end, err := d.Token(); err != nil || end != json.Delim(']') {
		return nil, ErrAlerts
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, ErrAlerts
	}
	return labels, errors.Join(faults...)
}

// errLate says that the time for an alert was over before its end.
var errLate = fmt.Errorf("the alert has more tokens than could be looked up in time: %w",
	failure.ErrUnavailable)

func (v Verifier) door() Door {
	if v.test != "" {
		return ByTest
	}
	return ByPartnerAlert
}
