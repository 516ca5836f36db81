// Package faults injects what can happen to the service and to its database, into the real program
// on real databases, and holds what must be true of each fault: no acknowledged record is lost, no
// answer is wrong, the log says what happened, and the service recovers without a hand.
//
// `make e2e` runs it with a few rounds of each; the flag -rounds asks for more.
package faults
