package sheet

import (
	"slices"
	"strconv"
	"strings"
)

// foldCalc works out each calc() of plain numbers and lengths, as a sum with one term a unit.
func foldCalc(value string) string {
	for start := 0; ; {
		i := strings.Index(value[start:], "calc(")
		if i < 0 {
			return value
		}
		i += start
		c := calc{text: value[i+len("calc("):]}
		sum, ok := c.sum(0)
		if !ok || !c.take(')') {
			start = i + len("calc(")
			continue
		}
		folded := sum.String()
		value = value[:i] + folded + value[i+len("calc(")+c.at:]
		start = i + len(folded)
	}
}

// terms is a sum: how much of each unit.
type terms map[string]float64

func (t terms) String() string {
	var units []string
	for u := range t {
		units = append(units, u)
	}
	slices.Sort(units)
	var parts []string
	for _, u := range units {
		f := short(t[u])
		if f == "0" && len(units) == 1 && lengthUnits[u] {
			u = ""
		}
		parts = append(parts, f+u)
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return "calc(" + strings.Join(parts, " + ") + ")"
}

func (t terms) scale(f float64) terms {
	out := terms{}
	for u, v := range t {
		out[u] = v * f
	}
	return out
}

func (t terms) plain() (float64, bool) {
	f, ok := t[""]
	return f, ok && len(t) == 1
}

type calc struct {
	text string
	at   int
}

func (c *calc) space() {
	for c.at < len(c.text) && c.text[c.at] == ' ' {
		c.at++
	}
}

func (c *calc) take(b byte) bool {
	c.space()
	if c.at < len(c.text) && c.text[c.at] == b {
		c.at++
		return true
	}
	return false
}

func (c *calc) sum(depth int) (terms, bool) {
	left, ok := c.product(depth)
	for ok {
		sign := 0.0
		if c.take('+') {
			sign = 1
		} else if c.take('-') {
			sign = -1
		} else {
			break
		}
		var right terms
		if right, ok = c.product(depth); ok {
			left = left.scale(1)
			for u, v := range right {
				left[u] += sign * v
			}
		}
	}
	return left, ok
}

func (c *calc) product(depth int) (terms, bool) {
	left, ok := c.operand(depth)
	for ok {
		times := c.take('*')
		if !times && !c.take('/') {
			break
		}
		var right terms
		if right, ok = c.operand(depth); !ok {
			break
		}
		f, isPlain := right.plain()
		g, leftPlain := left.plain()
		switch {
		case isPlain && times:
			left = left.scale(f)
		case isPlain && f != 0:
			left = left.scale(1 / f)
		case leftPlain && times:
			left = right.scale(g)
		default:
			return nil, false
		}
	}
	return left, ok
}

func (c *calc) operand(depth int) (terms, bool) {
	if depth > maxSheetDepth {
		return nil, false
	}
	c.space()
	if strings.HasPrefix(c.text[c.at:], "calc(") {
		c.at += len("calc")
	}
	if c.take('(') {
		t, ok := c.sum(depth + 1)
		return t, ok && c.take(')')
	}
	start := c.at
	for c.at < len(c.text) && strings.IndexByte(" ()*/,", c.text[c.at]) < 0 {
		c.at++
	}
	word := c.text[start:c.at]
	end := len(word)
	for end > 0 && (word[end-1] >= 'a' && word[end-1] <= 'z' || word[end-1] == '%') {
		end--
	}
	f, err := strconv.ParseFloat(word[:end], 64)
	return terms{word[end:]: f}, err == nil && word != ""
}
