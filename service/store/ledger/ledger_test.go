package ledger_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store/ledger"
)

// source gives the same randomness in each run.
type source struct{ *mathrand.ChaCha8 }

func newSource(seed byte) source { return source{mathrand.NewChaCha8([32]byte{seed})} }

func (s source) id(tb testing.TB, kind opaque.Kind) string {
	tb.Helper()
	id, err := kind.New(s)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

func (s source) hash() (hash [ledger.HashSize]byte) {
	_, _ = s.Read(hash[:]) // never fails
	return hash
}

// requestID looks like those of crypto/rand.Text.
func (s source) requestID() string {
	text := make([]byte, 26)
	_, _ = s.Read(text)
	for i := range text {
		text[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[text[i]%32]
	}
	return string(text)
}

var noon = time.Date(2027, 3, 12, 12, 0, 0, 0, time.UTC)

const year = 365 * 24 * time.Hour

// refreshes are records as a server makes them: each refreshes a token of a family of its own.
func refreshes(tb testing.TB, accounts, n int) []ledger.Record {
	tb.Helper()
	s := newSource(1)
	key, ids := s.id(tb, opaque.OfKey), make([]string, accounts)
	for i := range ids {
		ids[i] = s.id(tb, opaque.OfAccount)
	}
	records, names := make([]ledger.Record, n), opaque.NewDeriver([]byte("key"))
	for i := range records {
		at := noon.Add(time.Duration(i) * time.Millisecond)
		parent, err := opaque.NewTokenID(at.Add(-time.Duration(i)*time.Hour), "", s)
		if err != nil {
			tb.Fatal(err)
		}
		issued := at.Add(-time.Duration(i*6) * time.Second).Truncate(time.Second)
		id := names.TokenID(issued, parent, []byte{byte(i), byte(i >> 8)})
		records[i] = ledger.Record{
			ID: string(id), Account: ids[i%accounts], Parent: string(parent), Key: key,
			IssuedAt: issued.Unix(), ExpiresAt: issued.Add(year).Unix(), At: at.UnixMilli(),
			Action: "token.refresh", ActorKind: "account", ActorID: string(parent),
			Address: "192.0.2.17", RequestID: s.requestID(), TokenHash: s.hash(),
		}
	}
	return records
}

// exchanged is what is recorded of an exchange of an identity.
func exchanged(tb testing.TB) ledger.Record {
	tb.Helper()
	s := newSource(2)
	policy := s.id(tb, opaque.OfPolicy)
	return ledger.Record{
		ID:      string(opaque.NewDeriver([]byte("key")).ExchangedID(noon, []byte("content"))),
		Account: s.id(tb, opaque.OfAccount), IssuedBy: policy, Key: s.id(tb, opaque.OfKey),
		IssuedAt: noon.Unix(), ExpiresAt: noon.Add(time.Hour).Unix(), At: noon.UnixMilli(),
		Action: "token.exchange", ActorKind: "github-job", ActorID: "Octo-Org/Site",
		Address: "2001:db8::17", RequestID: s.requestID(), TokenHash: s.hash(),
		Extra: `{"policy":"` + policy + `","repository_id":"123456","repository":"Octo-Org/Site"}`,
	}
}

func mustDecode(tb testing.TB, body []byte) []ledger.Record {
	tb.Helper()
	records, err := ledger.Decode(body)
	if err != nil {
		tb.Fatalf("Decode(%x): %v", body, err)
	}
	return records
}

func TestEveryRecordComesBackAsItWasGiven(t *testing.T) {
	t.Parallel()
	usual := refreshes(t, 1, 1)[0]
	with := func(change func(*ledger.Record)) []ledger.Record {
		r := usual
		change(&r)
		return []ledger.Record{r}
	}
	parent := usual.Parent
	for name, records := range map[string][]ledger.Record{
		"none":                nil,
		"an empty one":        {{}},
		"a refresh":           {usual},
		"the same one twice":  {usual, usual},
		"many refreshes":      refreshes(t, 3, 300),
		"as many accounts":    refreshes(t, 300, 300),
		"an exchange":         {exchanged(t), usual, exchanged(t)},
		"a child of no time":  with(func(r *ledger.Record) { r.IssuedAt++ }),
		"a time of 41 bits":   with(func(r *ledger.Record) { r.IssuedAt += 1 << 40 }),
		"a negative time":     with(func(r *ledger.Record) { r.IssuedAt -= 1 << 40 }),
		"another family":      with(func(r *ledger.Record) { r.Parent = parent[:8] + "0" + parent[9:] }),
		"no parent":           with(func(r *ledger.Record) { r.Parent, r.ActorID = "", "" }),
		"a parent unlike ids": with(func(r *ledger.Record) { r.Parent, r.ActorID = "odd", "odd" }),
		"an id too long":      with(func(r *ledger.Record) { r.ID += "0" }),
		"an id in capitals":   with(func(r *ledger.Record) { r.ID = strings.ToUpper(r.ID) }),
		"an id with an l":     with(func(r *ledger.Record) { r.ID = r.ID[:39] + "l" }),
		"an id of accents":    with(func(r *ledger.Record) { r.ID = strings.Repeat("é", 20) }),
		"a child in capitals": with(func(r *ledger.Record) { r.ID = "Z" + r.ID[1:] }),
		"the parent's id":     with(func(r *ledger.Record) { r.ID = r.Parent }),
		"a bare prefix":       with(func(r *ledger.Record) { r.Account = "user_" }),
		"an account unlike":   with(func(r *ledger.Record) { r.Account = "user_0123456789abcdeu" }),
		"a request of zeros":  with(func(r *ledger.Record) { r.RequestID = strings.Repeat("A", 26) }),
		"a request of sevens": with(func(r *ledger.Record) { r.RequestID = strings.Repeat("7", 26) }),
		"a request of ones":   with(func(r *ledger.Record) { r.RequestID = strings.Repeat("1", 26) }),
		"bytes":               with(func(r *ledger.Record) { r.RequestID = "\x00\xff\n" }),
		"a long text":         with(func(r *ledger.Record) { r.Key = strings.Repeat("k", 100_000) }),
		"a long detail":       with(func(r *ledger.Record) { r.Extra = strings.Repeat("x", 100_000) }),
		"times at the ends": {
			{At: math.MinInt64, IssuedAt: math.MaxInt64, ExpiresAt: math.MinInt64},
			{At: math.MaxInt64, IssuedAt: math.MinInt64, ExpiresAt: math.MaxInt64},
			{At: -1, IssuedAt: -1, ExpiresAt: -1}, {At: -1000, IssuedAt: 1},
		},
		"odd actors": {{Parent: "p", ActorID: "p"}, {Parent: "", ActorID: ""}, {ActorID: "p"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := mustDecode(t, ledger.Append(nil, records))
			if diff := cmp.Diff(records, got); diff != "" {
				t.Errorf("Decode(Append(records)) (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAddressesComeBackAsTheyWereGiven(t *testing.T) {
	t.Parallel()
	for address, packed := range map[string]bool{
		"192.0.2.1": true, "0.0.0.0": true, "2001:db8::1": true, "::": true, "::1": true,
		"::ffff:192.0.2.1": true, "2001:db8:1234:5678:9abc:def0:1234:5678": true,
		"192.0.2.01": false, "192.0.2": false, "2001:DB8::1": false, "2001:0db8::1": false,
		"::ffff:c000:201": false, "fe80::1%eth0": false, "192.0.2.1:80": false, "...": false,
		"1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20": false,
	} {
		body := ledger.Append(nil, []ledger.Record{{Address: address}})
		if got := mustDecode(t, body)[0].Address; got != address {
			t.Errorf("address %q comes back as %q", address, got)
		}
		if plain := bytes.Contains(body, []byte(address)); plain == packed {
			t.Errorf("address %q is stored as text: %t, want %t", address, plain, !packed)
		}
	}
}

// texts draws texts that are ids, nearly ids, and anything else, few enough to be repeated.
func texts() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"", "token.refresh", "account", "user_0123456789abcdef"}),
		rapid.StringMatching(`(user_|at_|adm_|pol_|k_|mac_|dev_|ses_)[0-9a-hjkmnp-tv-z]{15,17}`),
		rapid.StringMatching(`[0-9a-z]{40}`), rapid.StringMatching(`[0-9a-hjkmnp-tv-z]{40}`),
		rapid.StringMatching(`[A-Z2-7]{26}`), rapid.StringMatching(`[A-Z0-9]{26}`),
		rapid.StringMatching(`[0-9]{1,3}(\.[0-9]{1,3}){3}`),
		rapid.StringMatching(`[0-9a-f]{0,4}(:[0-9a-f]{0,4}){2,7}`),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 60), func(b []byte) string { return string(b) }),
	)
}

func drawRecord(t *rapid.T, before []ledger.Record) ledger.Record {
	some := texts()
	r := ledger.Record{
		ID: some.Draw(t, "id"), Account: some.Draw(t, "account"), Parent: some.Draw(t, "parent"),
		IssuedBy: some.Draw(t, "issued by"), Key: some.Draw(t, "key"),
		IssuedAt: rapid.Int64().Draw(t, "issued"), ExpiresAt: rapid.Int64().Draw(t, "expires"),
		At: rapid.Int64().Draw(t, "at"), Action: some.Draw(t, "action"),
		ActorKind: some.Draw(t, "actor kind"), ActorID: some.Draw(t, "actor"),
		Address: some.Draw(t, "address"), RequestID: some.Draw(t, "request"),
		TokenHash: sha256.Sum256([]byte(some.Draw(t, "token"))), Extra: some.Draw(t, "extra"),
	}
	if rapid.Bool().Draw(t, "acts as its parent") {
		r.ActorID = r.Parent
	}
	if rapid.Bool().Draw(t, "is a child") && len(r.Parent) == 40 {
		r.IssuedAt = rapid.Int64Range(0, 1<<40-1).Draw(t, "issued in 40 bits")
		issued, parent := time.Unix(r.IssuedAt, 0), opaque.TokenID(r.Parent)
		r.ID = string(opaque.NewDeriver(nil).TokenID(issued, parent, nil))
	}
	if len(before) > 0 && rapid.Bool().Draw(t, "is like one before") {
		like := rapid.SampledFrom(before).Draw(t, "which")
		r.Account, r.Address, r.Action = like.Account, like.Address, like.Action
	}
	return r
}

func TestAnyRecordsComeBackAndGiveTheSameBytes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var records []ledger.Record
		for range rapid.IntRange(0, 6).Draw(t, "records") {
			records = append(records, drawRecord(t, records))
		}
		body := ledger.Append(nil, records)
		got, err := ledger.Decode(body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(records, got); diff != "" {
			t.Fatalf("Decode(Append(records)) (-want +got):\n%s", diff)
		}
		// got is made of other strings than records
		again := ledger.Append([]byte("before"), got)
		if want := append([]byte("before"), body...); !bytes.Equal(again, want) {
			t.Fatalf("equal records give %x, then %x", want, again)
		}
	})
}

func TestARefreshIsSmall(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		accounts, records, most int
	}{
		{1, 1, 160}, {1, 100, 105}, {100, 100, 116}, {1, 4096, 105},
	} {
		size := len(ledger.Append(nil, refreshes(t, test.accounts, test.records)))
		t.Logf("%d records of %d accounts: %.1f bytes each", test.records, test.accounts,
			float64(size)/float64(test.records))
		if size > test.most*test.records {
			t.Errorf("%d records of %d accounts take %d bytes each, want %d at most",
				test.records, test.accounts, size/test.records, test.most)
		}
	}
}

// Each kind of id that service/opaque makes, and a request id, has a packed form.
func TestIDsOfOursArePacked(t *testing.T) {
	t.Parallel()
	s := newSource(3)
	empty := len(ledger.Append(nil, []ledger.Record{{}}))
	for _, kind := range []opaque.Kind{
		opaque.OfAccount, opaque.OfAPIToken, opaque.OfAdminToken, opaque.OfPolicy, opaque.OfKey,
		opaque.OfMachine, opaque.OfDeviceLogin, opaque.OfSession,
	} {
		body := ledger.Append(nil, []ledger.Record{{Account: s.id(t, kind)}})
		if got := len(body) - empty; got != 11 {
			t.Errorf("an id %s… takes %d bytes more than none, want 11", kind, got)
		}
	}
	body := ledger.Append(nil, []ledger.Record{{RequestID: rand.Text()}})
	if got := len(body) - empty; got != 16 {
		t.Errorf("a request id takes %d bytes more than none, want 16", got)
	}
}

func TestTheBytesOfABlockStayAsTheyAre(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("testdata/block-1.hex")
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for line := range strings.Lines(string(file)) {
		digits, _, _ := strings.Cut(line, "#")
		part, err := hex.DecodeString(strings.TrimSpace(digits))
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		want = append(want, part...)
	}
	records := []ledger.Record{{
		ID:      "01ns5360z0gj48s44mk2ea19810m4gt48n34ej29",
		Account: "user_0123456789abcdef", IssuedBy: "pol_ghjkmnpqrstvwxyz",
		Key: "k_0000000000000001", IssuedAt: 1804766400, ExpiresAt: 1804770000, At: 1804766400123,
		Action: "token.exchange", ActorKind: "github-job", ActorID: "octo/site",
		Address: "2001:db8::1", RequestID: "ABCDEFGHIJKLMNOPQRSTUVWXY7",
		TokenHash: sha256.Sum256([]byte("first")), Extra: `{"repository_id":"12"}`,
	}, {
		ID: "01ns52wm000g40r40m30e20960rk4csm6mv3ee1s", Account: "user_0123456789abcdef",
		Parent: "01ns32b0000g40r40m30e209208h44rm2mb1e60s", Key: "k_0000000000000001",
		IssuedAt: 1804766100, ExpiresAt: 1836302100, At: 1804766405000,
		Action: "token.refresh", ActorKind: "account",
		ActorID: "01ns32b0000g40r40m30e209208h44rm2mb1e60s", Address: "192.0.2.17",
		RequestID: "ZZZZZZZZZZZZZZZZZZZZZZZZZ2", TokenHash: sha256.Sum256([]byte("second")),
	}, {
		ID: "né\n\xff", ExpiresAt: -1, At: 1804766400000, Action: "token.issue",
		ActorKind: "command-line", ActorID: "root",
	}}
	if diff := cmp.Diff(records, mustDecode(t, want)); diff != "" {
		t.Errorf("records of the stored block (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, ledger.Append(nil, records)); diff != "" {
		t.Errorf("bytes of the same records today (-want +got):\n%s", diff)
	}
}

func TestAReaderPassesOverRecordsAndFindsThem(t *testing.T) {
	t.Parallel()
	records := append(refreshes(t, 3, 50), exchanged(t), ledger.Record{})
	body := ledger.Append(nil, records)
	kinds := []ledger.Kind{
		ledger.OfToken, ledger.OfParent, ledger.OfAccount, ledger.OfIssuer, ledger.OfKey,
		ledger.OfActor, ledger.OfAction, ledger.OfRequest, ledger.OfRepositoryID,
		ledger.OfRepositoryName,
	}
	names := map[string]bool{"": true, "other": true, "octo-org/other": true}
	has := make([]map[string]bool, len(records)) // kind and name of Names
	for i, r := range records {
		has[i] = map[string]bool{}
		for kind, name := range ledger.Names(r) {
			names[name], has[i][fmt.Sprint(kind, name)] = true, true
		}
	}
	r := ledger.NewReader(body)
	for i := range records {
		if !r.Next() {
			t.Fatalf("Next() = false at record %d: %v", i, r.Err())
		}
		for _, kind := range kinds {
			for name := range names {
				if got, want := r.Has(kind, name), has[i][fmt.Sprint(kind, name)]; got != want {
					t.Errorf("Has(%d, %q) = %t, Names say %t", kind, name, got, want)
				}
			}
		}
		if i%7 == 0 {
			if diff := cmp.Diff(records[i], r.Record()); diff != "" {
				t.Errorf("record %d (-want +got):\n%s", i, diff)
			}
		}
	}
	if r.Next() || r.Err() != nil {
		t.Errorf("after the last record: another one, or %v", r.Err())
	}
}

func TestARecordOutlivesItsBlock(t *testing.T) {
	t.Parallel()
	want := []ledger.Record{exchanged(t), refreshes(t, 1, 1)[0]}
	body := ledger.Append(nil, want)
	got := mustDecode(t, body)
	clear(body)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after the block was overwritten (-want +got):\n%s", diff)
	}
}

func TestPassingOverAllocatesNothingForARecord(t *testing.T) {
	body := ledger.Append(nil, refreshes(t, 1, 1000))
	account := refreshes(t, 2, 2)[1].Account
	allocations := testing.AllocsPerRun(10, func() {
		r := ledger.NewReader(body)
		for r.Next() {
			for _, kind := range []ledger.Kind{ledger.OfToken, ledger.OfParent, ledger.OfAccount} {
				if r.Has(kind, account) {
					t.Error("found an account that is not there")
				}
			}
		}
		if r.Err() != nil {
			t.Error(r.Err())
		}
	})
	if allocations > 8 {
		t.Errorf("passing over 1,000 records allocates %.0f times, want 8 at most", allocations)
	}
}

func TestACutOrLongerBlockIsRefused(t *testing.T) {
	t.Parallel()
	body := ledger.Append(nil, append(refreshes(t, 2, 3), exchanged(t)))
	for n := range len(body) {
		if _, err := ledger.Decode(body[:n]); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("Decode(the first %d of %d bytes) = %v, want ErrMalformed", n, len(body), err)
		}
	}
	if _, err := ledger.Decode(append(body, 0)); !errors.Is(err, ledger.ErrMalformed) {
		t.Errorf("Decode(a byte more) = %v, want ErrMalformed", err)
	}
}

func TestAForgedBlockIsRefused(t *testing.T) {
	t.Parallel()
	const times, refs, none = "000000", "02020202020202", "000000000000" // none: of three texts
	hash := strings.Repeat("00", ledger.HashSize)
	parent := "01" + strings.Repeat("00", 25)
	request := "04" + strings.Repeat("00", 17)
	for name, test := range map[string]struct {
		block string
		want  string // "" for a good block, which shows that the others differ by one thing
	}{
		"good": {
			"0101" + times + refs + parent + "0300010203040506070809" + request + hash + "00", "",
		},
		"another version": {
			"0201" + times + refs + none + hash + "00", "version 2",
		},
		"too many records": {
			"0102" + times + refs + none + hash + "00", "2 records",
		},
		"as many as can be": {
			"01ffffffffffffffffff01" + times + refs + none + hash + "00", "records do not fit",
		},
		"a number of 11 bytes": {
			"0101" + "ffffffffffffffffffff01" + "0000" + refs + none + hash + "00", "no number",
		},
		"a reference too far": {
			"0101" + times + "020202020202" + "0c" + none + hash + "00", "reference 12",
		},
		"an unknown form": {
			"0101" + times + refs + "0700" + "0000" + "0000" + hash + "00", "form 7",
		},
		"a prefix too many": {
			"0101" + times + refs + "1000" + "0000" + "0000" + hash + "00", "form 16",
		},
		"a child for a parent": {
			"0101" + times + refs + "0300010203040506070809" + "0000" + "0000" + hash + "00", "form 3",
		},
		"a child without parent": {
			"0101" + times + refs + "0000" + "0300010203040506070809" + "0000" + hash + "00", "parent",
		},
		"131 bits of a request": {
			"0101" + times + refs + "0000" + "0000" + request[:34] + "20" + hash + "00", "26 letters",
		},
		"a text past the end": {
			"0101" + times + refs + "0000" + "0000" + "00ffffffff7f" + hash + "00", "cut",
		},
		"details past the end": {
			"0101" + times + refs + none + hash + "01", "cut",
		},
		"a byte after the record": {
			"0101" + times + refs + none + hash + "0000", "1 bytes follow",
		},
	} {
		body, err := hex.DecodeString(test.block)
		if err != nil {
			t.Fatal(err)
		}
		records, err := ledger.Decode(body)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.want != "" && (!errors.Is(err, ledger.ErrMalformed) ||
			!strings.Contains(err.Error(), test.want) || records != nil):
			t.Errorf("%s: Decode = %v, %v, want ErrMalformed about %q", name, records, err, test.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add(ledger.Append(nil, nil))
	f.Add(ledger.Append(nil, []ledger.Record{{}, {}}))
	f.Add(ledger.Append(nil, refreshes(f, 2, 3)))
	f.Add(ledger.Append(nil, []ledger.Record{exchanged(f), refreshes(f, 1, 1)[0]}))
	f.Fuzz(func(t *testing.T, body []byte) {
		records, err := ledger.Decode(body)
		if err != nil {
			if !errors.Is(err, ledger.ErrMalformed) || records != nil {
				t.Errorf("Decode(%x) = %v, %v, want none and ErrMalformed", body, records, err)
			}
			return
		}
		if len(records)*ledger.HashSize > len(body) {
			t.Errorf("%d records in %d bytes", len(records), len(body))
		}
		got := mustDecode(t, ledger.Append(nil, records))
		if diff := cmp.Diff(records, got); diff != "" {
			t.Errorf("Decode(Append(records)) (-want +got):\n%s", diff)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, accounts := range []int{1, 100} {
		records := refreshes(b, accounts, 100)
		b.Run(fmt.Sprintf("100 records of %d accounts", accounts), func(b *testing.B) {
			body := ledger.Append(nil, records)
			b.ReportAllocs()
			for b.Loop() {
				body = ledger.Append(body[:0], records)
			}
			perRecord(b, len(records))
			b.ReportMetric(float64(len(body))/float64(len(records)), "bytes/record")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	body := ledger.Append(nil, refreshes(b, 1, 100))
	b.ReportAllocs()
	for b.Loop() {
		mustDecode(b, body)
	}
	perRecord(b, 100)
}

func BenchmarkPassOver(b *testing.B) {
	records := refreshes(b, 1, 100)
	body := ledger.Append(nil, records)
	b.ReportAllocs()
	for b.Loop() {
		r := ledger.NewReader(body)
		for r.Next() {
			if r.Has(ledger.OfToken, "") {
				b.Fatal("found what is not there")
			}
		}
	}
	perRecord(b, len(records))
}

func perRecord(b *testing.B, records int) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
}
