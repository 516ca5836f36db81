// Command checks holds the rules of this repository that no linter knows: which package may import
// which, what no file may name, that the Action's contract is documented, that workflows are
// pinned, that tests neither sleep nor skip, that a release names its image by digest, that `make
// help` is whole, the rules of the house that a parser can see, and that a document says nothing
// twice.
//
//	go run ./.ci/checks
//
// It prints one line per fault and exits 1; a check that could not be made exits 2. It looks at
// tracked files and at new ones that are not ignored, so that a fault shows before its commit.
//
// What gofmt, go vet, staticcheck and actionlint decide is decided there: see the Makefile.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	status := run(ctx, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// A check finds the faults of one kind in the checkout. An error means that it could not look.
type check struct {
	name string
	find func(checkout) ([]fault, error)
}

// run makes all checks on the checkout that the working folder is in, and gives the exit status.
func run(ctx context.Context, stdout, stderr io.Writer) int {
	here, err := openCheckout(ctx, output)
	if err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		return 2
	}
	machine := machine{output: func(name string, args ...string) (string, error) { return output(ctx, name, args...) }, readFile: os.ReadFile}
	return report(here, []check{
		{"imports", imports},
		{"names", machine.names},
		{"action", action},
		{"workflows", workflows},
		{"tests", tests},
		{"release", release},
		{"makefile", makefile},
		{"house", house},
		{"documents", documents},
	}, stdout, stderr)
}

// report makes the checks in their order and prints what they find. A check that could not be made
// ends the report: what came before it would read as if it were all.
func report(here checkout, checks []check, stdout, stderr io.Writer) int {
	status := 0
	for _, c := range checks {
		faults, err := c.find(here)
		if err != nil {
			fmt.Fprintf(stderr, "error: check %s: %v\n", c.name, err)
			return 2
		}
		for _, f := range sorted(faults) {
			fmt.Fprintln(stdout, f)
			status = 1
		}
	}
	return status
}

// output runs a program in the working folder and gives what it wrote to its standard output.
func output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("run %s: %w", name, err)
	}
	return string(out), nil
}
