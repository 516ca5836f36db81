// Package parallel runs a few calls of GitHub's API at the same time. What is worth that is decided
// by its callers: github and github/secret.
package parallel

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// Do calls f for 0 to n-1 at the same time. A panic of one goes on in the caller when all have
// ended.
func Do(n int, f func(i int)) {
	panics := make(chan string, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					panics <- fmt.Sprintf("%v\n%s", p, debug.Stack())
				}
			}()
			f(i)
		})
	}
	all.Wait()
	if len(panics) > 0 {
		panic(<-panics)
	}
}
