# PDENet: every target makes what it needs, from nothing but Python and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The ground must stand without torch: these are all that `analysis` and its tests may use.
ANALYSIS_VENV := .venv-analysis
ANALYSIS_READY := $(ANALYSIS_VENV)/.ready
ANALYSIS_PACKAGES := numpy scipy sympy array-api-compat matplotlib pytest pytest-xdist hypothesis

# One thread per process, one process per core (four at most): faster than many threads in each.
WORKERS ?= 4
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 MPLBACKEND=Agg
PYTEST := -m pytest -q -n logical --maxprocesses $(WORKERS)

# Old pip reads the first for the build tools, new pip the second: either way they are pinned.
PIP_INSTALL := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

# A command whose words matter only when it fails.
QUIETLY := quietly() { words=$$("$$@" 2>&1) || { echo "$$words"; return 1; }; }

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install demo test lint format tests tests-without-torch \
	bench figures notebooks evidence clean

help:
	@echo "make demo       set up, then train, inspect and compare two networks on the digits"
	@echo "make test       set up, then run every check and all tests"
	@echo "make install    set up only: a virtual environment in $(VENV)"
	@echo "make lint       style, format, types and the direction of imports"
	@echo "make format     let ruff repair style and format"
	@echo "make bench      run the scripts of benchmarks"
	@echo "make figures    draw the figures of paper_figures"
	@echo "make notebooks  execute the notebooks and keep their output"
	@echo "make evidence   all three, and the searches of evidence: 100,000 certificates, blocks, steps"
	@echo "make clean      remove the environments and everything generated"
	@echo "Another Python: make PYTHON=python3.12 demo"

install: $(READY)
	@echo "PDENet is ready in $(VENV): try $(BIN)/pdenet --help"

demo: $(READY)
	@$(BIN)/pdenet demo

test: lint tests tests-without-torch
	@echo "All checks and tests passed."

lint: $(READY)
	@echo "lint: style, format, types, imports"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy
	@$(QUIETLY); quietly $(BIN)/lint-imports --no-logo

format: $(READY)
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

tests: $(READY)
	@echo "tests: doctests and tests of analysis and pdenet"
	@$(ONE_THREAD) $(BIN)/python $(PYTEST)

tests-without-torch: $(ANALYSIS_READY)
	@echo "tests: analysis in an environment without torch"
	@$(ANALYSIS_VENV)/bin/python -c "import importlib.util as u, sys; \
		sys.exit('torch is importable in $(ANALYSIS_VENV): this job would prove nothing' \
		if u.find_spec('torch') else 0)"
	@$(ONE_THREAD) $(ANALYSIS_VENV)/bin/python $(PYTEST) analysis tests/analysis

# Scripts whose name starts with an underscore are parts of the others.
run_each = for script in $(1)/[!_]*.py; do \
	[ -e "$$script" ] || continue; echo "$$script"; $(2) "$$script" || exit 1; done

bench: $(READY)
	@$(call run_each,benchmarks,$(BIN)/python)

figures: $(READY)
	@$(call run_each,paper_figures,MPLBACKEND=Agg $(BIN)/python)

notebooks: $(READY)
	@$(QUIETLY); $(call run_each,notebooks,quietly $(BIN)/jupytext --quiet --to ipynb --set-kernel python3 --execute)

# One after the other, the search for a wrong certificate last: it takes longest and can go on.
evidence: bench figures notebooks
	@$(call run_each,evidence,$(ONE_THREAD) $(BIN)/python)
	@echo "Everything measured, drawn, executed and searched again: see git diff."

clean:
	@rm -rf $(VENV) $(ANALYSIS_VENV) build dist .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis
	@find analysis pdenet tests -type d -name __pycache__ -prune -exec rm -rf {} +

define check_python
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
		echo "PDENet needs Python 3.11 or newer; $(PYTHON) was not found: install it, or name one with make PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "PDENet needs Python 3.11 or newer; $(PYTHON) is older: name another with make PYTHON=python3.12 ..." >&2; exit 1; }
endef

$(READY): pyproject.toml constraints.txt
	$(check_python)
	@echo "Setting up $(VENV): downloading packages, a few minutes the first time ..."
	@"$(PYTHON)" -m venv $(VENV)
	@$(PIP_INSTALL) $(BIN)/python -m pip install -qq -e '.[dev]'
	@touch $@

$(ANALYSIS_READY): pyproject.toml constraints.txt
	$(check_python)
	@echo "Setting up $(ANALYSIS_VENV), without torch: downloading packages ..."
	@"$(PYTHON)" -m venv $(ANALYSIS_VENV)
	@$(PIP_INSTALL) $(ANALYSIS_VENV)/bin/python -m pip install -qq $(ANALYSIS_PACKAGES)
	@touch $@
