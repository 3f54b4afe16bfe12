# Everything a newcomer runs. `make setup` once (seconds to a minute), then `make demo`.
#   DIR=...     where `make demo` keeps its installation        (default: demo)
#   PYTHON=...  the interpreter that makes .venv, 3.11 or later (default: python3)
#   MESSAGES=.. of one repetition of `make bench-deliver`, REPEATS=.. how many, OUTPUT=.. a file for the raw figures
#   ACCOUNTS=.. of `make bench-credentials`, BENCH_DIR=.. where they are built and removed (14.2 million: 20 GB)
#   SMALL=.. and BIG=.. messages of the mailboxes of `make bench-imap`, IDLE=.. connections
#   TESTS=...   what `make test` runs, PYTEST_FLAGS=... what it adds, WORKERS=... processes that share its test files (0: none)

PYTHON ?= python3
DIR ?= demo
TESTS ?= tests
PYTEST_FLAGS ?=
# One more than the cores of a small machine: tests that watch real cells spend much of their time waiting.
WORKERS ?= 3
MESSAGES ?= 3000
REPEATS ?= 3
SMALL ?= 10000
BIG ?= 100000
IDLE ?= 5000
ACCOUNTS ?= 1000000
BENCH_DIR ?= /tmp/bulkhead-credentials
OUTPUT ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Images write nothing, so without this each would compile what it imports anew: 5 MiB more a cell, and a later start.
COMPILE := $(BIN)/python -m compileall -q src/bulkhead

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format bench bench-deliver bench-imap bench-credentials docs lock clean

help:
	@echo 'make setup     make .venv from requirements.lock (every package checked against its hash)'
	@echo 'make demo      six tenants on loopback, real mail between them; runs until Ctrl-C   [DIR=demo]'
	@echo 'make test      the tests, without the slow ones                                     [TESTS=tests]'
	@echo 'make test-all  every test, the drawn examples anew each time'
	@echo 'make lint      ruff check, ruff format --check, mypy'
	@echo 'make format    ruff format and the fixes that ruff makes by itself'
	@echo 'make bench     the measurements in bench/'
	@echo 'make bench-deliver  delivery beside Postfix + Dovecot, as root    [MESSAGES=3000 REPEATS=3 OUTPUT=file.json]'
	@echo 'make bench-imap  reading beside Dovecot, as root          [SMALL=10000 BIG=100000 IDLE=5000 REPEATS=3]'
	@echo 'make bench-credentials  logins, census, rotation, revocation       [ACCOUNTS=1000000 BENCH_DIR=... OUTPUT=file.json]'
	@echo 'make docs      write the reference pages that are made from tables'
	@echo 'make lock      resolve the lock files anew from pyproject.toml (needs uv)'

# The stamps lie in .venv, so that removing it removes them, and are written last, so that a broken set-up runs again.
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed

$(RUNTIME): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo 'setup: $(PYTHON) is missing or older than 3.11; name another one: make setup PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo 'setup: $(PYTHON) cannot make a virtual environment; run: apt-get install python3-venv' >&2; exit 1; }
	@test -x $(BIN)/python || { echo 'setup: making $(VENV)'; $(PYTHON) -m venv $(VENV); }
	@echo 'setup: installing from requirements.lock'
	@$(PIP) install --require-hashes --only-binary :all: -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@$(COMPILE)
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	@echo 'setup: installing from requirements-dev.lock'
	@$(PIP) install --require-hashes --only-binary :all: -r requirements-dev.lock
	@touch $@

setup: $(RUNTIME)

demo: $(RUNTIME)
	@$(COMPILE)
	@$(BIN)/bulkhead demo -C $(DIR)

test: $(DEV)
	@$(BIN)/python -m pytest -m 'not slow' -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS) $(TESTS)

test-all: $(DEV)
	@$(BIN)/python -m pytest --hypothesis-profile=drawn $(PYTEST_FLAGS) $(TESTS)

lint: $(DEV)
	@status=0; for check in 'ruff check .' 'ruff format --check .' mypy; do $(BIN)/$$check || status=1; done; exit $$status

format: $(DEV)
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

bench: $(RUNTIME)
	@for script in bench/bench_*.py; do $(BIN)/python "$$script" || exit 1; done

bench-deliver: $(RUNTIME)
	@$(BIN)/python -m bench.deliver --messages $(MESSAGES) --repeats $(REPEATS) $(if $(OUTPUT),--output $(OUTPUT))

bench-imap: $(RUNTIME)
	@$(BIN)/python -m bench.imap --small $(SMALL) --big $(BIG) --idle $(IDLE) --repeats $(REPEATS) $(if $(OUTPUT),--output $(OUTPUT))

bench-credentials: $(RUNTIME)
	@$(BIN)/python -m bench.credentials all --accounts $(ACCOUNTS) --directory $(BENCH_DIR) $(if $(OUTPUT),--output $(OUTPUT))

docs: $(RUNTIME)
	@$(BIN)/python -m bulkhead.config.reference docs/configuration.md
	@$(BIN)/python -m bulkhead.boundary.reference docs
	@$(BIN)/python -m bulkhead.cli.reference docs/cli.md
	@$(BIN)/python -m bulkhead.console.openapi docs/openapi.json
	@$(BIN)/python -m bulkhead.boundary.metrics docs/metrics.md

# `build` is the back-end that `pip install -e .` runs; locked as well, so that set-up fetches nothing unhashed.
lock:
	@command -v uv >/dev/null || { echo 'lock: uv is missing; run: pipx install uv' >&2; exit 1; }
	uv lock --default-index https://pypi.org/simple
	uv export --frozen --no-dev --group build --no-emit-project --no-header --quiet -o requirements.lock
	uv export --frozen --only-group dev --no-emit-project --no-header --quiet -o requirements-dev.lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
