package main

import (
	"fmt"
	"maps"
	"strings"
)

// arrowTable says which packages of this module a package imports in code that is not a test: those on the right and no
// other. Every package under action/ and service/ has a line, so that a new package is a decision. A line may come before
// its package.
//
// The Action takes three packages from the service and no more: service/token, service/api and service/client.
//
// NOUNS stands for the packages on its own line.
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

NOUNS               -> service/license service/auth service/account service/keyring service/audit service/oidc service/opaque service/failure service/rights service/limit

service             -> NOUNS service/command service/parts service/server service/server/admin service/console service/store service/webhook service/token service/api
service/token       ->
service/api         ->
service/client      -> service/api
service/oidc        ->
service/failure     ->
service/rights      ->
service/limit       ->
service/opaque      -> service/failure
service/audit       -> service/failure
service/keyring     -> service/audit service/opaque service/failure service/token
service/account     -> service/audit service/opaque service/failure
service/auth        -> service/account service/audit service/oidc service/opaque service/failure service/token service/rights
service/license     -> service/account service/auth service/keyring service/audit service/oidc service/opaque service/failure service/token service/rights
service/parts       -> NOUNS
service/show        -> NOUNS service/api
service/command     -> NOUNS service/parts service/show service/api
service/webhook     -> service/audit service/account service/license
service/store       -> NOUNS service/webhook service/store/ledger
service/store/ledger    ->
service/server      -> NOUNS service/server/route service/server/admin service/server/page service/server/explorer service/parts service/show service/webhook service/api
service/server/route    -> NOUNS service/api
service/server/admin    -> NOUNS service/server/route service/show service/api
service/server/page     -> service/server/route service/auth service/api
service/server/explorer -> service/server/route
service/console     -> NOUNS service/parts service/api
service/servicetest -> NOUNS service/server service/server/admin service/console service/store service/parts service/webhook service/token service/api service/client
service/store/storetest -> NOUNS service/token
service/store/postgrestest ->
`

// nouns is the name in the table for a set of packages.
const nouns = "NOUNS"

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
			if target == nouns {
				maps.Copy(arrows[from], arrows[nouns])
				continue
			}
			arrows[from][target] = true
		}
	}
	delete(arrows, nouns)
	for from, targets := range arrows {
		for target := range targets {
			if arrows[target] == nil {
				return nil, fmt.Errorf("table of imports: %s points to %s, which has no line", from, target)
			}
		}
	}
	return arrows, nil
}
