# Everything this repository does on demand; `make help` lists it. Needs cargo, make and Python 3.11 or later: the rest
# is fetched from crates.io and PyPI, and kept in target/ and .venv/.

# A later Python, or one in an unusual place: make PYTHON=python3.13 ...
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# Calls of each function by each pair of `make demo`.
CALLS ?= 20000

# Inputs for each target of `make fuzz`, and which targets.
RUNS ?= 20000
FUZZ ?= consumer producer receiver sender caller callee listener connector typed describe

VENV := .venv
BIN := $(VENV)/bin
TARGET := $(or $(CARGO_TARGET_DIR),target)
HOST = $(shell rustc --print host-tuple)
PACKAGE := tachyon-py

# The same interpreter for every build of the extension: pyo3 is built anew when it changes.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# cargo's own words are enough without a line per crate.
export CARGO_TERM_PROGRESS_WHEN := never

RUST := $(shell find tachyon tachyon-macros tachyon-py/src examples/rust tests/src -name '*.rs') \
    Cargo.toml $(wildcard Cargo.lock) $(wildcard */Cargo.toml) rust-toolchain.toml
EXTENSION := $(VENV)/.extension
EXAMPLES := $(TARGET)/release/.examples
INPUT := .demo/stocks.csv .demo/temperatures.f64

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The recipes share one venv and one target directory; cargo and pytest use the cores by themselves.
.NOTPARALLEL:
.PHONY: help demo test input build fmt clippy test-rust test-doc test-python lint-python wheel clean \
    loom loom-mutants fuzz asan tsan

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

demo: $(EXTENSION) $(EXAMPLES) input ## Rust and Python call each other: four pairs on real input, timed
	@$(BIN)/python examples/python/demo.py --calls $(CALLS) --binaries $(TARGET)/release --input .demo

test: test-rust test-doc test-python ## every test, Rust and Python

input: $(INPUT) ## write the input of the examples to .demo/

build: $(EXTENSION) $(EXAMPLES) ## build the extension into .venv and the examples, optimised

fmt: ## check the formatting of the Rust code
	@echo '==> cargo fmt'
	@cargo fmt --all --check

clippy: $(VENV)/.demo ## lint the Rust code, warnings are errors
	@echo '==> cargo clippy'
	@cargo clippy --quiet --workspace --all-targets -- -D warnings

test-rust: $(VENV)/.demo ## Rust tests: units, properties, two processes, macro errors
	@echo '==> cargo test'
	@cargo test --quiet --workspace --exclude tachyon-py --lib --bins --tests

test-doc: $(VENV)/.demo ## examples in the Rust documentation, and its links
	@echo '==> cargo test --doc, cargo doc'
	@cargo test --quiet --doc --workspace --exclude tachyon-py
	@RUSTDOCFLAGS='-D warnings' cargo doc --quiet --no-deps --package tachyon --package tachyon-macros

test-python: $(VENV)/.dev $(EXTENSION) $(EXAMPLES) input ## Python tests, and the examples of both languages in pairs
	@echo '==> pytest'
	@TACHYON_EXAMPLES=$(abspath $(TARGET)/release) $(BIN)/python -m pytest -q -c $(PACKAGE)/pyproject.toml --rootdir . tests/python

lint-python: $(VENV)/.dev $(EXTENSION) ## ruff, mypy, pyright, and the stub against the extension
	@echo '==> ruff, mypy, pyright, stubtest'
	@$(BIN)/ruff check --quiet $(PACKAGE) tests/python examples/python
	@$(BIN)/ruff format --quiet --check $(PACKAGE) tests/python examples/python
	@$(BIN)/mypy --config-file $(PACKAGE)/pyproject.toml $(PACKAGE)/python examples/python
	@$(BIN)/pyright --project $(PACKAGE) --pythonpath $(BIN)/python
	@$(BIN)/python -m mypy.stubtest --concise --allowlist $(PACKAGE)/stubtest-allowlist.txt --ignore-unused-allowlist tachyon

loom: ## the ring and its waiting in every order of their steps (loom)
	@echo '==> loom'
	@RUSTFLAGS='--cfg loom' cargo test --quiet --release --target-dir $(TARGET)/loom --package tachyon-loom

loom-mutants: ## break the ring in one place after the other, and see the models notice
	@CARGO_TARGET_DIR=$(abspath $(TARGET)) $(PYTHON) tests/loom/mutants.py

# The targets are built with the stable compiler, which this has take unstable options.
fuzz: $(TARGET)/tools/bin/cargo-fuzz ## fuzz each target for RUNS inputs, with AddressSanitizer: make fuzz RUNS=10000000 FUZZ='caller callee'
	@echo '==> building the fuzz targets'
	@RUSTC_BOOTSTRAP=1 $< build --fuzz-dir tests/fuzz --target $(HOST) --debug-assertions
	@for target in $(FUZZ); do \
	    echo "==> fuzzing $$target"; \
	    mkdir -p tests/fuzz/target/corpus/$$target tests/fuzz/artifacts/$$target; \
	    ASAN_OPTIONS=detect_leaks=0 tests/fuzz/target/$(HOST)/release/$$target -runs=$(RUNS) -max_len=160 -timeout=60 \
	        -rss_limit_mb=4096 -print_final_stats=1 -verbosity=0 -artifact_prefix=tests/fuzz/artifacts/$$target/ \
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

wheel: $(VENV)/.demo ## build the wheel into target/wheels
	@echo '==> maturin build'
	@$(BIN)/maturin build --quiet --release --manifest-path $(PACKAGE)/Cargo.toml
	@ls $(TARGET)/wheels

clean: ## remove all that was built, .venv and .demo
	cargo clean --quiet
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
	find $(PACKAGE)/python -name '*.so' -delete

$(TARGET)/tools/bin/cargo-fuzz:
	@echo '==> installing cargo-fuzz into $(TARGET)/tools'
	@cargo install --quiet --locked --root $(TARGET)/tools cargo-fuzz

# A stamp and not the interpreter itself: a venv that could not be finished is begun anew.
$(VENV)/.created:
	@command -v cargo >/dev/null || { echo 'cargo was not found: install Rust first, https://rustup.rs' >&2; exit 1; }
	@test -n '$(PYTHON)' || { echo 'no Python 3.11 or later was found: install one, or name it: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, $(PYTHON) is %d.%d: name another, make PYTHON=/path/to/python3.12" % sys.version_info[:2])'
	@echo "==> creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.demo: $(PACKAGE)/requirements-demo.txt $(VENV)/.created
	@echo '==> installing what the demo needs into $(VENV)'
	@$(BIN)/python -m pip install --quiet -r $<
	@touch $@

$(VENV)/.dev: $(PACKAGE)/requirements-dev.txt $(VENV)/.demo
	@echo '==> installing test tools and linters into $(VENV)'
	@$(BIN)/python -m pip install --quiet -r $<
	@touch $@

$(EXTENSION): $(VENV)/.demo $(RUST) $(PACKAGE)/pyproject.toml
	@echo '==> building the Python package (optimised; the first time takes a minute)'
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --quiet --release --manifest-path $(PACKAGE)/Cargo.toml
	@touch $@

$(EXAMPLES): $(RUST)
	@echo '==> building the Rust examples and test programs'
	@cargo build --quiet --release --package tachyon-examples --package tachyon-tests --bins
	@touch $@

$(INPUT) &: examples/python/demo_input.py $(VENV)/.demo
	@echo '==> writing the input'
	@$(BIN)/python examples/python/demo_input.py .demo
