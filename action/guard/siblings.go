package guard

// SiblingOf takes the name of a precompressed sibling apart: "app.js.br" is the sibling of "app.js" in
// the format "br". ok is false for other names. Whether it is one is said by HoldsSame.
func SiblingOf(name string) (of, format string, ok bool) { return "", "", false }

// HoldsSame reports whether a compressed file holds exactly these bytes. It reads no more than that.
func HoldsSame(format string, compressed, source []byte) bool { return false }

// Recompress compresses content in the format gz, br or zst. The same content gives the same bytes.
func Recompress(format string, content []byte) ([]byte, error) { return nil, nil }
