# `make help` is the index. Only Python 3.11+, git and make are needed to start: `make setup` does the rest.

PYTHON ?= python3
JOBS   ?= 2
UV     ?= uv
ARGS   ?=

BIN      := .venv/bin
MIGRATOR := $(BIN)/migrator
PIP      := $(BIN)/python -m pip -q --disable-pip-version-check --no-input
PYTEST   := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

# Named after this folder: in a moved or copied checkout the stamp is missing and .venv is made anew, because
# the scripts and the editable install inside it would still point at the old place.
STAMP := .venv/.setup-$(shell printf '%s' '$(CURDIR)' | cksum | cut -d ' ' -f 1)

# The Python that .venv was made from is gone (an upgrade of the system): the stamp counts for nothing.
ifeq ($(wildcard $(BIN)/python),)
.PHONY: $(STAMP)
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo example migrate-staging migrate-prod rollback test check format docs links torture torture-share bench lock clean

help: ## show this list
	@echo 'Usage: make TARGET [ARGS="options for the command behind it"]'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'Examples:  make migrate-staging ARGS=--yes'
	@echo '           make rollback ENV=staging'

setup: $(STAMP) ## make .venv with everything pinned, when it is missing or out of date

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo 'error: $(PYTHON) was not found; migrator needs Python 3.11 or newer' >&2; \
	  echo 'hint:  make PYTHON=/path/to/python3.11 setup' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: migrator needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) --version 2>&1)" >&2; \
	  echo 'hint:  make PYTHON=/path/to/python3.11 setup' >&2; exit 1; }
	@echo 'Setting up .venv (about a minute) ...'
	@if test -e $@ && test -x $(BIN)/python; then $(PYTHON) -m venv .venv; else $(PYTHON) -m venv --clear .venv; fi
	@$(PIP) install --no-compile --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@# On all cores and without the libraries' own tests: a third of the time that pip takes to compile them.
	@$(BIN)/python -m compileall -q -j 0 -x '/tests/' .venv/lib || :
	@touch $@

demo: setup ## build a small legacy store and walk through migrating it
	@$(MIGRATOR) demo $(ARGS)

example: setup ## a Dagster pipeline over a demo store, in the browser; says what to click
	@$(BIN)/python -c 'import dagster_webserver' 2>/dev/null || { \
	  echo "Installing Dagster's pages (about half a minute) ..."; \
	  $(PIP) install --require-hashes -r examples/daydreaming/requirements.lock; }
	@$(BIN)/python -m examples.daydreaming $(ARGS)

migrate-staging: setup ## bring staging up to date (made from prod's data when it is not there yet)
	@$(MIGRATOR) --env staging upgrade --from prod $(ARGS)

migrate-prod: setup ## bring prod up to date; it wants its name typed, or ARGS="--confirm prod"
	@$(MIGRATOR) --env prod upgrade $(ARGS)

# ENV counts only when it is typed: many shells and containers have a variable of that name, and undoing the
# wrong store must not be a left-over setting.
ifeq ($(origin ENV),command line)
rollback: setup ## undo the latest run of an environment: make rollback ENV=staging
	@$(MIGRATOR) --env '$(ENV)' rollback $(ARGS)
else
rollback:
	@echo 'error: which environment? It is never guessed.' >&2
	@echo 'usage: make rollback ENV=staging [ARGS="RUN or options"]' >&2
	@exit 1
endif

test: setup ## the everyday tests
	@$(PYTEST) $(ARGS)

check: setup ## format, lint, types, tests: what CI runs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(PYTEST) $(ARGS)

format: setup ## format the code and repair what lint can (applied steps stay as they are)
	@$(BIN)/ruff check --fix --exclude migrations .
	@$(BIN)/ruff format .

docs: setup ## build the documentation into build/docs and run its examples; a warning or a dead link inside is an error
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs
	@$(BIN)/sphinx-build -q -W --keep-going -b doctest docs build/doctest
	@$(BIN)/python -m pytest -q tests/test_docs.py tests/test_testing.py -k 'docs or worked_example'
	@echo 'build/docs/index.html'

links: setup ## follow the links that lead out of the documentation; without a network it says so and is no failure
	@$(BIN)/sphinx-build -Q -b linkcheck docs build/links || true
	@$(BIN)/python docs/links.py build/links/output.json

torture-share: setup ## an evenly thinned share of the sweeps, for CI: at most a quarter of an hour
	@$(BIN)/python -m tests.torture --share 5 --minutes 15 $(ARGS)

torture: setup ## the long sweeps: every crash point, power cuts, large stores (twenty minutes on 2 cores)
	@$(BIN)/python -m tests.torture $(ARGS)
	@$(PYTEST) -m slow --timeout 3600

bench: setup ## measure speed; ARGS=--smoke for a quick look
	@$(BIN)/python -m benchmarks $(ARGS)

PIN := $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --custom-compile-command 'make lock'

lock: ## pin requirements.lock anew from pyproject.toml (needs uv; ARGS=--upgrade for newer versions)
	@$(PIN) --extra dev --extra docs --output-file requirements.lock pyproject.toml $(ARGS)
	@$(PIN) --no-strip-extras --extra example --constraint requirements.lock --output-file examples/daydreaming/requirements.lock pyproject.toml

clean: ## remove .venv, caches, builds and the demo; never data, backups or mappings
	@rm -rf .venv build dist demo-store example-store .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	@find . -name __pycache__ -type d -not -path './data*' -not -path './backups/*' -not -path './mappings/*' \
	  -prune -exec rm -rf {} +
