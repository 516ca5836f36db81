package main

import (
	"fmt"
	"maps"
	"strings"
)

// arrowTable says which packages of this module a package imports in code that is not a test: those
// on the right and no other. Every package under action/, github/ and service/ has a line, so that
// a new package is a decision. A line may come before its package.
//
// The Action takes five packages from the service and no more, and github, which both programs use,
// takes two of them: see forBoth in imports.go and docs/decisions/0011-what-both-programs-share.md.
//
// NOUNS stands for the packages on its own line.
//
// Test kits, which only tests and e2e import, have names that end in test. What tests may import:
// imports.go.
const arrowTable = `
action              -> action/atomicfile action/command action/refresh action/remedy action/optimize action/guard action/summary github github/secret service/client service/token service/api service/opaque service/origin
action/command      -> action/atomicfile action/refresh action/remedy service/client service/token service/api
action/atomicfile   ->
action/refresh      -> service/token
action/remedy       -> github github/secret service/client
action/optimize     -> action/guard service/opaque
action/guard        -> action/guard/script action/guard/sheet
action/guard/script ->
action/guard/sheet  ->
action/summary      ->

github                   -> github/internal/parallel service/opaque service/origin
github/internal/parallel ->
github/secret            -> github github/internal/parallel
github/githubtest        ->

NOUNS               -> service/license service/auth service/account service/keyring service/audit service/oidc service/opaque service/failure service/rights service/limit service/upkeep service/billing service/githubapp service/leak service/rotation service/webhook/out service/webhook/deliver service/webhook/in service/webhook/signature

service             -> NOUNS github service/origin service/command service/parts service/server service/server/admin service/console service/store service/token service/api
service/token       ->
service/api         ->
service/client      -> service/api service/origin service/webhook/signature
service/oidc        -> service/origin
service/origin      ->
service/failure     ->
service/rights      ->
service/limit       ->
service/opaque      -> service/failure
service/audit       -> service/failure
service/keyring     -> service/audit service/opaque service/failure service/token
service/account     -> service/audit service/opaque service/failure
service/auth        -> service/account service/audit service/oidc service/opaque service/failure service/token service/rights
service/license     -> service/account service/auth service/keyring service/audit service/oidc service/opaque service/failure service/token service/rights
service/upkeep      -> service/audit
service/parts       -> NOUNS github github/secret
service/show        -> NOUNS service/api
service/command     -> NOUNS service/parts service/show service/api service/client
service/webhook/signature ->
service/webhook/out     -> service/webhook/signature service/audit service/account service/keyring service/opaque service/failure service/rights
service/webhook/deliver -> service/audit service/webhook/out service/webhook/signature service/keyring service/opaque service/failure service/origin
service/webhook/in      -> service/audit service/account service/license service/billing service/githubapp service/leak service/rotation service/opaque service/failure github
service/billing     -> service/audit service/account service/opaque service/failure github
service/githubapp   -> service/audit service/keyring service/opaque service/failure service/origin github
service/leak        -> service/audit service/account service/auth service/license service/token service/opaque service/failure github
service/rotation    -> service/audit service/account service/license service/githubapp service/opaque service/failure service/token github github/secret
service/store       -> NOUNS service/store/ledger
service/store/ledger    ->
service/server      -> NOUNS service/server/route service/server/admin service/server/page service/server/explorer service/parts service/show service/api
service/server/route    -> NOUNS service/api
service/server/admin    -> NOUNS service/server/route service/show service/api
service/server/page     -> service/server/route service/auth service/githubapp service/opaque service/api github
service/server/explorer -> service/server/route
service/console     -> NOUNS service/parts service/api
service/servicetest -> NOUNS github service/server service/server/admin service/console service/store service/store/sqlitetest service/parts service/token service/api service/client
service/store/storetest -> NOUNS service/token
service/store/postgrestest -> service/store
service/store/sqlitetest   -> service/store
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
