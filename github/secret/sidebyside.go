package secret

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// sideBySide calls f for 0 to n-1 at the same time. A panic of one goes on in the caller when all have ended.
func sideBySide(n int, f func(i int)) {
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
