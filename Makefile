# Kasal: `make demo` and `make test` do all the set-up themselves.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# CrewAI and litellm are loaded in processes of their own, in tests as in use.
RUNNER_TESTS := tests/infrastructure/crew tests/infrastructure/llm
# Two at a time: most of what a test of processes takes is waiting for one to start.
TESTS_AT_ONCE ?= 2
LOCKS  := requirements-dev.lock pyproject.toml
PACKAGES := domain application infrastructure interfaces projections seeds

.PHONY: help compiled demo test lint types bench lock clean
.DEFAULT_GOAL := help

help:  ## list what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 10

# The one environment of a checkout: everything hash-locked, then the project itself, which adds no dependency.
$(BIN)/.installed: $(LOCKS)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "Kasal needs Python 3.11, 3.12 or 3.13; set PYTHON=python3.x")'
	@echo "Setting up $(VENV) (once; about a minute and 1.5 GB)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Where Python is told to write no bytecode (PYTHONDONTWRITEBYTECODE), every process would compile us anew: 0.6 s.
compiled: $(BIN)/.installed
	@$(BIN)/python -m compileall -q $(PACKAGES)

demo: compiled  ## run a workflow end to end on embedded defaults (MODEL=openai/gpt-4o-mini for a real one)
	@$(BIN)/kasal demo $(if $(MODEL),--model $(MODEL))

test: compiled lint types  ## lint, types and every test, on real SQLite, PostgreSQL and NATS
	@$(BIN)/python -m pytest -n $(TESTS_AT_ONCE) --dist loadfile tests $(RUNNER_TESTS:%=--ignore=%)
	@$(BIN)/python -m pytest $(RUNNER_TESTS)

lint: $(BIN)/.installed  ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(BIN)/.installed  ## mypy --strict
	@$(BIN)/mypy

bench: compiled  ## every speed figure beside its limit, measured in the same run
	@$(BIN)/python -m tests.benchmarks

lock: ## resolve the three lock files again (needs uv)
	uv pip compile pyproject.toml --extra build --extra runner --extra dev $(RESOLVE) -o requirements-dev.lock
	uv pip compile pyproject.toml --extra build --extra runner -c requirements-dev.lock $(RESOLVE) -o requirements-runner.lock
	uv pip compile pyproject.toml --extra build -c requirements-dev.lock $(RESOLVE) -o requirements.lock

RESOLVE := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet

clean:  ## remove the environment and what runs have left
	rm -rf $(VENV) .kasal build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
