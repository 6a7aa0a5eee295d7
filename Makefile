# Each target sets up what it needs by itself; python3 and make are all that must be there.
PYTHON ?= python3
VENV := .venv
CORE32 := .venv-core32
BENCH := .venv-bench

.PHONY: demo test check bench docs format clean setup setup32 setup-bench

demo: setup
	@$(VENV)/bin/python examples/quickstart.py

test: setup setup32
	$(VENV)/bin/python -m pytest
	$(CORE32)/bin/python -m pytest tests/test_graphql.py tests/authorization tests/adapters tests/frameworks tests/core32

check: setup
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/sphinx-build -q -W -n -b html docs docs/_build/html

bench: setup-bench
	@rm -f benchmarks/*.json
	$(BENCH)/bin/python -m benchmarks.verify
	$(BENCH)/bin/python -m benchmarks.warm
	$(BENCH)/bin/python -m benchmarks.middleware
	-$(BENCH)/bin/python -m benchmarks.http
	$(BENCH)/bin/python -m benchmarks.keys
	$(BENCH)/bin/python -m benchmarks.revocation
	$(BENCH)/bin/python -m benchmarks.authorization
	$(BENCH)/bin/python -m benchmarks.page

docs: setup
	$(VENV)/bin/sphinx-build -W -n -b html docs docs/_build/html

format: setup
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

setup:
	@$(PYTHON) .ci/bootstrap.py dev $(VENV)

setup32:
	@$(PYTHON) .ci/bootstrap.py dev-core32 $(CORE32)

setup-bench:
	@$(PYTHON) .ci/bootstrap.py bench $(BENCH)

clean:
	rm -rf $(VENV) $(CORE32) $(BENCH) docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf tests/peers/node_modules benchmarks/node/node_modules
