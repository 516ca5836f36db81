// Package proxies has tests that run the examples of deploy/proxy with the real nginx, HAProxy and
// Caddy. `make e2e` makes them.
package proxies
