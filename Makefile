# davit. `make up` for a running one-node cluster, `make test` for all the tests. Everything else is here:
#   make build   build/davit            make bench   benchmarks against their budgets
#   make down    stop and clean up      make fuzz    a few minutes of every fuzzer (FUZZ_SECONDS each)
#   make test-sim   SEEDS seeds of every scenario of the simulator (100; 1000 before a release)
#   make lint    layers, format, warnings of gcc and clang
# A second cluster beside the first: make up DATA_DIR=/var/lib/davit2 LISTEN=127.0.0.1:7443
# `up`, `test` install the distribution packages they miss (as root; nothing is upgraded).

BUILD         ?= build
DATA_DIR      ?= /var/lib/davit
LISTEN        ?= 127.0.0.1:6443
FUZZ_SECONDS  ?= 20
SEEDS         ?= 100
DAVIT         := $(BUILD)/davit

.PHONY: all build up down test test-unit test-integration test-sim bench fuzz lint clean
all: build

$(BUILD)/build.ninja:
	@tools/setup.sh build
	@meson setup $(BUILD) --buildtype=release -Doptimization=2 -Dwerror=false >/dev/null || { cat $(BUILD)/meson-logs/meson-log.txt; exit 1; }

build: $(BUILD)/build.ninja
	@tools/setup.sh build
	@ninja -C $(BUILD) davit | tail -n 1

up:
	@tools/setup.sh build run
	@$(MAKE) --no-print-directory build
	@tools/up.sh $(DAVIT) $(DATA_DIR) $(LISTEN)

down:
	@if [ -x $(DAVIT) ]; then $(DAVIT) down --data-dir $(DATA_DIR); else echo "nothing built, nothing to stop"; fi

test:
	@tools/setup.sh build run test
	@tests/run.sh

test-unit:
	@tests/run.sh unit

test-integration:
	@tests/run.sh integration

test-sim:
	@tools/setup.sh build test
	@tests/sim/run.sh $(SEEDS)

bench:
	@tools/setup.sh build run test
	@$(MAKE) --no-print-directory build
	@tests/bench/run.sh $(BUILD)

fuzz:
	@tools/setup.sh build test
	@tests/fuzz/run.sh $(FUZZ_SECONDS)

lint:
	@tools/setup.sh build test
	@tests/lint/run.sh

clean:
	rm -rf build build-*
