package optimize

import (
	"math"
	"sort"
)

// group is all text of one type.
type group struct {
	kind    Type
	nodes   []node
	bytes   int64
	samples []*sample
	points  int64 // that were thrown for a sample; 0: all of it is measured
}

// sample is a file to compress, up to limit bytes, and what came of it.
type sample struct {
	path         string
	limit        int64
	hits         int64
	read         int64
	gzip, brotli int64
}

func (g *group) add(n node) {
	g.nodes = append(g.nodes, n)
	g.bytes += n.size
}

func (g *group) takeAll() {
	for _, n := range g.nodes {
		g.samples = append(g.samples, &sample{path: n.path, limit: n.size})
	}
}

const (
	maxRead   = 1 << brotliWindow // no compressor looks further back
	minRead   = 16 << 10          // less of a larger file says too little: its beginning compresses worse than all of it
	maxPoints = 4096              // ends a sample of which one file is nearly everything
)

// takeSample picks files to read budget bytes of. All files lie end to end, points are thrown on them at even distances (steps of the
// golden ratio are even however many there are), and a file is picked when it is hit. So a large file is as likely to be picked as its
// share of the bytes, it counts as often as it is hit, and the same site gives the same sample. A picked file is read as far as the
// budget reaches, or up to maxRead; but for minRead the budget may be exceeded.
func (g *group) takeSample(budget int64) {
	const golden = 0.6180339887498949
	ends := make([]int64, len(g.nodes))
	end := int64(0)
	for i, n := range g.nodes {
		end += n.size
		ends[i] = end
	}
	picked := map[int]*sample{}
	for at := 0.5; budget > 0 && g.points < maxPoints; at = math.Mod(at+golden, 1) {
		byteAt := int64(at * float64(g.bytes))
		i := sort.Search(len(ends), func(i int) bool { return ends[i] > byteAt })
		if picked[i] == nil {
			picked[i] = &sample{path: g.nodes[i].path, limit: min(g.nodes[i].size, maxRead, max(budget, minRead))}
			g.samples = append(g.samples, picked[i])
			budget -= picked[i].limit
		}
		picked[i].hits++
		g.points++
	}
}

// packed is the sum of all samples; for points thrown, the bytes of the group times the mean ratio at the points.
func (g *group) packed() Packed {
	var sum Packed
	var gzipRatio, brotliRatio float64
	for _, s := range g.samples {
		sum = sum.plus(Packed{Gzip: s.gzip, Brotli: s.brotli})
		if s.read > 0 {
			weight := float64(s.hits) / float64(s.read)
			gzipRatio += weight * float64(s.gzip)
			brotliRatio += weight * float64(s.brotli)
		}
	}
	if g.points == 0 {
		return sum
	}
	whole := float64(g.bytes) / float64(g.points)
	return Packed{Gzip: int64(whole * gzipRatio), Brotli: int64(whole * brotliRatio), Estimated: true}
}
