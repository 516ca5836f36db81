// Command stuck stands for an optimizer that hangs: it writes half a site to its output folder,
// says so where the Action lets it be seen (its standard output is taken for a report), and does
// not end by itself.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

func main() {
	i := slices.Index(os.Args, "--output")
	if i < 0 || i+1 >= len(os.Args) {
		fmt.Fprintln(os.Stderr, "no --output among the arguments:", os.Args)
		os.Exit(2)
	}
	output := os.Args[i+1]
	if err := os.MkdirAll(output, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := os.WriteFile(filepath.Join(output, "index.html"), []byte("half"), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "half of the site is written")
	time.Sleep(time.Hour)
}
