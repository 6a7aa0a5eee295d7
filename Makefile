# Each target sets up what it needs by itself; python3 and make are all that must be there.
PYTHON ?= python3
VENV := .venv
CORE32 := .venv-core32

.PHONY: demo test check bench docs format clean setup setup32

demo: setup
	@$(VENV)/bin/python examples/quickstart.py

test: setup setup32
	$(VENV)/bin/python -m pytest
	$(CORE32)/bin/python -m pytest tests/test_graphql.py tests/adapters tests/frameworks tests/core32

check: setup
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/sphinx-build -q -W -n -b html docs docs/_build/html

bench: setup
	$(VENV)/bin/python -m benchmarks.verify

docs: setup
	$(VENV)/bin/sphinx-build -W -n -b html docs docs/_build/html

format: setup
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

setup:
	@$(PYTHON) .ci/bootstrap.py dev $(VENV)

setup32:
	@$(PYTHON) .ci/bootstrap.py dev-core32 $(CORE32)

clean:
	rm -rf $(VENV) $(CORE32) docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/peers/node_modules
