package guard

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"

	"golang.org/x/image/webp"
)

// Limits of pictures.
const (
	maxPixels   = 32 << 20 // of a picture that is decoded
	thumbnail   = 96       // side of the thumbnails that are compared
	maxMean     = 2.5      // mean difference of their channels, of 255
	maxContrast = 40       // largest difference of a channel, of 255
)

// comparePicture holds a picture against its source: format, size in pixels, orientation, colour
// profile and animation by their headers, and what is to be seen by thumbnails of the pixels. Where
// the pixels cannot be decoded (AVIF, animations, very large pictures) any change is a difference.
func comparePicture(_ string, source, result []byte) []Difference {
	before, err := readPicture(source)
	if err != nil {
		return []Difference{pictureDifference(KindInvalid, "the source cannot be compared: "+err.Error(), "", "")}
	}
	after, err := readPicture(result)
	if err != nil {
		return []Difference{pictureDifference(KindInvalid, "the result cannot be compared: "+err.Error(), "", "")}
	}
	switch {
	case before.format != after.format:
		return []Difference{pictureDifference(KindPicture, "the format differs", before.format, after.format)}
	case before.width != after.width || before.height != after.height:
		return []Difference{pictureDifference(KindPicture, "the size differs", before.size(), after.size())}
	case before.orientation != after.orientation:
		return []Difference{pictureDifference(KindPicture, "the orientation differs",
			fmt.Sprint(before.orientation), fmt.Sprint(after.orientation))}
	case before.animated || after.animated:
		return []Difference{pictureDifference(KindPicture, "an animation was changed", "", "")}
	case !bytes.Equal(before.profile, after.profile):
		return []Difference{pictureDifference(KindPicture, "the colour profile differs", "", "")}
	}
	return comparePixels(before, after)
}

func pictureDifference(kind Kind, detail, before, after string) Difference {
	return Difference{Kind: kind, Detail: detail, Before: before, After: after, Key: KeyImages}
}

// header is what a picture says of itself.
type header struct {
	format        string
	width, height int
	orientation   int // of EXIF, 1 to 8
	animated      bool
	profile       []byte
	decode        func() (image.Image, error)
}

func (h header) size() string { return fmt.Sprintf("%d × %d", h.width, h.height) }

func readPicture(b []byte) (h header, err error) {
	h.orientation = 1
	var config image.Config
	r := func() *bytes.Reader { return bytes.NewReader(b) }
	switch {
	case bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")):
		h.format = "PNG"
		config, err = png.DecodeConfig(r())
		h.pngChunks(b)
		h.decode = func() (image.Image, error) { return png.Decode(r()) }
	case bytes.HasPrefix(b, []byte("\xff\xd8")):
		h.format = "JPEG"
		config, err = jpeg.DecodeConfig(r())
		h.jpegSegments(b)
		h.decode = func() (image.Image, error) { return jpeg.Decode(r()) }
	case bytes.HasPrefix(b, []byte("GIF8")):
		h.format = "GIF"
		config, err = gif.DecodeConfig(r())
		h.animated = gifFrames(b) != 1
		h.decode = func() (image.Image, error) { return gif.Decode(r()) }
	case len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WEBP":
		h.format = "WebP"
		h.webpChunks(b)
		if !h.animated {
			config, err = webp.DecodeConfig(r())
		}
		h.decode = func() (image.Image, error) { return webp.Decode(r()) }
	default:
		return h, fmt.Errorf("not a format that the guard decodes")
	}
	h.width, h.height = config.Width, config.Height
	return h, err
}

// pngChunks reads the chunks before and between the pixels.
func (h *header) pngChunks(b []byte) {
	for at := 8; at+12 <= len(b); {
		size := int(binary.BigEndian.Uint32(b[at:]))
		if size < 0 || size > len(b)-at-12 {
			return
		}
		data := b[at+8 : at+8+size]
		switch string(b[at+4 : at+8]) {
		case "acTL":
			h.animated = true
		case "iCCP", "gAMA", "cHRM", "cICP":
			h.profile = append(h.profile, b[at+4:at+8+size]...)
		case "eXIf":
			h.orientation = orientation(data)
		}
		at += 12 + size
	}
}

// jpegSegments reads the segments before the pixels.
func (h *header) jpegSegments(b []byte) {
	for at := 2; at+4 <= len(b) && b[at] == 0xff; {
		marker := b[at+1]
		size := int(binary.BigEndian.Uint16(b[at+2:]))
		if marker == 0xda || size < 2 || at+2+size > len(b) {
			return
		}
		data := b[at+4 : at+2+size]
		switch {
		case marker == 0xe1 && bytes.HasPrefix(data, []byte("Exif\x00\x00")):
			h.orientation = orientation(data[6:])
		case marker == 0xe2 && bytes.HasPrefix(data, []byte("ICC_PROFILE\x00")):
			h.profile = append(h.profile, data...)
		case marker == 0xee && bytes.HasPrefix(data, []byte("Adobe")):
			h.profile = append(h.profile, data[len(data)-1]) // how colours are coded
		}
		at += 2 + size
	}
}

func (h *header) webpChunks(b []byte) {
	for at := 12; at+8 <= len(b); {
		size := int(binary.LittleEndian.Uint32(b[at+4:]))
		if size < 0 || size > len(b)-at-8 {
			return
		}
		data := b[at+8 : at+8+size]
		switch string(b[at : at+4]) {
		case "ANIM", "ANMF":
			h.animated = true
		case "ICCP":
			h.profile = data
		case "EXIF":
			h.orientation = orientation(bytes.TrimPrefix(data, []byte("Exif\x00\x00")))
		}
		at += 8 + size + size&1
	}
}

// orientation is the tag 0x112 of the first directory of EXIF data; 1 where it has none.
func orientation(b []byte) int {
	if len(b) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.BigEndian
	if b[0] == 'I' {
		order = binary.LittleEndian
	}
	at := int(order.Uint32(b[4:]))
	if at < 8 || at > len(b)-2 {
		return 1
	}
	for i := range int(order.Uint16(b[at:])) {
		entry := at + 2 + 12*i
		if entry > len(b)-12 {
			break
		}
		if order.Uint16(b[entry:]) == 0x112 {
			if v := int(order.Uint16(b[entry+8:])); v >= 1 && v <= 8 {
				return v
			}
		}
	}
	return 1
}

// gifFrames counts the frames of a GIF; 0 where it is broken.
func gifFrames(b []byte) int {
	if len(b) < 13 {
		return 0
	}
	at, frames := 13, 0
	if b[10]&0x80 != 0 {
		at += 3 << (b[10]&7 + 1)
	}
	blocks := func() bool { // skips sub-blocks
		for at < len(b) && b[at] != 0 {
			at += 1 + int(b[at])
		}
		at++
		return at <= len(b)
	}
	for at < len(b) {
		switch b[at] {
		case 0x3b:
			return frames
		case 0x21:
			at += 2
		case 0x2c:
			frames++
			if at+10 > len(b) {
				return 0
			}
			flags := b[at+9]
			at += 11 // with the code size
			if flags&0x80 != 0 {
				at += 3 << (flags&7 + 1)
			}
		default:
			return 0
		}
		if !blocks() {
			return 0
		}
	}
	return frames
}

// comparePixels compares thumbnails, turned upright.
func comparePixels(before, after header) []Difference {
	var thumbs [2]*image.NRGBA
	for i, h := range []header{before, after} {
		if h.width <= 0 || h.height <= 0 || h.width > maxPixels/h.height {
			return []Difference{pictureDifference(KindPicture, "larger than the guard decodes", "", h.size())}
		}
		p, err := h.decode()
		if err != nil {
			return []Difference{pictureDifference(KindInvalid, "the pixels cannot be decoded: "+err.Error(), "", "")}
		}
		thumbs[i] = upright(shrink(p), h.orientation)
	}
	sum, most := 0.0, 0.0
	for i, v := range thumbs[0].Pix {
		d := math.Abs(float64(v) - float64(thumbs[1].Pix[i]))
		sum += d
		most = math.Max(most, d)
	}
	if mean := sum / float64(len(thumbs[0].Pix)); mean > maxMean || most > maxContrast {
		return []Difference{pictureDifference(KindPicture, "it is not the same picture", "",
			fmt.Sprintf("differs by %.1f %% in the mean, and by %.0f %% at most", mean/2.55, most/2.55))}
	}
	return nil
}

// shrink makes a thumbnail: each of its pixels is the mean of those that it stands for. What is
// transparent has no colour of its own in it: colours are premultiplied, on purpose.
func shrink(p image.Image) *image.NRGBA {
	out := image.NewNRGBA(image.Rect(0, 0, thumbnail, thumbnail))
	b := p.Bounds()
	for y := range thumbnail {
		top, bottom := span(y, b.Dy())
		strip := image.NewRGBA(image.Rect(0, 0, b.Dx(), bottom-top))
		draw.Draw(strip, strip.Bounds(), p, image.Pt(b.Min.X, b.Min.Y+top), draw.Src)
		for x := range thumbnail {
			left, right := span(x, b.Dx())
			out.SetNRGBA(x, y, mean(strip, left, right))
		}
	}
	return out
}

// span is the part of a side that one pixel of the thumbnail stands for, at least one pixel.
func span(i, side int) (from, to int) {
	from = i * side / thumbnail
	return from, max((i+1)*side/thumbnail, from+1)
}

// mean is the mean of some columns of a strip.
func mean(strip *image.RGBA, left, right int) color.NRGBA {
	var sum [4]int
	height := strip.Bounds().Dy()
	for y := range height {
		row := strip.Pix[y*strip.Stride+4*left : y*strip.Stride+4*right]
		for i, v := range row {
			sum[i%4] += int(v)
		}
	}
	n := height * (right - left)
	return color.NRGBA{uint8(sum[0] / n), uint8(sum[1] / n), uint8(sum[2] / n), uint8(sum[3] / n)}
}

// upright turns and mirrors a thumbnail as its orientation says.
func upright(p *image.NRGBA, orientation int) *image.NRGBA {
	if orientation == 1 {
		return p
	}
	out := image.NewNRGBA(p.Bounds())
	const last = thumbnail - 1
	for y := range thumbnail {
		for x := range thumbnail {
			sx, sy := x, y
			switch orientation {
			case 2:
				sx = last - x
			case 3:
				sx, sy = last-x, last-y
			case 4:
				sy = last - y
			case 5:
				sx, sy = y, x
			case 6:
				sx, sy = y, last-x
			case 7:
				sx, sy = last-y, last-x
			case 8:
				sx, sy = last-y, x
			}
			out.SetNRGBA(x, y, p.At(sx, sy).(color.NRGBA))
		}
	}
	return out
}
