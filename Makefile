PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed-from-lock
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate --quiet
FUZZERS := build/atheris
# What is compiled: without a compiler none is to be left of an earlier source.
KERNEL := broker/policy/injection/kernel.c broker/policy/injection/kernel.*.so

.DEFAULT_GOAL := help
.PHONY: help setup demo test fuzz crucible lint format bench services lock schemas clean

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv from the lock; needs only Python 3.11 to 3.13

$(STAMP): requirements/dev.txt pyproject.toml broker/policy/injection/kernel.pyx
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo 'Headworks needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 setup' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	@rm -f $(KERNEL)
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## Send the example jobs through every pool, with the embedded servers
	$(BIN)/headworks demo

test: $(STAMP) ## Run all tests, on real servers too (ARGS="-k name" for some)
	$(BIN)/python -m tests.services install
	$(BIN)/python -m pytest $(ARGS)

fuzz: $(STAMP) ## Fuzz what reads texts and policies (SECONDS=60 each); fetches Atheris, for Linux
	@test -d $(FUZZERS) || $(PIP) install --quiet --target $(FUZZERS) atheris==3.0.0
	@for target in views detectors document; do \
		PYTHONPATH=$(FUZZERS) $(BIN)/python -m tests.fuzz $$target --seconds $(or $(SECONDS),60) || exit 1; \
	done

crucible: $(STAMP) ## Kill and cut off everything under load, and look (SECONDS=120 SEED=1)
	$(BIN)/python -m tests.services install
	$(BIN)/python -m tests.crucible --seconds $(or $(SECONDS),120) --seed $(or $(SEED),1)

lint: $(STAMP) ## Check style, types and the rules of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(STAMP) ## Lay out the code and mend what can be mended by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## Measure the whole pipeline on real servers
	$(BIN)/python -m tests.services install
	$(BIN)/python -m benchmarks.pipeline

services: $(STAMP) ## Keep real Kafka, PostgreSQL and Redis up until Ctrl-C
	$(BIN)/python -m tests.services install
	$(BIN)/python -m tests.services up

lock: ## Resolve the locks under requirements/ anew (needs uv)
	$(COMPILE) --group build --output-file requirements/build.txt
	$(COMPILE) pyproject.toml --output-file requirements/run.txt
	$(COMPILE) pyproject.toml --extra embedded --extra tokenizers --group dev --constraints requirements/run.txt \
		--output-file requirements/dev.txt

schemas: $(STAMP) ## Write the JSON Schema and AsyncAPI documents and the test vectors anew
	$(BIN)/python -m schemas.generate
	$(BIN)/python -m broker.identity.vectors

clean: ## Remove the environment and what was built; servers kept in the cache stay
	rm -rf .venv build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -f $(KERNEL)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
