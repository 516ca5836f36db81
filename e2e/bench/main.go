// Command bench measures the License service against the limit of its stack: a bare Gin handler
// that only verifies and signs. Both are programs of their own, measured in turn within one run by
// the same load from this machine, so that only ratios count. It measures the Action and its guard
// too, in the same way. `make bench`, `make bench-action` and `make profile` call it;
// docs/performance.md explains what it prints.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	b := serviceBench{out: os.Stdout, begun: time.Now()}
	flags.StringVar(&b.service, "service", "", "the License service")
	engines := flags.String("engines", "sqlite,postgres", "databases to measure on")
	connections := flags.String("connections", "32,256", "connections at once, one after the other")
	flags.IntVar(&b.rounds, "rounds", 5, "rounds; the median counts")
	flags.DurationVar(&b.length, "time", 700*time.Millisecond, "how long each load takes")
	flags.IntVar(&b.accounts, "accounts", 10_000, "accounts of the row with many")
	flags.IntVar(&b.records, "records", 200_000, "records that are stored before the row with many begins; ten million take their time")
	flags.IntVar(&b.identities, "identities", 3000, "identities that one load exchanges")
	flags.StringVar(&b.only, "only", "", "measure this row alone, and nothing of what stands below the first table")
	flags.BoolVar(&b.quick, "quick", false, "a quick look: fewer rounds, accounts and records; figures vary more")

	hooks := hookBench{serviceBench: &b, queued: 100_000, drained: 20_000, acts: 500, pace: 10 * time.Millisecond}
	webhooks := flags.Bool("webhooks", false, "measure webhooks instead")

	var profile profileRequest
	flags.StringVar(&profile.folder, "profile", "", "profile the service instead, into this folder")
	flags.StringVar(&profile.engine, "profile-on", "sqlite", "the database: sqlite or postgres")
	flags.StringVar(&profile.job, "profile-of", "refresh", "refresh, issue, exchange or introspection")

	var around actionBench
	flags.StringVar(&around.action, "action", "", "measure this Action instead")
	flags.StringVar(&around.optimizer, "optimizer", "", "the pageflare CLI")
	flags.StringVar(&around.site, "site", "", "the site to optimize")
	sites := flags.String("sites", "", "measure the guard instead, on the sites in this folder")

	bare := flags.Bool("bare", false, "be the bare handlers, on a free port")
	profiled := flags.String("profiled", "", "be a service that writes its CPU profile to this file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if b.quick {
		if err := lookQuickly(flags); err != nil {
			return err
		}
	}
	var err error
	b.engines = strings.Split(*engines, ",")
	if b.connections, err = numbers(*connections); err != nil {
		return fmt.Errorf("-connections: %w", err)
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	switch {
	case *bare:
		return serveBare(ctx)
	case *profiled != "":
		return serveProfiled(ctx, *profiled)
	case *sites != "":
		return guardBench{optimizer: around.optimizer, sites: *sites}.run(ctx)
	case around.action != "":
		return around.start(ctx, b.service)
	case profile.folder != "":
		b.length *= 8 // one load is all, and a profile has a hundred samples a second
		return b.profile(ctx, profile)
	case b.service == "":
		return errors.New("-service: missing; `make bench` gives it")
	}
	if *webhooks {
		if b.quick {
			hooks.queued, hooks.drained, hooks.acts = 5000, 2000, 100
		}
		return hooks.run(ctx)
	}
	return b.run(ctx)
}

// lookQuickly sets what was not given so that a run takes less than a minute.
func lookQuickly(flags *flag.FlagSet) error {
	less := map[string]string{"rounds": "3", "time": "150ms", "accounts": "1000", "records": "10000", "identities": "500"}
	flags.Visit(func(given *flag.Flag) { delete(less, given.Name) })
	for name, value := range less {
		if err := flags.Set(name, value); err != nil {
			return err
		}
	}
	return nil
}

// numbers reads 32,256.
func numbers(text string) (all []int, err error) {
	for one := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(one)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a number of connections", one)
		}
		all = append(all, n)
	}
	return all, nil
}
