package audit_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
)

// empty is a database without lines; what it is not asked for it does not have.
type empty struct{ audit.Store }

func (empty) AuditEnd(context.Context) (audit.End, error) { return audit.End{}, nil }

func (empty) SealAuditEnd(_ context.Context, seal func(audit.End) string) error {
	seal(audit.End{})
	return nil
}

func (empty) HasAccount(_ context.Context, id string) error {
	if id != "user_0123456789abcdef" {
		return failure.ErrNotFound
	}
	return nil
}

func (empty) AuditLines(context.Context, audit.Query) ([]audit.Line, error) { return nil, nil }

var at = time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)

func newLog(t *testing.T, key string) *audit.Log {
	t.Helper()
	log, err := audit.NewLog(t.Context(), empty{}, []byte(key), func() time.Time { return at })
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// act is an act by a caller, as a noun makes it.
func act(t *testing.T, key string) audit.Act {
	t.Helper()
	ctx := audit.WithActor(t.Context(), audit.Actor{Kind: audit.ActorAdmin, ID: "adm_1", Address: "192.0.2.1", RequestID: "r1"})
	return newLog(t, key).Act(ctx, audit.TokenIssued, "user_1", "token_1", audit.Details{"family": "f"})
}

func TestAnActSaysWhoDidWhatWhen(t *testing.T) {
	t.Parallel()
	got := act(t, "key")
	if diff := cmp.Diff(audit.Actor{Kind: audit.ActorAdmin, ID: "adm_1", Address: "192.0.2.1", RequestID: "r1"}, got.Actor); diff != "" {
		t.Errorf("actor (-want +got):\n%s", diff)
	}
	if got.Action != audit.TokenIssued || got.Account != "user_1" || got.Object != "token_1" || got.Details != `{"family":"f"}` || !got.At.Equal(at) {
		t.Errorf("act = %+v", got)
	}
	bare := newLog(t, "key").Act(t.Context(), audit.KeyAdded, "", "k_1", nil)
	if bare.Actor.Kind != audit.ActorUnknown || bare.Details != "{}" {
		t.Errorf("an act without more = %+v, want an unknown actor and an empty object", bare)
	}
}

func TestTheFallbackActorIsForTheAnonymousAlone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ who, want audit.Actor }{
		{audit.Actor{}, audit.Actor{}},
		{audit.Actor{Kind: audit.ActorUnknown, Address: "192.0.2.1"}, audit.Actor{Kind: audit.ActorAccount, ID: "user_1", Address: "192.0.2.1"}},
		{audit.Actor{Kind: audit.ActorCommand, ID: "root"}, audit.Actor{Kind: audit.ActorCommand, ID: "root"}},
	} {
		ctx := audit.WithFallbackActor(audit.WithActor(t.Context(), test.who), "user_1")
		if got := newLog(t, "key").Act(ctx, audit.SignedIn, "", "", nil).Actor; got != test.want {
			t.Errorf("actor %+v with a fallback = %+v, want %+v", test.who, got, test.want)
		}
	}
}

// The hash of a line holds all that it says, its place and its key: each change gives another.
func TestALinkChangesWithAllThatTheLineSays(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	note := func(name, link string) {
		t.Helper()
		if was, there := seen[link]; there {
			t.Errorf("%s has the link of %s", name, was)
		}
		seen[link] = name
	}
	previous := strings.Repeat("0", 64)
	note("the line", act(t, "key").Link(2, previous))
	if again := act(t, "key").Link(2, previous); seen[again] == "" {
		t.Error("the same line has another link the second time")
	}
	note("another key", act(t, "yek").Link(2, previous))
	note("another number", act(t, "key").Link(3, previous))
	note("another line before it", act(t, "key").Link(2, strings.Repeat("1", 64)))
	for name, change := range map[string]func(*audit.Act){
		"another time": func(a *audit.Act) { a.At = a.At.Add(time.Millisecond) }, "another kind of actor": func(a *audit.Act) { a.Actor.Kind = audit.ActorAccount },
		"another actor": func(a *audit.Act) { a.Actor.ID = "adm_2" }, "another address": func(a *audit.Act) { a.Actor.Address = "" },
		"another request": func(a *audit.Act) { a.Actor.RequestID = "r2" }, "another action": func(a *audit.Act) { a.Action = audit.TokenRevoked },
		"another account": func(a *audit.Act) { a.Account = "user_2" }, "another object": func(a *audit.Act) { a.Object = "token_2" },
		"other details":       func(a *audit.Act) { a.Details = "{}" },
		"a text moved over":   func(a *audit.Act) { a.Account, a.Object = "user_1token_1", "" },
		"a text with a quote": func(a *audit.Act) { a.Account, a.Object = `user_1","token_1`, "" },
	} {
		a := act(t, "key")
		change(&a)
		note(name, a.Link(2, previous))
	}
	a := act(t, "key")
	note("a block", a.LinkBlock(2, 2, sha256.Sum256(nil), previous))
	note("a longer block", a.LinkBlock(2, 3, sha256.Sum256(nil), previous))
	note("a block of other records", a.LinkBlock(2, 2, sha256.Sum256([]byte("x")), previous))
	note("a block after another line", a.LinkBlock(2, 2, sha256.Sum256(nil), strings.Repeat("1", 64)))
	note("a seal", a.Seal(audit.Head{Seq: 2, Hash: previous}))
}

func TestASealIsOfOneEndAndOneKey(t *testing.T) {
	t.Parallel()
	end := audit.Head{Seq: 7, Hash: strings.Repeat("a", 64)}
	seal := act(t, "key").Seal(end)
	for name, test := range map[string]struct {
		key  string
		end  audit.Head
		seal string
		want bool
	}{
		"its own":      {"key", end, seal, true},
		"another key":  {"yek", end, seal, false},
		"an older end": {"key", audit.Head{Seq: 6, Hash: end.Hash}, seal, false},
		"another hash": {"key", audit.Head{Seq: 7, Hash: strings.Repeat("b", 64)}, seal, false},
		"none":         {"key", end, "", false},
		"a part of it": {"key", end, seal[:32], false},
		"in capitals":  {"key", end, strings.ToUpper(seal), false},
	} {
		if got := act(t, test.key).Sealed(test.end, test.seal); got != test.want {
			t.Errorf("%s: Sealed = %v, want %v", name, got, test.want)
		}
	}
}

func TestAnEndIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	end := audit.Head{Seq: 12, Hash: strings.Repeat("5f", 32)}
	for text, want := range map[string]audit.Head{"": {}, end.String(): end} {
		if got, err := audit.ParseHead(text); err != nil || got != want {
			t.Errorf("ParseHead(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"12", ":" + end.Hash, "0:" + end.Hash, "-1:" + end.Hash, "12:" + end.Hash[1:], end.String() + "0", "x:" + end.Hash, "12 :" + end.Hash} {
		if got, err := audit.ParseHead(text); !errors.Is(err, failure.ErrInvalid) {
			t.Errorf("ParseHead(%q) = %v, %v, want ErrInvalid", text, got, err)
		}
	}
}

// A mistyped name must not look like a blank record.
func TestLinesOfWhatIsNotThereAreRefused(t *testing.T) {
	t.Parallel()
	log := newLog(t, "key")
	for name, test := range map[string]struct {
		query audit.Query
		want  error
	}{
		"all":              {audit.Query{}, nil},
		"of an account":    {audit.Query{Account: "user_0123456789abcdef", Action: audit.TokenIssued}, nil},
		"of nobody":        {audit.Query{Account: "user_none"}, failure.ErrNotFound},
		"of no action":     {audit.Query{Action: "token.isue"}, failure.ErrInvalid},
		"of an actor":      {audit.Query{Actor: "anybody"}, nil},
		"of no repository": {audit.Query{Repository: "none/none"}, nil},
	} {
		if _, err := log.Lines(t.Context(), test.query); !errors.Is(err, test.want) {
			t.Errorf("Lines(%s) = %v, want %v", name, err, test.want)
		}
	}
}

// What ends or changes a right is counted, or others would go on with what they know: an action
// that is new counts until somebody says that it only adds.
func TestWhatChangesRights(t *testing.T) {
	t.Parallel()
	ends := []string{".revoke", ".revoke-family", ".revoke-issued-by", ".remove", ".suspend", ".restore", ".delete", ".update", ".retire", ".end", ".deactivate"}
	for _, a := range audit.Actions {
		_, verb, _ := strings.Cut(string(a), ".")
		if slices.Contains(ends, "."+verb) && !a.ChangesRights() && a != audit.SignedOut {
			t.Errorf("%s does not change rights", a)
		}
	}
	if !audit.Action("new.action").ChangesRights() || audit.TokenIssued.ChangesRights() || audit.TokenRefreshed.ChangesRights() {
		t.Error("ChangesRights = false of a new action, or true of handing out a token")
	}
	if len(slices.Compact(slices.Sorted(slices.Values(audit.Actions)))) != len(audit.Actions) {
		t.Error("an action is named twice")
	}
}
