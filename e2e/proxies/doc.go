// Package proxies has tests that run the examples of deploy/proxy with the real nginx, HAProxy and
// Caddy: in front of one service, and HAProxy in front of the three replicas of
// deploy/compose.postgres.yaml. `make e2e` makes them.
package proxies
