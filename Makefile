# The commands of this repository. `make help` lists them.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

version := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
commit := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
ldflags := -s -w -X main.version=$(version) -X main.commit=$(commit)
# Gin without MessagePack, which nobody asks for and is a sixth of the program
tags := nomsgpack

cli := action/optimize/cli
optimizer := $(cli)/node_modules/@pageflare/cli-linux-x64/bin/pageflare
# ./... leaves folders out whose name begins with a dot
packages := ./... ./.ci/checks ./.ci/release

.PHONY: help demo test check bench bench-action profile rules e2e run build optimizer generate update-golden clean

help: ## list the commands
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: build optimizer ## show the whole product on this machine: service, fake GitHub, Action, real optimizer
	@go run ./e2e/demo -action bin/pageflare-action -service bin/pageflare-license -optimizer $(optimizer) -site e2e/site -out build/demo

test: optimizer ## run all tests; installs Chromium and PostgreSQL when they are missing
	@e2e/chromium.sh
	@e2e/postgres.sh
	go test -race -shuffle=on -timeout 25m $(packages)

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

# the service is measured by: make bench [quick=1] [engines=sqlite] [only=refresh] [records=10000000]
bench_flags = $(if $(quick),-quick) $(if $(engines),-engines $(engines)) $(if $(records),-records $(records)) $(if $(only),-only "$(only)")

bench: build ## measure the service, as ratios within one run, on SQLite and PostgreSQL; quick=1 for a quick look
	@e2e/postgres.sh
	@go run ./e2e/bench -service bin/pageflare-license $(bench_flags)
	$(if $(only),,@go run ./e2e/bench -webhooks -service bin/pageflare-license $(bench_flags))

bench-action: build optimizer ## measure the Action and its guard beside the optimizer alone
	@go run ./e2e/bench -service bin/pageflare-license -action bin/pageflare-action -optimizer $(optimizer) -site e2e/site
	@go run ./e2e/bench -optimizer $(optimizer) -sites e2e/sites
	@go test -run '^$$' -bench . -benchtime 10x ./action/optimize

# what is profiled: make profile [of=issue] [on=postgres]
profile: ## a CPU profile of the service's hot path under load; of=refresh|issue|exchange|introspection, on=sqlite|postgres
	@[ "$(on)" != postgres ] || e2e/postgres.sh
	@go run ./e2e/bench -profile build/profile $(if $(of),-profile-of $(of)) $(if $(on),-profile-on $(on))

rules: ## check and test the alert rules with promtool
	@e2e/promtool.sh
	promtool check rules deploy/prometheus-rules.yml
	promtool test rules e2e/prometheus-rules-test.yml

e2e: build optimizer rules ## the images as their users run them; PostgreSQL 14 and 18, and PgBouncer; faults of processes, databases and networks; sites of real generators in a browser; webhooks against programs of others; the examples of proxies, and a rolling restart behind one; manifests and compose files; a site of 100,000 files and 2 GB
	go test -tags e2e -count=1 -timeout 9m -run TestAHugeSite ./action
	@e2e/postgres.sh all
	go test -tags e2e -count=1 -timeout 15m ./e2e/databases
	go -C e2e/manifests vet ./...
	go -C e2e/manifests test -count=1 ./...
	@e2e/proxies/install.sh
	go test -tags e2e -count=1 -timeout 5m ./e2e/proxies
	@e2e/chromium.sh headless
	go test -tags e2e -count=1 ./e2e/browser
	go test -tags e2e -count=1 -timeout 15m -v ./e2e/sites
	cd e2e/webhooks && npm ci --no-audit --no-fund
	go test -tags e2e -count=1 -timeout 5m ./e2e/webhooks -service $(CURDIR)/bin/pageflare-license
	go test -tags e2e -count=1 -timeout 9m ./e2e/faults -service $(CURDIR)/bin/pageflare-license
	e2e/container/run.sh

run: build ## run the License service on its embedded default, at 127.0.0.1:8080
	bin/pageflare-license serve

build: ## both programs, in bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '$(ldflags)' -o bin/pageflare-action ./action
	CGO_ENABLED=0 go build -trimpath -tags $(tags) -ldflags '$(ldflags)' -o bin/pageflare-license ./service

optimizer: $(optimizer) ## the pinned pageflare CLI, from npm, checked against its integrity hash

$(optimizer): $(cli)/package-lock.json
	cd $(cli) && npm ci --no-audit --no-fund
	@touch $@

generate: ## rewrite the generated files
	go generate ./...

update-golden: optimizer ## rewrite golden files and vectors; look at the change before you commit it
	go test ./action/summary ./service/token ./service/audit -update

clean: ## remove what the commands above made
	rm -rf bin build $(cli)/node_modules e2e/postgres/node_modules e2e/webhooks/node_modules
