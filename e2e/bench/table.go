package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// sample is one row in one round: what a load came to, and what the bare handler did just before.
type sample struct{ figures, bare figures }

// row is one line of the table.
type row struct {
	name        string
	engine      string
	connections int
	samples     []sample // one a round
}

// spread is the median of some values with the smallest and the largest.
type spread struct{ low, middle, high float64 }

func spreadOf(samples []sample, value func(sample) float64) spread {
	var all []float64
	for _, s := range samples {
		all = append(all, value(s))
	}
	slices.Sort(all)
	return spread{all[0], (all[(len(all)-1)/2] + all[len(all)/2]) / 2, all[len(all)-1]}
}

func (s spread) String() string { return fmt.Sprintf("%.2f (%.2f–%.2f)", s.middle, s.low, s.high) }

// ratio is that of a value to the bare handler's.
func ratio(of func(figures) float64) func(sample) float64 {
	return func(s sample) float64 { return of(s.figures) / of(s.bare) }
}

func rate(f figures) float64 { return f.perSecond }
func p50(f figures) float64  { return float64(f.p50) }
func p99(f figures) float64  { return float64(f.p99) }

func serviceCPU(f figures) float64  { return float64(f.cpu.service) }
func databaseCPU(f figures) float64 { return float64(f.cpu.database) }

// plain takes a value of the row itself.
func plain(of func(figures) float64) func(sample) float64 {
	return func(s sample) float64 { return of(s.figures) }
}

func milliseconds(d float64) string { return fmt.Sprintf("%.1f ms", d/float64(time.Millisecond)) }

var tableHead = []string{"", "database", "connections", "answers/s", "ratio (min–max)", "p50", "ratio", "p99", "ratio (min–max)", "CPU/answer"}

// cells are a row as the table has it.
func (r row) cells() []string {
	middle := func(value func(sample) float64) float64 { return spreadOf(r.samples, value).middle }
	return []string{
		r.name, cmp.Or(r.engine, "–"), fmt.Sprint(r.connections),
		fmt.Sprintf("%.0f", middle(plain(rate))), spreadOf(r.samples, ratio(rate)).String(),
		milliseconds(middle(plain(p50))), fmt.Sprintf("%.2f", middle(ratio(p50))),
		milliseconds(middle(plain(p99))), spreadOf(r.samples, ratio(p99)).String(),
		usage{time.Duration(middle(plain(serviceCPU))), time.Duration(middle(plain(databaseCPU)))}.String(),
	}
}

// againstItself are the samples of the bare handler that stand beside others.
func againstItself(samples []sample) (bare []sample) {
	for _, s := range samples {
		bare = append(bare, sample{s.bare, s.bare})
	}
	return bare
}

// printTable writes a table of Markdown whose columns are even. All but the first are to the right.
func printTable(w io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, cells := range rows {
		for i, c := range cells {
			widths[i] = max(widths[i], len([]rune(c)), 2)
		}
	}
	for n, cells := range rows {
		for i, c := range cells {
			pad := strings.Repeat(" ", widths[i]-len([]rune(c)))
			if i == 0 {
				c += pad
			} else {
				c = pad + c
			}
			fmt.Fprintf(w, "| %s ", c)
		}
		fmt.Fprintln(w, "|")
		if n == 0 {
			for i, width := range widths {
				end := ":"
				if i == 0 {
					end = "-"
				}
				fmt.Fprintf(w, "| %s%s ", strings.Repeat("-", width-1), end)
			}
			fmt.Fprintln(w, "|")
		}
	}
}
