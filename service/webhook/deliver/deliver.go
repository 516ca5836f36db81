// Package deliver is how an event reaches its receiver: it is sent until it was accepted, and is
// never lost.
package deliver
