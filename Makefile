# `make` lists what can be done here; `make test` is what every change must pass.

VENV  := .venv
STAMP := $(VENV)/.installed
BIN   := $(VENV)/bin

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(STAMP) ## Send a few dozen mails through relays that misbehave, and show what was recorded
	$(BIN)/mailqueue demo

.PHONY: test
test: lint types floors unit ## Everything: lint, types, floors, unit; stops at the first failure

.PHONY: lint
lint: $(STAMP) ## Check style and formatting (ruff)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: types
types: $(STAMP) ## Check types (mypy, strict)
	$(BIN)/mypy

.PHONY: floors
floors: $(STAMP) ## Check that imports go downwards only (import-linter)
	$(BIN)/lint-imports

.PHONY: unit
unit: $(STAMP) ## Run the tests (pytest); make unit ARGS="-k claim -x" for a few
	$(BIN)/pytest -n 2 --dist worksteal $(ARGS)

MINUTES ?= 30

.PHONY: torture
torture: $(STAMP) ## Kill, cut and break for MINUTES=30; SEED=n replays, RECORD=1 writes it down
	$(BIN)/python -m tests.torture --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(if $(RECORD),--record)

SECONDS_EACH ?= 30

.PHONY: fuzz
fuzz: $(STAMP) ## Fuzz every reader of foreign octets with atheris, SECONDS_EACH=30
	-@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=3'
	$(BIN)/python -m tests.fuzz $(SECONDS_EACH)

.PHONY: mutate
mutate: $(STAMP) ## Break each promise on purpose, and show which test notices
	$(BIN)/python -m tests.mutation

# `python -m benchmarks --help` says what else can be asked for: ARGS="--tuned --json FILE".
BENCH = $(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	$(if $(MAILS),--mails $(MAILS))

.PHONY: bench
bench: $(STAMP) ## Measure beside Postfix; make bench ONLY=drain,latency ROUNDS=3 MAILS=5000
	$(BENCH) $(ARGS)

.PHONY: profile
profile: $(STAMP) ## Where the daemon spends its time, thread by thread; make profile ONLY=drain
	$(BENCH) --profile $(ARGS)

.PHONY: pages
pages: $(STAMP) ## Write anew what is made from the code: states.md, operations.md, mailqueue.1
	$(BIN)/python -m docs.draw_states
	$(BIN)/python -m docs.walk_incident
	$(BIN)/python -m docs.write_man

.PHONY: format
format: $(STAMP) ## Format the code and mend what can be mended (ruff)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: venv
venv: $(STAMP) ## Make the virtual environment in .venv

.PHONY: clean
clean: ## Remove caches and build products; .venv stays
	rm -rf build dist htmlcov .coverage .coverage.* .hypothesis \
		.import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name $(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Installed again only when pyproject.toml has changed.
$(STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# A name on the PATH is no proof (version managers leave stand-ins there), so each is asked.
$(BIN)/python:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "$$python -m venv $(VENV)"; \
			exec "$$python" -m venv $(VENV); \
		fi; \
	done; \
	echo "mailqueue needs Python 3.11 or newer, and none was found." >&2; \
	echo "Name one: make PYTHON=/path/to/python3.11" >&2; \
	exit 1
