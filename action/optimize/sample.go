package optimize

import (
	"math"
	"sort"
)

// group is all text of one type.
type group struct {
	nodes     []node
	bytes     int64
	samples   []*sample
	estimated bool // the samples are not all of it
}

// sample is a file to compress, up to limit bytes, and what came of it.
type sample struct {
	path         string
	size, limit  int64
	weight       float64 // how much of the group it stands for, beside that of the other samples
	read         int64
	gzip, brotli int64
}

func (g *group) add(n node) {
	g.nodes = append(g.nodes, n)
	g.bytes += n.size
}

func (g *group) takeAll() {
	for _, n := range g.nodes {
		g.samples = append(g.samples, &sample{path: n.path, size: n.size, limit: n.size})
	}
}

const (
	maxRead   = 1 << brotliWindow // no compressor looks further back
	minRead   = 16 << 10          // less of a larger file says too little: its beginning compresses worse than all of it
	maxPoints = 4096              // ends a sample of which one file is nearly everything
)

// takeSample picks files to read budget bytes of. All files lie end to end, points are thrown on
// them at even distances (steps of the golden ratio are even however many there are), and a file is
// picked when it is hit. So a large file is as likely to be picked as its share of the bytes, it
// counts as often as it is hit, and the same site gives the same sample. A picked file is read as
// far as the budget reaches, or up to maxRead; but for minRead the budget may be exceeded.
func (g *group) takeSample(budget int64) {
	const golden = 0.6180339887498949
	ends := make([]int64, len(g.nodes))
	end := int64(0)
	for i, n := range g.nodes {
		end += n.size
		ends[i] = end
	}
	g.estimated = true
	picked := map[int]*sample{}
	for at, points := 0.5, 0; budget > 0 && points < maxPoints; at, points = math.Mod(at+golden, 1), points+1 {
		byteAt := int64(at * float64(g.bytes))
		i := sort.Search(len(ends), func(i int) bool { return ends[i] > byteAt })
		if picked[i] == nil {
			n := g.nodes[i]
			picked[i] = &sample{path: n.path, size: n.size, limit: min(n.size, maxRead, max(budget, minRead))}
			g.samples = append(g.samples, picked[i])
			budget -= picked[i].limit
		}
		picked[i].weight++
	}
}

// takeLike picks the files that the sample of the other side has, as far as they are here: then it
// is true. A file that became smaller stands for as much less.
func (g *group) takeLike(other *group) bool {
	sizes := make(map[string]int64, len(g.nodes))
	for _, n := range g.nodes {
		sizes[n.path] = n.size
	}
	for _, s := range other.samples {
		if size, ok := sizes[s.path]; ok {
			g.samples = append(g.samples, &sample{
				path: s.path, size: size, limit: min(size, max(s.limit, minRead)), weight: s.weight * float64(size) / float64(s.size),
			})
		}
	}
	g.estimated = len(g.samples) > 0
	return g.estimated
}

// packed is the sum of all samples, or for an estimate the bytes of the group times the mean ratio
// of the samples.
func (g *group) packed() Packed {
	var sum Packed
	var gzipRatio, brotliRatio, weights float64
	for _, s := range g.samples {
		sum = sum.plus(Packed{Gzip: s.gzip, Brotli: s.brotli})
		if s.read > 0 {
			gzipRatio += s.weight * float64(s.gzip) / float64(s.read)
			brotliRatio += s.weight * float64(s.brotli) / float64(s.read)
			weights += s.weight
		}
	}
	if !g.estimated || weights == 0 {
		return sum
	}
	whole := float64(g.bytes) / weights
	return Packed{Gzip: int64(whole * gzipRatio), Brotli: int64(whole * brotliRatio), Estimated: true}
}
