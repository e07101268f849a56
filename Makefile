# The only way in. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PHIWATCH_TEST_MYSQL ?= 127.0.0.1:33097
export PHIWATCH_TEST_MARIADB ?= 127.0.0.1:33110
export PHIWATCH_TEST_KAFKA ?= 127.0.0.1:39092
CARGO := deploy/dev/cargo.sh
T ?= 60
PER_SIZE ?= 12
SIZE_MAX ?= 50000
SEED ?= 101

.PHONY: help run build check unit test servers fixtures docs fuzz bench bench-detect bench-phi clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | column -t -s "$$(printf '\t')"

run: ## the demo: a recorded shop with incidents, alerts, page and metrics; needs no server
	deploy/dev/prerequisites.sh build
	$(CARGO) run --release --quiet -p phiwatch -- demo $(ARGS)

build: ## the release binary, target/release/phiwatch
	deploy/dev/prerequisites.sh build
	$(CARGO) build --release -p phiwatch

check: ## format, lints, documentation; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet
	cd fuzz && ../$(CARGO) fmt --check && ../$(CARGO) clippy --all-targets -- -D warnings

unit: ## unit, property, snapshot and fixture tests; no server needed
	$(CARGO) test --workspace --lib --bins --test it
	$(CARGO) test --workspace --doc

test: ## everything: checks, unit tests, 20 s of each fuzz target, and tests on real MySQL, MariaDB and Kafka (installed and started here)
	deploy/dev/prerequisites.sh build servers
	$(MAKE) check unit
	cd fuzz && ../$(CARGO) test --quiet
	FUZZ_JOBS=2 fuzz/run.sh 20
	deploy/dev/up.sh
	$(MAKE) servers

servers: ## the tests that need the servers of deploy/dev/up.sh (they purge logs and kill connections: no others beside them)
	$(CARGO) test --workspace --test servers -- --test-threads=1 --nocapture

fixtures: ## record the binlogs of fixtures/ again from real servers
	deploy/dev/prerequisites.sh servers
	fixtures/record.sh

docs: ## write the generated schemas and references again
	UPDATE=1 $(CARGO) test --workspace --test it drift

fuzz: ## each fuzz target for T seconds (default 60)
	deploy/dev/prerequisites.sh build
	fuzz/run.sh $(T)

bench: ## speed and memory beside the peers, written into docs/performance.md (SIZE=1 ROUNDS=3; SIZE=0.05 for a try; BENCH_ONLY=files,socket,memory,latency,source)
	deploy/dev/bench/bench.sh

bench-detect: ## recall, delay and false alerts on simulated months, into docs/detection.md (PER_SIZE=12 SIZE_MAX=50000 SEED=101); then NAB's count series
	deploy/dev/prerequisites.sh build
	$(CARGO) run --release --quiet -p phiwatch-score -- bench --per-size $(PER_SIZE) --size-max $(SIZE_MAX) --seed $(SEED) --document docs/detection.md
	$(CARGO) run --release --quiet -p phiwatch-score -- nab

bench-phi: ## the recognisers of identifiers on their labelled set, written into docs/free-text.md
	$(CARGO) run --release --quiet -p phiwatch-magento --example free_text -- docs/free-text.md

clean: ## remove build results (the servers' files: deploy/dev/down.sh, then remove PHIWATCH_DEV_HOME)
	$(CARGO) clean
