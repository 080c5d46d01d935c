# `make demo` and `make test` set up what they need on a fresh machine and are quick when nothing changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The libraries that training files are for; torch and accelerate stay out, which only training itself needs.
CONSUMERS := .venv-consumers
PYTEST := $(BIN)/pytest --cov --cov-report= --cov-fail-under=0
# A folder of its own for the smoke run: it neither meets nor leaves anything in the user's.
SMOKE_HOME := $(CURDIR)/.smoke

.PHONY: demo test lint types smoke tests tests-of-flows tests-of-the-rest consumers clean

demo: $(READY)
	@$(BIN)/python -m flows.demo $(BILL)

test: lint types smoke tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# The real local model on the shortest example, as a newcomer runs it; then what it left in the ledger is checked.
smoke: $(READY)
	rm -rf $(SMOKE_HOME)
	HEADRACE_HOME=$(SMOKE_HOME) HEADRACE_IDLE_MINUTES=2 $(MAKE) --no-print-directory demo
	HEADRACE_HOME=$(SMOKE_HOME) $(BIN)/python -m tests.check_demo examples/housing-bill.txt
	HEADRACE_HOME=$(SMOKE_HOME) $(BIN)/headrace down
	rm -rf $(SMOKE_HOME)

# Import direction and Alembic up, down and drift are tests among these. In two processes, as a machine has two cores;
# what they cover is put together. Each has a folder of its own, kept where a test fails: pytest closes the one it would
# make to other users when it begins, and where we are root the other process's Postgres is one.
tests: $(READY)
	$(BIN)/coverage erase
	@$(MAKE) --no-print-directory -j2 tests-of-flows tests-of-the-rest
	$(BIN)/coverage combine
	$(BIN)/coverage report

tests-of-flows:
	room=$$(mktemp -d) && COVERAGE_FILE=$(CURDIR)/.coverage.flows $(PYTEST) --basetemp=$$room/t tests/flows && rm -rf $$room

tests-of-the-rest:
	room=$$(mktemp -d) && COVERAGE_FILE=$(CURDIR)/.coverage.rest $(PYTEST) --basetemp=$$room/t tests --ignore=tests/flows \
		&& rm -rf $$room

# Exports of real conversations, read back by `datasets`, `trl` and pandas.
consumers: $(READY) $(CONSUMERS)/.ready
	$(BIN)/pytest -rs tests/consumers

$(CONSUMERS)/.ready: requirements-consumers.lock
	test -x $(CONSUMERS)/bin/python || $(PYTHON) -m venv $(CONSUMERS)
	$(CONSUMERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	touch $@

$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf $(VENV) $(CONSUMERS) $(SMOKE_HOME) .mypy_cache .ruff_cache .coverage*
