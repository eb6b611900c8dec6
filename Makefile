# make build   the gateway with its chat page, in bin/gateway
# make demo    Prosody with two accounts and the gateway, ready to chat in a browser
# make test    everything: formatting, static analysis, unit tests, simulator, fuzzing, end-to-end tests, conformance
# make e2e     only the end-to-end tests: real servers, real clients
# make fuzz    every fuzz target for FUZZ_TIME (30s)
# make bench   Go benchmarks; make bench-system measures the whole against a relay and the servers' own endpoints
# make soak    the simulator, then 500 sessions on a real server behind a proxy that cuts, each for SOAK_MINUTES (10)
# make chaos   replicas die under load on Redis and three servers, 60 s each, CHAOS_ROUNDS (1) times; prints what it saw
# make lint    only the static analysis; make fmt formats
# make conformance  writes docs/conformance.md, which make test compares with its results
.PHONY: build demo test e2e fuzz bench bench-system soak chaos lint fmt conformance clean

LINT := .cache/bin/golangci-lint

build: web/dist/index.html
	go build -trimpath -o bin/gateway ./cmd/gateway

web/dist/index.html: web/package-lock.json web/build.mjs $(wildcard web/src/*)
	npm --prefix web ci --no-fund --no-audit --loglevel=error
	npm --prefix web run --silent build

demo:
	@go build -o .cache/bin/demo ./internal/demo
	@exec .cache/bin/demo

test:
	@.ci/test

e2e: web/dist/index.html
	go test -tags e2e -timeout 20m ./internal/e2e

FUZZ_TIME ?= 30s
fuzz:
	@FUZZ_TIME=$(FUZZ_TIME) .ci/test fuzz

bench:
	go test -run '^$$' -bench . -benchmem ./...

# 3 rounds take about 25 minutes and no more than BENCH_MINUTES; internal/e2e/bench_test.go says what the settings mean.
# The servers' own endpoints are measured too unless BENCH_OTHERS is empty, how cost grows with sessions unless BENCH_GROWTH is.
# A short try: make bench-system BENCH_ROUNDS=1 BENCH_SECONDS=1 BENCH_SESSIONS=200 BENCH_GROWTH=50,100
# What is printed is also in BENCH_OUT.md, .json and .svg.
BENCH_ROUNDS ?= 3
BENCH_MINUTES ?= 28
BENCH_SECONDS ?= 4
BENCH_SESSIONS ?= 2000
BENCH_ONLY ?=
BENCH_OTHERS ?= 1
BENCH_GROWTH ?= 200,1000,4000,10000
BENCH_OUT ?= $(CURDIR)/.cache/bench
bench-system:
	mkdir -p $(dir $(BENCH_OUT))
	E2E_BENCH_ROUNDS=$(BENCH_ROUNDS) E2E_BENCH_MINUTES=$(BENCH_MINUTES) E2E_BENCH_SECONDS=$(BENCH_SECONDS) \
	E2E_BENCH_SESSIONS=$(BENCH_SESSIONS) E2E_BENCH_ONLY='$(BENCH_ONLY)' E2E_BENCH_OTHERS=$(BENCH_OTHERS) \
	E2E_BENCH_GROWTH='$(BENCH_GROWTH)' E2E_BENCH_OUT=$(BENCH_OUT) \
		go test -tags e2e -count 1 -timeout 0 -v -run '^TestBenchSystem$$' ./internal/e2e

SOAK_MINUTES ?= 10
soak:
	SIM_MINUTES=$(SOAK_MINUTES) go test -count 1 -timeout 0 -v -run '^TestSimulator(Replicas)?$$' ./bosh
	E2E_SOAK_MINUTES=$(SOAK_MINUTES) go test -tags e2e -count 1 -timeout 0 -v -run '^TestSoak$$' ./internal/e2e

CHAOS_ROUNDS ?= 1
chaos: web/dist/index.html
	E2E_CHAOS_SECONDS=60 E2E_CHAOS_ROUNDS=$(CHAOS_ROUNDS) E2E_CLASSES_KILLS=20 \
		go test -tags e2e -count 1 -timeout 0 -v -run '^(TestChaos|TestClasses|TestStoreAway)$$' ./internal/e2e

lint:
	@.ci/test tools lint

fmt:
	@.ci/test tools
	$(LINT) fmt ./...

conformance:
	go run ./internal/conformance -write

clean:
	rm -rf bin .cache web/dist/*.* web/node_modules internal/e2e/js/node_modules
