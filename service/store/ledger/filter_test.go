package ledger_test

import (
	"bytes"
	"errors"
	"iter"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store/ledger"
)

func mustParse(tb testing.TB, stored []byte) ledger.Filter {
	tb.Helper()
	f, err := ledger.ParseFilter(stored)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func TestAFilterMissesNothingAndSaysYesSeldom(t *testing.T) {
	t.Parallel()
	const n = 100_000
	s := newSource(4)
	names := make([]string, n)
	made := ledger.NewFilter(n)
	for i := range names {
		names[i] = s.id(t, opaque.OfAccount)
		made.Add(ledger.OfAccount, names[i])
	}
	if size := len(made.Bytes()); size > n*10/8+16 {
		t.Errorf("the filter of %d names has %d bytes", n, size)
	}
	f := mustParse(t, made.Bytes())
	wrong, otherKind := 0, 0
	for _, name := range names {
		if !f.MayHave(ledger.OfAccount, name) {
			t.Fatalf("MayHave(account, %q) = false after it was added", name)
		}
		if f.MayHave(ledger.OfActor, name) {
			otherKind++
		}
		if f.MayHave(ledger.OfAccount, s.id(t, opaque.OfAccount)) {
			wrong++
		}
	}
	t.Logf("wrong yes: %d of %d other names, %d of the same names of another kind", wrong, n,
		otherKind)
	if wrong > n/50 || otherKind > n/50 {
		t.Errorf("wrong yes for %d of %d other names and for %d names of another kind, want 2 %% at most",
			wrong, n, otherKind)
	}
}

func TestTheFilterOfNamesIsThatOfItsSet(t *testing.T) {
	t.Parallel()
	records := append(refreshes(t, 3, 200), exchanged(t))
	backwards := slices.Clone(records)
	slices.Reverse(backwards)
	f := ledger.FilterOf(namesOf(records))
	twice := ledger.FilterOf(namesOf(append(backwards, records...)))
	if !bytes.Equal(f.Bytes(), twice.Bytes()) {
		t.Error("the same names in another order, and twice, give another filter")
	}
	for kind, name := range namesOf(records) {
		if !f.MayHave(kind, name) {
			t.Errorf("MayHave(%d, %q) = false", kind, name)
		}
	}
	t.Logf("%d records: %d bytes", len(records), len(f.Bytes()))
}

func namesOf(records []ledger.Record) iter.Seq2[ledger.Kind, string] {
	return func(yield func(ledger.Kind, string) bool) {
		for _, r := range records {
			for kind, name := range ledger.Names(r) {
				if !yield(kind, name) {
					return
				}
			}
		}
	}
}

// These bytes are in databases of users. A change of the hash or of the form makes names be missed
// there: give it another version, and read both.
func TestTheBytesOfAFilterStayAsTheyAre(t *testing.T) {
	t.Parallel()
	f := ledger.NewFilter(8)
	f.Add(ledger.OfAccount, "user_0123456789abcdef")
	f.Add(ledger.OfRepositoryName, "octo-org/site")
	want := []byte{
		1, 0, 0, 0, 10,
		0x00, 0x23, 0x00, 0x4c, 0x00, 0x0a, 0x00, 0x11, 0x00, 0x24,
	}
	if diff := cmp.Diff(want, f.Bytes()); diff != "" {
		t.Errorf("bytes of the filter (-want +got):\n%s", diff)
	}
}

func TestAFilterOfAnySizeWorks(t *testing.T) {
	t.Parallel()
	for _, names := range []int{math.MinInt, -1, 0, 1, 7, 8, 9, 1000} {
		f := ledger.NewFilter(names)
		if f.MayHave(ledger.OfKey, "k") {
			t.Errorf("an empty filter for %d names may have k", names)
		}
		f.Add(ledger.OfKey, "k")
		if !mustParse(t, f.Bytes()).MayHave(ledger.OfKey, "k") {
			t.Errorf("a filter for %d names lost k", names)
		}
	}
	if !(ledger.Filter{}).MayHave(ledger.OfKey, "k") {
		t.Error("the zero filter denies")
	}
}

func FuzzParseFilter(f *testing.F) {
	f.Add([]byte{}, "k")
	f.Add([]byte{1, 0, 0, 0, 0}, "k")
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0}, "k")
	f.Add([]byte{2, 0, 0, 0, 1, 0}, "k")
	f.Add(ledger.NewFilter(8).Bytes(), "k")
	f.Fuzz(func(t *testing.T, stored []byte, name string) {
		parsed, err := ledger.ParseFilter(stored)
		if err != nil {
			if !errors.Is(err, ledger.ErrMalformed) {
				t.Errorf("ParseFilter(%x) = %v, want ErrMalformed", stored, err)
			}
			return
		}
		if _, err := ledger.ParseFilter(stored[:len(stored)-1]); err == nil {
			t.Errorf("ParseFilter takes %x without its last byte", stored)
		}
		parsed.MayHave(ledger.OfToken, name)
		parsed.Add(ledger.OfToken, name)
		if !parsed.MayHave(ledger.OfToken, name) {
			t.Errorf("MayHave(%q) = false after it was added", name)
		}
	})
}

func TestNamesOfARecord(t *testing.T) {
	t.Parallel()
	all := ledger.Record{
		ID: "id", Account: "account", Parent: "parent", IssuedBy: "issuer", Key: "key",
		Action: "action", ActorKind: "kind", ActorID: "actor", Address: "address",
		RequestID: "request", Extra: `{"repository":"Octo-Org/Site","repository_id":"12"}`,
	}
	type names map[ledger.Kind]string
	for what, test := range map[string]struct {
		record ledger.Record
		want   names
	}{
		"nothing": {ledger.Record{}, names{}},
		"all": {all, names{
			ledger.OfToken: "id", ledger.OfParent: "parent", ledger.OfAccount: "account",
			ledger.OfIssuer: "issuer", ledger.OfKey: "key", ledger.OfActor: "actor",
			ledger.OfAction: "action", ledger.OfRequest: "request", ledger.OfRepositoryID: "12",
			ledger.OfRepositoryName: "octo-org/site",
		}},
		"details of something else": {ledger.Record{Extra: `{"ref":"repository"}`}, names{}},
		"details that are no JSON":  {ledger.Record{Extra: `{"repository_id":"12"`}, names{}},
		"a number for an id":        {ledger.Record{Extra: `{"repository_id":12}`}, names{}},
		"an id without a name": {
			ledger.Record{Extra: `{"repository_id":"12"}`}, names{ledger.OfRepositoryID: "12"},
		},
	} {
		got := names{}
		for kind, name := range ledger.Names(test.record) {
			if _, again := got[kind]; again {
				t.Errorf("%s: kind %d comes twice", what, kind)
			}
			got[kind] = name
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("names of a record with %s (-want +got):\n%s", what, diff)
		}
	}
	for range ledger.Names(all) {
		break // must end there
	}
}

func BenchmarkMayHave(b *testing.B) {
	f := ledger.FilterOf(namesOf(refreshes(b, 1, 4096)))
	name := refreshes(b, 1, 1)[0].ID
	b.ReportAllocs()
	for b.Loop() {
		f.MayHave(ledger.OfToken, name)
	}
}

func BenchmarkFilterOf(b *testing.B) {
	records := refreshes(b, 1, 4096)
	b.ReportAllocs()
	for b.Loop() {
		ledger.FilterOf(namesOf(records))
	}
}
