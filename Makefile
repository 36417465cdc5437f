# make demo   the quickstart with its page, on http://127.0.0.1:8000
# make test   everything that must hold; installs what it needs (as root on Debian)
# make lint   gofmt, go vet, staticcheck
# make bench  the cost table, beside other servers: benchmarks/RESULTS.md
# make chaos  the simulation and the cut test at length, the latter beside Node's socket.io: tests/chaos/RESULTS.md (CHAOS="-seed 1 -only sqlite" for a part);
#             restarts under the load of 2,000 pages: tests/chaos/ROLLOUT.md; and three quarters of an hour of hostile clients: tests/hostile/HOSTILE.md
# make chaos-cluster   three nodes over Redis and PostgreSQL under faults of every kind, one after the other and two at once: tests/chaos/CLUSTER.md
# make simulate  the simulation of Hubs, stores and pages with faults at every step, seeds FIRST to FIRST+SEEDS
# make fuzz   the long form of the fuzz runs (FUZZTIME=5m for each target)

SHELL := /bin/bash
PART := scripts/part
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
MODULES := . auth/jwt cluster/redis store/sqlite store/postgres tests/routers benchmarks examples/durable examples/production tests/chaos tests/hostile tests/nodecluster tracing metrics
ADDR ?= 127.0.0.1:8000
FUZZTIME ?= 5m
FIRST ?= 1
SEEDS ?= 5000
export GOFLAGS := -buildvcs=false

.PHONY: demo page test deps go stores redis nodecluster routers interop browser fuzz-short fuzz cut rollout cluster hostile production chaos chaos-cluster simulate lint bench clean

demo: page
	@echo "open http://$(ADDR)"
	go run ./examples/quickstart -addr $(ADDR)

page:
	cd examples/quickstart/web && npm ci --no-audit --no-fund && npm run build

test:
	@start=$$SECONDS; set -e; \
	$(PART) "dependencies" scripts/deps; \
	$(PART) "Go, with the race detector" $(MAKE) -s go; \
	$(PART) "SQLite and PostgreSQL" $(MAKE) -s stores; \
	$(PART) "cluster over Redis, with Sentinels, and over a Redis Cluster" $(MAKE) -s redis; \
	$(PART) "Hubs and Node servers on one Redis" $(MAKE) -s nodecluster; \
	$(PART) "routers and benchmarks' modules" $(MAKE) -s routers; \
	$(PART) "fuzzing, 3 s a target" $(MAKE) -s fuzz-short; \
	$(PART) "npm clients 1.7.4 to 4.8" $(MAKE) -s interop; \
	$(PART) "browser" $(MAKE) -s browser; \
	$(PART) "cut test, short" $(MAKE) -s cut; \
	$(PART) "restart under load, short" $(MAKE) -s rollout; \
	$(PART) "cluster under faults, short" $(MAKE) -s cluster; \
	$(PART) "hostile test, short" $(MAKE) -s hostile; \
	$(PART) "production: nginx, PostgreSQL, the page, the deploy files" $(MAKE) -s production; \
	echo "=== all: $$((SECONDS - start)) s"

deps:
	scripts/deps

go:
	go test -race ./...
	SEEDS=200 go test ./tests/simulation -run '^TestCluster$$' # the race detector would make each seed ten times as slow

stores:
	cd store/sqlite && go test -race ./...
	cd store/postgres && go test -race ./...

redis:
	cd cluster/redis && go test -race ./...

nodecluster:
	cd tests/nodecluster && npm ci --silent --no-audit --no-fund && npm test --silent

routers:
	cd tests/routers && go test -race ./...
	cd benchmarks && go test -race ./...
	cd tracing && go test -race ./...
	cd auth/jwt && go test -race ./...
	cd metrics && go test -race ./...
	cd metrics/grafana && GOWORK=off go test ./... # outside go.work: its parser of PromQL would raise everybody's versions

fuzz-short:
	scripts/fuzz 3s

fuzz:
	scripts/fuzz $(FUZZTIME)

interop:
	cd tests/interop && npm ci --silent --no-audit --no-fund && npm test --silent

browser:
	tests/browser/run

cut:
	cd examples/durable && go test -race ./...
	cd tests/chaos && npm ci --silent && go test -race -count=1 -v -run '^TestCut$$' . && go test -race -skip '^Test(Cut|Rollout|Cluster)$$' .

cluster:
	cd tests/chaos && npm ci --silent && go test -race -count=1 -v -parallel 4 -run '^TestCluster$$' .

rollout:
	cd tests/chaos && npm ci --silent && go test -race -count=1 -v -run '^TestRollout$$' .

hostile:
	cd tests/hostile && npm ci --silent --no-audit --no-fund && go test -race -count=1 ./...

# The deploy files' parsers are a module apart from the workspace, whose versions they would raise.
production:
	cd examples/production/web && npm ci --silent --no-audit --no-fund && npm run build --silent -- --logLevel warn && npm test --silent
	cd examples/production/browser && npm ci --silent --no-audit --no-fund
	cd examples/production && go test -race -count=1 ./...
	cd examples/production/deploy && GOWORK=off go test -count=1 ./... # not cached: it reads files of other modules

simulate:
	FIRST=$(FIRST) SEEDS=$(SEEDS) go test ./tests/simulation -count=1 -run '^TestSimulation$$' -timeout 30m
	FIRST=$(FIRST) SEEDS=$(SEEDS) go test ./tests/simulation -count=1 -run '^TestCluster$$' -timeout 60m
	MUTANTS=1 go test ./tests/simulation -count=1 -run '^TestClusterMutants$$' -timeout 30m

chaos: $(if $(CHAOS),,simulate)
	cd tests/chaos && npm ci --silent && go run . $(if $(CHAOS),$(CHAOS),-out .)
	$(if $(CHAOS),,cd tests/hostile && npm ci --silent --no-audit --no-fund && go run . -out .)

chaos-cluster:
	cd tests/chaos && npm ci --silent && go run . -cluster $(if $(CHAOS),$(CHAOS),-out .)

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	@set -e; for m in $(MODULES); do (cd $$m && go vet ./... && go run $(STATICCHECK) ./...); done
	cd examples/production/deploy && GOWORK=off go vet ./... && GOWORK=off go run $(STATICCHECK) ./...
	@cd metrics/grafana && GOWORK=off go vet ./... && GOWORK=off go run $(STATICCHECK) ./...

bench:
	$(MAKE) -C benchmarks bench

clean:
	rm -rf examples/*/web/dist examples/*/web/node_modules tests/*/node_modules
