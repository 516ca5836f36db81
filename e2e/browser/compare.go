package browser

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"maps"
	"math"
	"slices"
	"strings"
)

// Difference is one kind of difference on one page, in a person's words.
type Difference struct {
	Page string
	Kind string
	// Details are the first few, of Count in all.
	Details []string
	Count   int
}

func (d Difference) String() string {
	text := fmt.Sprintf("%s: %s: %s", d.Page, d.Kind, strings.Join(d.Details, "; "))
	if more := d.Count - len(d.Details); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// tolerance is how far a box may move or grow, in pixels: what is less comes of rounding.
const tolerance = 1.5

// Compare gives what differs between two snapshots of a page, nothing when a visitor cannot tell
// them apart.
func Compare(before, after *Snapshot) []Difference {
	c := comparison{page: before.Page}
	c.contents("", &before.content, &after.content)
	c.contents("in print, ", &before.Print, &after.Print)
	c.screens(before.Screen, after.Screen)
	c.sets("console", before.Console, after.Console)
	c.sets("requests that fail", before.Failures, after.Failures)
	c.texts("click", before.Click, after.Click)
	c.sets("stored by the service worker", before.Stored, after.Stored)
	return c.found
}

type comparison struct {
	page  string
	found []Difference
}

// shown is how many details of one kind are told.
const shown = 3

func (c *comparison) add(kind string, details []string) {
	if len(details) > 0 {
		c.found = append(c.found, Difference{c.page, kind, details[:min(shown, len(details))], len(details)})
	}
}

func (c *comparison) texts(kind, before, after string) {
	if before != after {
		c.add(kind, []string{fmt.Sprintf("%q became %q", before, after)})
	}
}

func (c *comparison) contents(media string, before, after *content) {
	if at := firstDifference(before.Words, after.Words); at >= 0 {
		c.add(media+"words", []string{wordsAround(before.Words, after.Words, at)})
	}
	c.lists(media+"text whose white space counts", before.Kept, after.Kept)
	c.landmarks(media, before.Landmarks, after.Landmarks)
	c.pictures(media, before.Pictures, after.Pictures)
	if media != "" {
		return // the rest does not depend on the medium
	}
	c.texts("title", before.Title, after.Title)
	c.texts("language", before.Language, after.Language)
	c.texts("charset", before.Charset, after.Charset)
	c.lists("canonical", before.Canonical, after.Canonical)
	c.sets("alternates", before.Alternates, after.Alternates)
	c.sets("meta", before.Meta, after.Meta)
	c.lists("structured data", before.Data, after.Data)
	c.sets("ids", before.IDs, after.IDs)
	c.lists("links", before.Links, after.Links)
	c.lists("forms", before.Forms, after.Forms)
}

func firstDifference(a, b []string) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}

func wordsAround(before, after []string, at int) string {
	here := func(words []string) string {
		from, to := max(0, min(at-3, len(words))), min(at+4, len(words))
		text := strings.Join(words[from:to], " ")
		if to < len(words) {
			text += " …"
		}
		return text
	}
	return fmt.Sprintf("%d words became %d; from word %d on, %q became %q", len(before), len(after), at+1, here(before), here(after))
}

// lists compares where the order counts.
func (c *comparison) lists(kind string, before, after []string) {
	if slices.Equal(before, after) {
		return
	}
	if details := setDetails(before, after); len(details) > 0 {
		c.add(kind, details)
		return
	}
	at := firstDifference(before, after)
	c.add(kind, []string{fmt.Sprintf("the order changed: number %d was %q and is %q", at+1, clip(before[at]), clip(after[at]))})
}

func (c *comparison) sets(kind string, before, after []string) {
	c.add(kind, setDetails(before, after))
}

func setDetails(before, after []string) []string {
	count := map[string]int{}
	for _, s := range before {
		count[s]++
	}
	for _, s := range after {
		count[s]--
	}
	var details []string
	for _, s := range slices.Sorted(maps.Keys(count)) {
		if n := count[s]; n > 0 {
			details = append(details, fmt.Sprintf("gone: %q", clip(s)))
		} else if n < 0 {
			details = append(details, fmt.Sprintf("new: %q", clip(s)))
		}
	}
	return details
}

func clip(s string) string {
	if runes := []rune(s); len(runes) > 160 {
		return string(runes[:160]) + "…"
	}
	return s
}

func (c *comparison) landmarks(media string, before, after []landmark) {
	is := map[string]landmark{}
	for _, l := range after {
		is[l.Name] = l
	}
	var boxes, styles, missing []string
	for _, was := range before {
		now, ok := is[was.Name]
		if !ok {
			missing = append(missing, "gone: "+was.Name)
			continue
		}
		delete(is, was.Name)
		if !was.Box.near(now.Box) {
			boxes = append(boxes, fmt.Sprintf("%s was %s and is %s", was.Name, was.Box, now.Box))
		}
		for _, property := range slices.Sorted(maps.Keys(was.Styles)) {
			if was.Styles[property] != now.Styles[property] {
				styles = append(styles, fmt.Sprintf("%s: %s was %s and is %s", was.Name, property, clip(was.Styles[property]), clip(now.Styles[property])))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		missing = append(missing, "new: "+name)
	}
	c.add(media+"landmarks", missing)
	c.add(media+"boxes of landmarks", boxes)
	c.add(media+"styles of landmarks", styles)
}

func (c *comparison) pictures(media string, before, after []picture) {
	if len(before) != len(after) {
		names := func(all []picture) (names []string) {
			for _, p := range all {
				names = append(names, p.Name)
			}
			return names
		}
		c.add(media+"pictures", append([]string{fmt.Sprintf("%d became %d", len(before), len(after))}, setDetails(names(before), names(after))...))
		return
	}
	var details []string
	for i, was := range before {
		now := after[i]
		tell := func(format string, args ...any) { details = append(details, was.Name+" "+fmt.Sprintf(format, args...)) }
		switch {
		case was.Name != now.Name:
			tell("became %s", now.Name)
		case was.Broken != now.Broken:
			tell("is shown: %t, was: %t", !now.Broken, !was.Broken)
		case !was.Box.near(now.Box):
			tell("was %s and is %s", was.Box, now.Box)
		case !was.Ink.near(now.Ink):
			tell("was drawn at %s and is drawn at %s", was.Ink, now.Ink)
		case was.Paint != now.Paint:
			tell("was painted %s and is painted %s", was.Paint, now.Paint)
		case !alike(was.Look, now.Look):
			tell("is another picture")
		}
	}
	c.add(media+"pictures", details)
}

func (r rect) near(other rect) bool {
	for i := range r {
		if math.Abs(r[i]-other[i]) > tolerance {
			return false
		}
	}
	return true
}

func (r rect) String() string {
	return fmt.Sprintf("%g×%g at %g,%g", r[2], r[3], r[0], r[1])
}

// alike says whether two pictures look the same from afar: encoding them anew changes colours a
// little, another picture by far.
func alike(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	sum, worst := 0, 0
	for i := range a {
		d := a[i] - b[i]
		if d < 0 {
			d = -d
		}
		sum, worst = sum+d, max(worst, d)
	}
	return len(a) == 0 || sum/len(a) < 8 && worst < 64
}

// screenTolerance is how many pixels of the first screen may differ clearly: a picture that was
// encoded anew has a few at its edges.
const screenTolerance = 24

// screens compares the first screen pixel by pixel. Pictures may be encoded anew, so that a pixel
// counts when it differs clearly.
func (c *comparison) screens(before, after []byte) {
	if bytes.Equal(before, after) {
		return
	}
	a, errA := png.Decode(bytes.NewReader(before))
	b, errB := png.Decode(bytes.NewReader(after))
	if errA != nil || errB != nil || a.Bounds() != b.Bounds() {
		c.add("first screen", []string{"it has another size, or is no picture"})
		return
	}
	differ, where := 0, image.Rectangle{}
	for y := a.Bounds().Min.Y; y < a.Bounds().Max.Y; y++ {
		for x := a.Bounds().Min.X; x < a.Bounds().Max.X; x++ {
			if clearly(a, b, x, y) {
				differ++
				where = where.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	if differ > screenTolerance {
		c.add("first screen", []string{fmt.Sprintf("%d pixels differ, within %v", differ, where)})
	}
}

func clearly(a, b image.Image, x, y int) bool {
	ar, ag, ab, _ := a.At(x, y).RGBA()
	br, bg, bb, _ := b.At(x, y).RGBA()
	far := func(p, q uint32) bool { return max(p, q)-min(p, q) > 40<<8 }
	return far(ar, br) || far(ag, bg) || far(ab, bb)
}
