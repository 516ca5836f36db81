# The commands of this repository. `make help` lists them.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

version := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
commit := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
ldflags := -s -w -X main.version=$(version) -X main.commit=$(commit)

cli := action/optimize/cli
optimizer := $(cli)/node_modules/@pageflare/cli-linux-x64/bin/pageflare
# ./... leaves folders out whose name begins with a dot
packages := ./... ./.ci/checks ./.ci/release

.PHONY: help demo test check bench rules e2e run build optimizer generate update-golden clean

help: ## list the commands
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: build optimizer ## show the whole product on this machine: service, fake GitHub, Action, real optimizer
	@go run ./e2e/demo -action bin/pageflare-action -service bin/pageflare-license -optimizer $(optimizer) -site e2e/site -out build/demo

test: optimizer ## run all tests
	@e2e/chromium.sh
	@e2e/postgres.sh
	go test -race -shuffle=on -timeout 10m $(packages)

check: ## formatting, vet, linters, rules of this repository, generated files, known vulnerabilities
	@bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "error: gofmt would change: $$bad; run gofmt -w on them"; exit 1; }
	go vet $(packages)
	go tool staticcheck $(packages)
	go vet -tags e2e ./e2e/... ./action
	go tool actionlint
	go tool actionlint docs/workflows/*.yml
	go run ./.ci/checks
	go mod tidy -diff
	.ci/generated
	.ci/vulnerabilities

bench: build optimizer ## measure, as ratios within one run
	@go run ./e2e/bench -service bin/pageflare-license -action bin/pageflare-action -optimizer $(optimizer) -site e2e/site
	@go run ./e2e/bench -optimizer $(optimizer) -sites e2e/sites
	@go test -run '^$$' -bench . -benchtime 10x ./action/optimize
	@go test -run '^$$' -bench . ./service/token

rules: ## check and test the alert rules with promtool
	@e2e/promtool.sh
	promtool check rules deploy/prometheus-rules.yml
	promtool test rules e2e/prometheus-rules-test.yml

e2e: optimizer rules ## the images as their users run them; PostgreSQL 14 and 18, and PgBouncer; sites of real generators in a browser; the examples of proxies; a site of 100,000 files and 2 GB
	go test -tags e2e -count=1 -timeout 9m -run TestAHugeSite ./action
	@e2e/postgres.sh all
	go test -tags e2e -count=1 -timeout 5m ./e2e/databases
	@e2e/proxies/install.sh
	go test -tags e2e -count=1 -timeout 5m ./e2e/proxies
	@e2e/chromium.sh headless
	go test -tags e2e -count=1 ./e2e/browser
	go test -tags e2e -count=1 -timeout 15m -v ./e2e/sites
	e2e/container/run.sh

run: build ## run the License service on its embedded default, at 127.0.0.1:8080
	bin/pageflare-license serve

build: ## both programs, in bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '$(ldflags)' -o bin/pageflare-action ./action
	CGO_ENABLED=0 go build -trimpath -ldflags '$(ldflags)' -o bin/pageflare-license ./service

optimizer: $(optimizer) ## the pinned pageflare CLI, from npm, checked against its integrity hash

$(optimizer): $(cli)/package-lock.json
	cd $(cli) && npm ci --no-audit --no-fund
	@touch $@

generate: ## rewrite the generated files
	go generate ./...

update-golden: optimizer ## rewrite golden files and vectors; look at the change before you commit it
	go test ./action/summary ./service/token -update

clean: ## remove what the commands above made
	rm -rf bin build $(cli)/node_modules e2e/postgres/node_modules
