# `make help` lists the targets. They need cargo, make and Python 3.11 or later. All else comes from crates.io and PyPI
# and is kept in target/ and .venv/.

# The Python to use. To name another one: make PYTHON=python3.13 ...
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# Calls of each function by each pair of `make demo`.
CALLS ?= 20000

# Deaths of each part in `make kill`, minutes of `make soak`, and the seed of both.
DEATHS ?= 1000
MINUTES ?= 10
SEED ?= 1
# Rounds of `make link`.
REPEAT ?= 3

# Calls of `make leak`.
CALLS_LEAK ?= 10000000

# Rounds of each contender in `make bench`, the groups to run (default: all), and the folder for the results.
ROUNDS ?= 15
ONLY ?=
RESULTS ?= $(TARGET)/bench

# Inputs for each target of `make fuzz`, and the targets.
RUNS ?= 20000
FUZZ ?= consumer producer bell receiver sender caller callee engine server listener connector stats contract typed describe

# Further options of cargo-fuzz and of each target. For more inputs per second, each of which explores less:
# make fuzz FUZZ_BUILD=--no-trace-compares FUZZ_RUN=-entropic=0
# AddressSanitizer remembers few frees and one frame per allocation: more would cost more than most targets do.
FUZZ_BUILD ?=
FUZZ_RUN ?=
ASAN_OPTIONS ?= detect_leaks=0:malloc_context_size=1:quarantine_size_mb=8:detect_stack_use_after_return=0

VENV := .venv
BIN := $(VENV)/bin
TARGET := $(or $(CARGO_TARGET_DIR),target)
HOST = $(shell rustc --print host-tuple)
PACKAGE := tachyon-py

# One interpreter for every build of the extension: pyo3 is rebuilt when the interpreter changes.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# No line per crate.
export CARGO_TERM_PROGRESS_WHEN := never

# The packages that are built for tests. The example extension stays out: it would link Python to each test. tachyon-py
# has no Rust tests, but stays in: the features of the dependencies are then the same in every build, so that builds
# share them.
TESTED := --workspace --exclude tachyon-example-extension
SHARED := --package tachyon-py --bins

RUST := $(shell find tachyon tachyon-macros tachyon-py/src examples/rust tests/src -name '*.rs') \
    Cargo.toml $(wildcard Cargo.lock) $(wildcard */Cargo.toml) rust-toolchain.toml
EXTENSION := $(VENV)/.extension
EXAMPLES := $(TARGET)/release/.examples
PROGRAMS := $(TARGET)/debug/.programs
CHAOS := $(TARGET)/release/chaos
ACTORS := --python $(BIN)/python --script tests/python/actor.py
BENCHES := $(TARGET)/release/.benches
PEERS := $(TARGET)/peers
BENCH_PYTHON := PYTHONPATH=benches/python $(BIN)/python -m bench --binaries $(TARGET)/release --rounds $(ROUNDS) \
    --only '$(ONLY)'
GUARD := $(BIN)/python benches/python/instructions.py
# The example of an extension with endpoints in Rust, and its sources.
PRICING := $(VENV)/.pricing
PRICING_SOURCES := $(shell find examples/python-extension tachyon tachyon-macros -name '*.rs' -o -name '*.toml')
MINIMAL := -Z lockfile-path --config 'resolver.lockfile-path="$(TARGET)/minimal/Cargo.lock"'
INPUT := .demo/stocks.csv .demo/temperatures.f64

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The recipes share one venv and one target directory; cargo and pytest use all cores. .ci/run says which targets may
# run at the same time.
.NOTPARALLEL:
.PHONY: help demo test kill soak leak link input build fmt clippy test-rust test-doc test-python lint-python wheel clean \
    bench bench-peers bench-results instructions instructions-update valgrind loom loom-mutants fuzz asan tsan \
    lint lint-text deny minimal package

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  make %-19s %s\n", $$1, $$2 }'

demo: $(EXTENSION) $(PRICING) $(EXAMPLES) input ## Rust and Python call each other: four pairs on real input, timed
	@$(BIN)/python examples/python/demo.py --calls $(CALLS) --binaries $(TARGET)/release --input .demo
	@$(BIN)/python examples/python/demo_typed.py --binaries $(TARGET)/release
	@$(BIN)/python examples/python/demo_link.py --binaries $(TARGET)/release --input .demo

test: test-rust test-doc test-python ## every test, Rust and Python

kill: $(EXTENSION) $(CHAOS) ## kill processes of both languages at DEATHS=1000 points each, check the survivors
	@$(CHAOS) kill --rounds $(DEATHS) --seed $(SEED) --summary $(TARGET)/kill.txt $(ACTORS)

soak: $(EXTENSION) $(CHAOS) ## random traffic, kills and reconnects for MINUTES=10, all counted
	@$(CHAOS) soak --seconds $$(($(MINUTES) * 60)) --seed $(SEED) --summary $(TARGET)/soak.txt $(ACTORS)

link: $(VENV)/.dev $(EXTENSION) $(EXAMPLES) $(PROGRAMS) input
link: ## the conformance of the link over all carriers, and its failures, REPEAT=3 times
	@for round in $$(seq $(REPEAT)); do \
	    echo "==> round $$round of $(REPEAT)" && \
	    cargo test --quiet --package tachyon-tests --test link && \
	    cargo test --quiet --package tachyon-link && \
	    TACHYON_EXAMPLES=$(abspath $(TARGET)/release) TACHYON_PROGRAMS=$(abspath $(TARGET)/debug) \
	    $(BIN)/python -X dev -W error -m pytest -q -c $(PACKAGE)/pyproject.toml --rootdir . \
	    tests/python/test_link.py tests/python/test_link_failures.py || exit 1; \
	done

input: $(INPUT) ## write the input of the examples to .demo/

build: $(EXTENSION) $(PRICING) $(EXAMPLES) ## build the extension into .venv and the examples, optimised

fmt: ## check the formatting of the Rust code
	@echo '==> cargo fmt'
	@cargo fmt --all --check
	@cargo fmt --manifest-path benches/peers/Cargo.toml --check

clippy: $(VENV)/.created ## lint the Rust code, warnings are errors
	@echo '==> cargo clippy'
	@cargo clippy --quiet --workspace --all-targets -- -D warnings

test-rust: $(VENV)/.created ## Rust tests: units, properties, two processes, macro errors
	@echo '==> cargo test'
	@cargo test --quiet $(TESTED) --tests

test-doc: $(VENV)/.created ## examples in the Rust documentation, and its links
	@echo '==> cargo test --doc, cargo doc'
	@cargo test --quiet --doc $(TESTED)
	@RUSTDOCFLAGS='-D warnings' cargo doc --quiet --no-deps --all-features --package tachyon --package tachyon-link --package tachyon-macros

test-python: $(VENV)/.dev $(EXTENSION) $(PRICING) $(EXAMPLES) $(PROGRAMS) input
test-python: ## Python tests, and the examples of both languages in pairs
	@echo '==> pytest'
	@TACHYON_EXAMPLES=$(abspath $(TARGET)/release) TACHYON_PROGRAMS=$(abspath $(TARGET)/debug) \
	    $(BIN)/python -X dev -W error -m pytest -q -c $(PACKAGE)/pyproject.toml --rootdir . \
	    --dist loadfile --tx '2*popen//python=$(abspath $(BIN)/python) -X dev -W error' tests/python
	@$(BIN)/python -W error -m pytest -q -c $(PACKAGE)/pyproject.toml --rootdir . benches/python/tests

leak: $(EXTENSION) ## ten million Python calls must leak no memory (minutes; CALLS_LEAK=N for fewer)
	@$(BIN)/python -W error tests/python/leak.py $(CALLS_LEAK)

lint: fmt lint-text clippy lint-python ## every linter, Rust, Python and prose

lint-text: ## refuse vague subjects, retired names, long lines, and circles of imports
	@echo '==> prose, imports'
	@$(PYTHON) -m unittest discover --quiet --start-directory tests/lint
	@status=0; $(PYTHON) tests/lint/prose.py || status=1; $(PYTHON) tests/lint/imports.py || status=1; exit $$status

lint-python: $(VENV)/.dev $(EXTENSION) $(PRICING) ## ruff, mypy, pyright, and the stub against the extension
	@echo '==> ruff, mypy, pyright, stubtest'
	@$(BIN)/ruff check --quiet $(PACKAGE) tests/python tests/lint examples/python benches/python
	@$(BIN)/ruff format --quiet --check $(PACKAGE) tests/python tests/lint examples/python benches/python
	@$(BIN)/mypy --config-file $(PACKAGE)/pyproject.toml $(PACKAGE)/python examples/python tests/python/typing tests/python/services
	@cd tests/lint && ../../$(BIN)/mypy --config-file ../../$(PACKAGE)/pyproject.toml .
	@cd benches/python && ../../$(BIN)/mypy --config-file mypy.ini bench instructions.py count_python.py contenders
	@$(BIN)/pyright --project $(PACKAGE) --pythonpath $(BIN)/python
	@shown=$$(PATH='$(abspath $(BIN))':"$$PATH" $(BIN)/pyright --verifytypes tachyon --ignoreexternal) || { echo "$$shown"; exit 1; }
	@$(BIN)/python -m mypy.stubtest --concise --allowlist $(PACKAGE)/stubtest-allowlist.txt --ignore-unused-allowlist tachyon

bench: $(VENV)/.bench $(EXTENSION) $(BENCHES) ## measure everything, beside the installed peers (ROUNDS=3: a quick look)
	@$(BENCH_PYTHON) --results '$(RESULTS)' $(if $(wildcard $(PEERS)/built.toml),--peers $(PEERS))

bench-peers: $(VENV)/.bench $(EXTENSION) $(BENCHES) ## install the peers, then measure everything beside them
	@echo '==> building the peers'
	@benches/peers/install.sh $(PEERS) '$(PYTHON)'
	@$(BENCH_PYTHON) --results '$(RESULTS)' --peers $(PEERS)

bench-results: ## as bench-peers, into benches/results, to be committed
	@$(MAKE) --no-print-directory bench-peers RESULTS=benches/results

instructions: $(EXTENSION) $(BENCHES) valgrind ## count instructions per operation; more than before is an error
	@echo '==> callgrind'
	@$(GUARD) check --built $(TARGET)/release

instructions-update: $(EXTENSION) $(BENCHES) valgrind ## count instructions per operation, and keep them
	@$(GUARD) update --built $(TARGET)/release

# On Debian as root, installs the package; elsewhere says how to install it.
valgrind:
	@command -v valgrind >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
	    echo '==> installing valgrind' && apt-get update -qq && apt-get install -qq -y --no-install-recommends valgrind >/dev/null; } || \
	    { echo 'valgrind was not found: install it first (Debian: apt-get install valgrind)' >&2; exit 1; }

loom: ## explore the orders of steps of the ring and its waiting (loom)
	@echo '==> loom'
	@RUSTFLAGS='--cfg loom' cargo test --quiet --profile loom --target-dir $(TARGET)/loom --package tachyon-loom

loom-mutants: ## break the ring at each listed place, and check that a model fails
	@CARGO_TARGET_DIR=$(abspath $(TARGET)) $(PYTHON) tests/loom/mutants.py

# RUSTC_BOOTSTRAP makes the stable compiler accept unstable options.
fuzz: $(TARGET)/tools/bin/cargo-fuzz ## fuzz with AddressSanitizer: make fuzz RUNS=10000000 FUZZ='caller callee'
	@echo '==> building the fuzz targets'
	@RUSTC_BOOTSTRAP=1 $< build --fuzz-dir tests/fuzz --target $(HOST) --debug-assertions $(FUZZ_BUILD)
	@for target in $(FUZZ); do \
	    echo "==> fuzzing $$target"; \
	    mkdir -p tests/fuzz/target/corpus/$$target tests/fuzz/artifacts/$$target; \
	    ASAN_OPTIONS='$(ASAN_OPTIONS)' tests/fuzz/target/$(HOST)/release/$$target -runs=$(RUNS) -max_len=160 -timeout=60 \
	        -rss_limit_mb=4096 -print_final_stats=1 -verbosity=0 -artifact_prefix=tests/fuzz/artifacts/$$target/ $(FUZZ_RUN) \
	        tests/fuzz/target/corpus/$$target tests/fuzz/corpus/$$target || exit 1; \
	done

asan: ## the Rust unit tests with AddressSanitizer
	@echo '==> AddressSanitizer'
	@RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=address' \
	    cargo test --quiet --target $(HOST) --target-dir $(TARGET)/asan --package tachyon --lib -- --skip fuzz::

tsan: ## the tests of two threads over one ring, with ThreadSanitizer
	@echo '==> ThreadSanitizer'
	@RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer' \
	    TSAN_OPTIONS='halt_on_error=1 suppressions=$(CURDIR)/tests/tsan-suppressions.txt' \
	    cargo test --quiet --target $(HOST) --target-dir $(TARGET)/tsan --package tachyon --lib -- \
	    --test-threads 1 two_threads overflow

wheel: $(VENV)/.build ## build the wheels of the package and of tachyon-link into target/wheels
	@echo '==> maturin build'
	@$(BIN)/maturin build --quiet --release --manifest-path $(PACKAGE)/Cargo.toml
	@$(BIN)/maturin build --quiet --release --manifest-path tachyon/link/Cargo.toml
	@ls $(TARGET)/wheels

deny: $(TARGET)/tools/bin/cargo-deny ## check licences, duplicates, sources and advisories of the dependencies
	@echo '==> cargo deny'
	@$< --locked --log-level error check --hide-inclusion-graph licenses bans sources
	@if $< --locked fetch db >/dev/null 2>&1; then \
	    $< --locked --log-level error check --hide-inclusion-graph advisories; \
	else \
	    echo 'advisories: not checked, the database at https://github.com/RustSec/advisory-db is out of reach' >&2; \
	fi

# The lock file of the lowest versions is kept apart from Cargo.lock.
minimal: $(VENV)/.created ## check the crates with the lowest versions that their manifests allow
	@echo '==> cargo check, lowest versions'
	@rm -f $(TARGET)/minimal/Cargo.lock && mkdir -p $(TARGET)/minimal
	@RUSTC_BOOTSTRAP=1 cargo update --quiet $(MINIMAL) -Z direct-minimal-versions
	@RUSTC_BOOTSTRAP=1 cargo check --quiet $(MINIMAL) --locked --target-dir $(TARGET)/minimal \
	    --package tachyon --package tachyon-py --all-features

package: $(VENV)/.build ## package the crates and the source distribution, and build from the packages
	@echo '==> cargo doc, as docs.rs does'
	@RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS='-D warnings --cfg docsrs' cargo doc --quiet --no-deps --all-features \
	    --target-dir $(TARGET)/docsrs --package tachyon --package tachyon-macros
	@echo '==> cargo package, maturin sdist, pip wheel'
	@rm -rf $(TARGET)/package
	@cargo package --quiet --allow-dirty --all-features --package tachyon-macros --package tachyon
	@$(BIN)/maturin sdist --manifest-path $(PACKAGE)/Cargo.toml --out $(TARGET)/package >$(TARGET)/package/sdist.txt 2>&1 || \
	    { cat $(TARGET)/package/sdist.txt; exit 1; }
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $(TARGET)/package $(TARGET)/package/tachyon_ipc-*.tar.gz
	@$(BIN)/python tests/lint/packages.py $(TARGET)/package

clean: ## remove all build results, .venv and .demo
	cargo clean --quiet
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
	find $(PACKAGE)/python -name '*.so' -delete

$(TARGET)/tools/bin/cargo-%:
	@echo '==> installing cargo-$* into $(TARGET)/tools'
	@cargo install --quiet --locked --root $(TARGET)/tools cargo-$*

# A stamp and not the interpreter: an unfinished venv is created anew.
$(VENV)/.created:
	@command -v cargo >/dev/null || { echo 'cargo was not found: install Rust first, https://rustup.rs' >&2; exit 1; }
	@test -n '$(PYTHON)' || { echo 'no Python 3.11 or later was found: install one, or name it: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, $(PYTHON) is %d.%d: name another, make PYTHON=/path/to/python3.12" % sys.version_info[:2])'
	@echo "==> creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.build: $(PACKAGE)/requirements-build.txt $(VENV)/.created
	@echo '==> installing the builder of the extension into $(VENV)'
	@$(BIN)/python -m pip install --quiet -r $<
	@touch $@

$(VENV)/.demo: $(PACKAGE)/requirements-demo.txt $(VENV)/.build
	@echo '==> installing the needs of the demo into $(VENV)'
	@$(BIN)/python -m pip install --quiet -r $<
	@touch $@

$(VENV)/.dev: $(PACKAGE)/requirements-dev.txt $(VENV)/.demo
	@echo '==> installing test tools and linters into $(VENV)'
	@$(BIN)/python -m pip install --quiet -r $<
	@touch $@

$(VENV)/.bench: benches/python/requirements.txt $(VENV)/.demo
	@echo '==> installing what draws the results into $(VENV)'
	@$(BIN)/python -m pip install --quiet -r $<
	@touch $@

$(EXTENSION): $(VENV)/.build $(RUST) $(PACKAGE)/pyproject.toml
	@echo '==> building the Python package (optimised; the first time takes a minute)'
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --quiet --release --manifest-path $(PACKAGE)/Cargo.toml
	@touch $@

$(PRICING): $(VENV)/.build $(PRICING_SOURCES)
	@echo '==> building the example of a Python extension'
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --quiet --release --manifest-path examples/python-extension/Cargo.toml
	@touch $@

$(EXAMPLES): $(VENV)/.created $(RUST)
	@echo '==> building the Rust examples'
	@cargo build --quiet --release --package tachyon-examples --package tachyon-link $(SHARED)
	@touch $@

# In debug mode as for `cargo test`, for the Python tests that need a peer in Rust.
$(PROGRAMS): $(VENV)/.created $(RUST)
	@echo '==> building the test programs'
	@cargo build --quiet --package tachyon-tests --package tachyon-link $(SHARED)
	@touch $@

# The test programs, optimised, for `make kill` and `make soak`.
$(CHAOS): $(VENV)/.created $(RUST)
	@echo '==> building the test programs (optimised)'
	@cargo build --quiet --release --package tachyon-tests $(SHARED)
	@touch $@

$(BENCHES): $(VENV)/.created $(RUST) $(shell find benches -path benches/peers -prune -o -name '*.rs' -print)
	@echo '==> building the benchmarks'
	@cargo build --quiet --release --package tachyon-benches --package tachyon-callgrind $(SHARED)
	@touch $@

$(INPUT) &: examples/python/demo_input.py $(VENV)/.demo
	@echo '==> writing the input'
	@$(BIN)/python examples/python/demo_input.py .demo
