# Two verbs do everything on a machine with python3 and pip: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ROLE ?= patient
JOBS ?= 1
.DEFAULT_GOAL := help

.PHONY: help demo test lowest slow lint types format benchmark reliability figures ablation control base wheel clean

help: ## List the verbs
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m pip --python $(VENV) install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(VENV)/.ready ## Train a drifting patient, print the table before and after (ROLE=student, ARGS=...)
	$(BIN)/persona-env train --role $(ROLE) $(ARGS)

test: $(VENV)/.ready ## The fast tests and the doctests
	$(BIN)/python -m pytest -n 2 --dist loadfile

lowest: ## The fast tests of what builds on other packages, with the lowest versions that pyproject.toml allows
	$(PYTHON) -m venv --without-pip $(VENV)-lowest
	$(PYTHON) -m pip --python $(VENV)-lowest install --quiet --disable-pip-version-check -c constraints-lowest.txt -e ".[dev]"
	$(VENV)-lowest/bin/python -m pytest -q -n 2 --dist loadfile tests/envs tests/wrappers tests/sb3 tests/rl tests/speakers tests/algorithms wrappers

slow: $(VENV)/.ready ## The tests that train or start processes
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.ready ## Style
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.ready ## Types
	$(BIN)/pyright

format: $(VENV)/.ready ## Put the style right
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

benchmark: $(VENV)/.ready ## Speed and memory as ratios within one run
	$(BIN)/python -m tests.benchmarks

reliability: $(VENV)/.ready ## Each demand on judges, logs and runs, with the figure achieved (within 10 minutes)
	$(BIN)/python -m tests.reliability

figures: $(VENV)/.ready ## The README's table: 3 roles x 3 bases x 3 seeds of the main job (JOBS=2)
	$(BIN)/python -m tests.benchmarks.figures --jobs $(JOBS) $(ARGS)

ablation: $(VENV)/.ready ## Credit across lines: line_gamma 0 against more
	$(BIN)/python -m tests.benchmarks.credit_across_lines --jobs $(JOBS) $(ARGS)

control: $(VENV)/.ready ## The negative control: a base that has settled in a wrong persona
	$(BIN)/python -m tests.benchmarks.wrong_attractor --jobs $(JOBS) $(ARGS)

base: $(VENV)/.ready ## Make the embedded model's weights again from nothing
	$(BIN)/python -m persona_env.world.pretrain --seed 0 --out runs/base

wheel: $(VENV)/.ready ## Build the wheel into dist/
	$(BIN)/python -m build --wheel

clean: ## Remove what the verbs made, except runs/
	rm -rf $(VENV) $(VENV)-lowest dist build .pytest_cache .ruff_cache .hypothesis
