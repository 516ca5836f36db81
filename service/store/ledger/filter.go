package ledger

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Filter tells whether a segment may have a name. It is a Bloom filter: a name that was added is
// always found; so is one in a hundred others, each of which costs a useless look at the segment.
//
// The stored form is the form in memory:
//
//	filter = version (1 byte: 1), number of bytes that follow (4 bytes, big-endian), bits
//
// Seven bits are set for each name, of the number of bits m. With x = XXH64 (seed 0) of the name
// and h = x mixed with its kind (see hashOf), a = the low and b = the high half of h (b made odd),
// bit i (0 to 6) is ((a + i·b) mod 2³²) · m / 2³². Bit n is bit n mod 8 of byte n / 8, counted
// from the lowest.
//
// The hash has no key: names that are chosen to collide make searches slower, but cannot hide a
// record.
type Filter struct{ stored []byte }

const (
	filterVersion = 1
	filterHeader  = 5

	bitsPerName = 10
	bitsSet     = 7       // the best number for 10 bits a name
	maxBits     = 1 << 31 // 200 million names; positions are computed in 32 bits
)

// NewFilter returns an empty filter for that many distinct names. More of them raise the rate of
// false positives.
func NewFilter(names int) Filter {
	bits := min(max(names, 8), maxBits/bitsPerName) * bitsPerName
	size := (bits + 7) / 8
	stored := make([]byte, filterHeader+size)
	stored[0] = filterVersion
	binary.BigEndian.PutUint32(stored[1:], uint32(size))
	return Filter{stored}
}

// FilterOf returns the filter of these names, of the size for the distinct ones. Their order and
// repetition make no difference.
func FilterOf(names iter.Seq2[Kind, string]) Filter {
	var hashes []uint64
	for kind, name := range names {
		hashes = append(hashes, hashOf(kind, name))
	}
	slices.Sort(hashes)
	hashes = slices.Compact(hashes)
	f := NewFilter(len(hashes))
	for _, h := range hashes {
		f.add(h)
	}
	return f
}

// ParseFilter returns the filter in these bytes, without copying them. ErrMalformed.
func ParseFilter(stored []byte) (Filter, error) {
	if len(stored) <= filterHeader || stored[0] != filterVersion {
		return Filter{}, fmt.Errorf("%w: %d bytes are not a filter of version %d", ErrMalformed,
			len(stored), filterVersion)
	}
	size := uint64(binary.BigEndian.Uint32(stored[1:]))
	if size != uint64(len(stored)-filterHeader) || size > maxBits/8 {
		return Filter{}, fmt.Errorf("%w: a filter of %d bytes has %d", ErrMalformed, size,
			len(stored)-filterHeader)
	}
	return Filter{stored}, nil
}

// Bytes is the stored form of the filter, not a copy.
func (f Filter) Bytes() []byte { return f.stored }

// Add adds a name to a filter that NewFilter made.
func (f Filter) Add(kind Kind, name string) { f.add(hashOf(kind, name)) }

func (f Filter) add(h uint64) {
	bits := f.stored[filterHeader:]
	for i := range uint32(bitsSet) {
		n := position(h, i, len(bits))
		bits[n/8] |= 1 << (n % 8)
	}
}

// MayHave is false only if the name was not added; always true for the zero Filter.
func (f Filter) MayHave(kind Kind, name string) bool {
	if len(f.stored) == 0 {
		return true
	}
	bits, h := f.stored[filterHeader:], hashOf(kind, name)
	for i := range uint32(bitsSet) {
		if n := position(h, i, len(bits)); bits[n/8]&(1<<(n%8)) == 0 {
			return false
		}
	}
	return true
}

func position(h uint64, i uint32, size int) uint64 {
	a, b := uint32(h), uint32(h>>32)|1
	return uint64(a+i*b) * (uint64(size) * 8) >> 32
}

// hashOf mixes the kind into the hash of the name, so that the same id as a token and as a parent
// are two names. The mixing is the finalizer of SplitMix64.
func hashOf(kind Kind, name string) uint64 {
	h := xxhash.Sum64String(name) + uint64(kind)*0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
