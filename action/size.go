package main

import (
	"fmt"
	"strconv"
	"strings"
)

// units are the sizes that max-size may name; longer names first.
var units = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}}

// parseSize reads a number of bytes: 500000, 500KB, 1.5MB, 2MiB. Empty is 0: no limit.
func parseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	for _, u := range units {
		number, ok := strings.CutSuffix(strings.ToLower(s), strings.ToLower(u.name))
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || strings.Trim(number, "0123456789. ") != "" || // 1e3, 0x1p4, 1_000, Inf
			!(n*float64(u.bytes) >= 1) || n*float64(u.bytes) > 1e15 {
			break
		}
		return int64(n * float64(u.bytes)), nil
	}
	return 0, fmt.Errorf("%q is not a size; give a number of bytes such as 500000, 500KB, 1.5MB or 2MiB", s)
}
