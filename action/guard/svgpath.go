package guard

import "strconv"

// samePath says that two paths have the same segments, however they are written.
func samePath(before, after string, tolerance float64) bool {
	b, okB := readPath(before)
	a, okA := readPath(after)
	if !okA || !okB || len(a) != len(b) {
		return false
	}
	for i := range b {
		if b[i].command != a[i].command || len(b[i].numbers) > 0 && !near(b[i].numbers, a[i].numbers, tolerance) {
			return false
		}
	}
	return true
}

// segment is a segment with absolute coordinates, as one of M L C Q A Z.
type segment struct {
	command byte
	numbers []float64
}

// arguments of each command
var pathArguments = map[byte]int{'M': 2, 'L': 2, 'H': 1, 'V': 1, 'C': 6, 'S': 4, 'Q': 4, 'T': 2, 'A': 7, 'Z': 0}

type pathReader struct {
	text             string
	at               int
	x, y             float64 // where the pen is
	startX, startY   float64 // where the part of the path began
	mirrorX, mirrorY float64 // the last control point, for S and T
	mirrored         byte    // C or Q: which kind of curve it is of
	segments         []segment
}

func readPath(s string) ([]segment, bool) {
	r := &pathReader{text: s}
	var command byte
	for {
		r.space()
		if r.at == len(r.text) {
			return r.segments, len(r.segments) > 0 && r.segments[0].command == 'M'
		}
		if c := r.text[r.at]; c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			command = c
			r.at++
		} else if command == 0 || command == 'z' || command == 'Z' {
			return nil, false
		}
		upper := command &^ 0x20
		count, ok := pathArguments[upper]
		if !ok {
			return nil, false
		}
		n := make([]float64, count)
		for i := range n {
			if n[i], ok = r.number(upper == 'A' && (i == 3 || i == 4)); !ok {
				return nil, false
			}
		}
		r.draw(upper, command != upper, n)
		switch command { // further pairs are lines
		case 'M':
			command = 'L'
		case 'm':
			command = 'l'
		}
	}
}

func (r *pathReader) space() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', ',', '\t', '\n', '\r', '\f':
			r.at++
		default:
			return
		}
	}
}

func (r *pathReader) number(flag bool) (float64, bool) {
	r.space()
	start, dot, exponent := r.at, false, false
	if flag {
		if r.at < len(r.text) && (r.text[r.at] == '0' || r.text[r.at] == '1') {
			r.at++
			return float64(r.text[start] - '0'), true
		}
		return 0, false
	}
loop:
	for ; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; {
		case c >= '0' && c <= '9':
		case c == '.' && !dot && !exponent:
			dot = true
		case (c == 'e' || c == 'E') && !exponent && r.at > start:
			exponent = true
		case (c == '-' || c == '+') && (r.at == start || r.text[r.at-1]|0x20 == 'e'):
		default:
			break loop
		}
	}
	f, err := strconv.ParseFloat(r.text[start:r.at], 64)
	return f, err == nil
}

// draw notes a segment and moves the pen.
func (r *pathReader) draw(command byte, relative bool, n []float64) {
	dx, dy := 0.0, 0.0
	if relative {
		dx, dy = r.x, r.y
	}
	mirrored := byte(0)
	switch command {
	case 'Z':
		r.x, r.y = r.startX, r.startY
	case 'H':
		command, n = 'L', []float64{n[0] + dx, r.y}
	case 'V':
		command, n = 'L', []float64{r.x, n[0] + dy}
	case 'A':
		n[5], n[6] = n[5]+dx, n[6]+dy
	default:
		for i := 0; i+1 < len(n); i += 2 {
			n[i], n[i+1] = n[i]+dx, n[i+1]+dy
		}
	}
	switch command {
	case 'S', 'T':
		kind := map[byte]byte{'S': 'C', 'T': 'Q'}[command]
		cx, cy := r.x, r.y
		if r.mirrored == kind {
			cx, cy = 2*r.x-r.mirrorX, 2*r.y-r.mirrorY
		}
		command, n = kind, append([]float64{cx, cy}, n...)
	}
	if k := len(n); k >= 2 {
		if command == 'C' || command == 'Q' {
			mirrored, r.mirrorX, r.mirrorY = command, n[k-4], n[k-3]
		}
		r.x, r.y = n[k-2], n[k-1]
	}
	if command == 'M' {
		r.startX, r.startY = r.x, r.y
	}
	r.mirrored = mirrored
	r.segments = append(r.segments, segment{command, n})
}
