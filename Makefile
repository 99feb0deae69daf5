# make install: a virtual environment in .venv with everything for work on igcam, once.
# make demo, test, lint, docs: install first where needed, then run.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
WORKERS ?= 2
# Waiting threads sleep soon: spinning ones slow down whatever else runs, most of all another process of torch.
ifndef OMP_WAIT_POLICY
export GOMP_SPINCOUNT ?= 3000
endif
LEAST_COVERAGE := 85

.PHONY: install demo test lint docs constraints clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "igcam needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	if $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv; then \
		$(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e ".[dev]"; \
	else \
		$(BIN)/python -m pip install -c constraints.txt -e ".[dev]"; \
	fi
	touch $@

demo: install
	$(BIN)/igcam demo

# One thread a worker: more would only wait for each other.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope \
		--cov=igcam --cov-report=term:skip-covered --cov-fail-under=$(LEAST_COVERAGE)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation as a site in site/; fails at a broken link.
docs: install
	if test -x $(BIN)/uv; then \
		$(BIN)/uv pip install --quiet --python $(BIN)/python -e ".[docs]"; \
	else \
		$(BIN)/python -m pip install --quiet -e ".[docs]"; \
	fi
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The newest versions that fit together, as names and versions only.
constraints: install
	echo uv | $(BIN)/uv pip compile pyproject.toml - --extra dev --universal --python-version 3.11 \
		--upgrade --no-header --no-annotate --quiet -o constraints.txt

clean:
	rm -rf build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage htmlcov
	find igcam tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
