package main

import (
	"fmt"
	"strings"
)

// arrowTable says which packages of this module a package imports in code that is not a test: those on the right and no
// other. Every package under action/ and service/ has a line, so that a new package is a decision. A line may come before
// its package.
//
// The Action takes three packages from the service and no more: service/token, service/api and service/client.
//
// Test kits, which only tests and e2e import, have names that end in test. What tests may import: imports.go.
const arrowTable = `
action              -> action/refresh action/secret action/optimize action/guard action/summary service/client service/token service/api
action/refresh      -> service/token
action/secret       ->
action/optimize     -> action/guard
action/guard        -> action/guard/script action/guard/sheet
action/guard/script ->
action/guard/sheet  ->
action/summary      ->
action/githubtest   ->

service             -> service/server/admin service/command service/api service/server service/console service/store service/parts service/account service/audit service/auth service/keyring service/license service/oidc service/opaque service/failure service/webhook service/token
service/token       ->
service/api         ->
service/client      -> service/api
service/oidc        ->
service/failure     ->
service/opaque      -> service/failure
service/audit       -> service/failure
service/keyring     -> service/audit service/opaque service/failure service/token
service/account     -> service/audit service/opaque service/failure
service/auth        -> service/account service/audit service/oidc service/opaque service/failure service/token
service/license     -> service/account service/auth service/keyring service/audit service/oidc service/opaque service/failure service/token
service/show        -> service/license service/auth service/account service/keyring service/audit service/oidc service/api
service/command     -> service/parts service/show service/license service/auth service/account service/keyring service/audit service/oidc service/opaque service/failure service/store service/api
service/parts       -> service/license service/auth service/account service/keyring service/audit service/oidc
service/webhook     -> service/license
service/store       -> service/license service/auth service/account service/keyring service/audit service/oidc service/opaque service/failure service/webhook
service/server      -> service/server/route service/server/admin service/server/page service/server/explorer service/show service/parts service/license service/auth service/account service/keyring service/audit service/oidc service/opaque service/failure service/webhook service/api
service/server/route -> service/auth service/account service/audit service/opaque service/failure service/api
service/server/admin -> service/server/route service/show service/license service/auth service/account service/keyring service/audit service/oidc service/opaque service/failure service/api
service/server/page -> service/server/route service/auth service/api
service/server/explorer -> service/server/route
service/console     -> service/license service/oidc
service/servicetest -> service/server/admin service/server service/console service/store service/parts service/license service/auth service/account service/keyring service/audit service/oidc service/opaque service/failure service/webhook service/token service/api service/client
service/store/storetest -> service/license service/auth service/account service/keyring service/audit service/oidc service/opaque service/failure service/token
`

// parseArrows reads the table: package folder -> set of folders that it may import.
func parseArrows(table string) (map[string]map[string]bool, error) {
	arrows := map[string]map[string]bool{}
	for line := range strings.Lines(table) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		from, to, found := strings.Cut(line, "->")
		from = strings.TrimSpace(from)
		if !found || from == "" || arrows[from] != nil {
			return nil, fmt.Errorf("table of imports: bad or repeated line %q", strings.TrimSpace(line))
		}
		arrows[from] = map[string]bool{}
		for target := range strings.FieldsSeq(to) {
			arrows[from][target] = true
		}
	}
	for from, targets := range arrows {
		for target := range targets {
			if arrows[target] == nil {
				return nil, fmt.Errorf("table of imports: %s points to %s, which has no line", from, target)
			}
		}
	}
	return arrows, nil
}
