package guard

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// Precompressed siblings are files such as app.js.br beside app.js, which a host sends in place of
// it. One that holds the file as it was before the optimizer would undo its work, and break the
// site where only some clients get it. So siblings of changed files are made anew. A file with such
// a name that holds anything else (an archive, an older build) is none and is left as it is.

// SiblingOf takes the name of a precompressed sibling apart: "app.js.br" is the sibling of "app.js"
// in the format "br". ok is false for names without such an ending. Whether it is one depends on
// what the two files hold: see HoldsSame.
func SiblingOf(name string) (of, format string, ok bool) {
	for _, format := range []string{"gz", "br", "zst"} {
		of, ok := strings.CutSuffix(name, "."+format)
		if ok && of != "" && !strings.HasSuffix(of, "/") {
			return of, format, true
		}
	}
	return "", "", false
}

// HoldsSame reports whether a compressed file holds exactly these bytes. It stops where they
// differ, so it reads no more than was asked for, whatever the file expands to.
func HoldsSame(format string, compressed, source []byte) bool {
	r, err := expand(format, compressed)
	if err != nil {
		return false
	}
	defer r.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := io.ReadFull(r, buffer)
		if !bytes.HasPrefix(source, buffer[:n]) {
			return false
		}
		source = source[n:]
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return len(source) == 0
		default:
			return false
		}
	}
}

// zstdMemory is what one sibling may take to be read: browsers refuse windows above 8 MB.
const zstdMemory = 64 << 20

func expand(format string, compressed []byte) (io.ReadCloser, error) {
	in := bytes.NewReader(compressed)
	switch format {
	case "gz":
		return gzip.NewReader(in)
	case "br":
		return io.NopCloser(brotli.NewReader(in)), nil
	case "zst":
		z, err := zstd.NewReader(in,
			zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(zstdMemory))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("compressed as %q: not a format that is known here", format)
}

// Recompress compresses content in the format gz, br or zst, at the highest levels, since it is
// done once and sent often. The same content gives the same bytes: no name or time is in them.
func Recompress(format string, content []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := compressor(format, &out)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, fmt.Errorf("compress as %s: %w", format, err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress as %s: %w", format, err)
	}
	return out.Bytes(), nil
}

func compressor(format string, out io.Writer) (io.WriteCloser, error) {
	switch format {
	case "gz":
		return gzip.NewWriterLevel(out, gzip.BestCompression)
	case "br":
		return brotli.NewWriterLevel(out, brotli.BestCompression), nil
	case "zst":
		return zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedBestCompression),
			zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow))
	}
	return nil, fmt.Errorf("compress as %q: not a format that is known here", format)
}

// zstdWindow is the largest window that browsers accept.
const zstdWindow = 8 << 20
