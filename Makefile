# The commands of the README: `make demo`, `make test`, `make test-all` and `make harden`. Each sets up everything it needs.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all lint types imports tests all-tests harden setup browser site snapshot packages handshake bench lock clean

demo: .venv/.installed
	$(BIN)/python examples/demo.py

# mypy uses one core for a minute: it runs beside the tests.
test: lint imports
	$(MAKE) --no-print-directory --jobs 2 types tests

# The slow tests too, with the programs that they need: Node.js, a browser, environments of agents. CI runs this.
test-all: lint imports
	$(MAKE) --no-print-directory --jobs 2 types all-tests

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed
	$(BIN)/mypy

imports: .venv/.installed
	$(BIN)/lint-imports --no-logo

tests: .venv/.installed
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow and not harden"

all-tests: setup
	$(BIN)/pytest -n 2 --dist worksteal

# The long forms of tests (the marker `harden`) and tests of faults, counted; under 40 minutes on two cores.
harden: .venv/.installed tests/clients/node_modules/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check atheris==3.0.0
	$(BIN)/python tests/harden.py

# Everything `make test-all` needs, without running it.
setup: browser .venv/.installed tests/clients/node_modules/.installed .venv-pydantic-ai/.installed .venv-langchain/.installed

# The documentation as a site, in .site/site; `make test-all` builds it too.
site: .venv/.installed
	$(BIN)/python tests/site_pages.py

# After an intended change of the contract: writes the snapshot and the README's tables.
snapshot: .venv/.installed
	PYTHONPATH=tests $(BIN)/python tests/snapshot.py

# What a release has: wheel, source distribution and MCP bundle, in dist/. The bundle's packages are locked by their hashes.
packages: .venv/.installed tests/clients/node_modules/.installed
	rm -rf dist
	$(BIN)/python -m hatchling build -d dist
	PYTHONPATH=tests $(BIN)/python tests/bundle.py dist/*.whl dist/bundle
	$(BIN)/uv lock --quiet --project dist/bundle
	tests/clients/node_modules/.bin/mcpb pack dist/bundle dist/mcp-server-embeddings.mcpb
	rm -rf dist/bundle

handshake: .venv/.installed
	$(BIN)/python benchmarks/handshake.py

# Measures for about fifteen minutes on an otherwise idle machine; writes docs/benchmarks.md and its plot.
bench: .venv/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-fastembed
	.venv-fastembed/bin/pip install --quiet --disable-pip-version-check fastembed==0.9.1
	$(BIN)/python benchmarks/bench.py --fastembed .venv-fastembed/bin/python

# All versions are pinned; torch==2.13.0 exactly, because anything looser resolves to gigabytes of CUDA.
.venv/.installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

tests/clients/node_modules/.installed: tests/clients/package-lock.json
	npm ci --prefix tests/clients --no-audit --no-fund --loglevel=error
	touch $@

# The browser of tests/test_view.py: Debian's, where there is none.
browser:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit; done; \
	apt-get update -q && apt-get install -q -y chromium

# The environments of examples/agents: neither framework belongs beside the server, and LangChain's adapters need mcp 1.
# Each lock is the pip freeze of a new environment with the dependencies that its example names inline.
.venv-pydantic-ai/.installed: examples/agents/pydantic_ai.lock
	$(PYTHON) -m venv .venv-pydantic-ai
	.venv-pydantic-ai/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

.venv-langchain/.installed: examples/agents/langchain.lock
	$(PYTHON) -m venv .venv-langchain
	.venv-langchain/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# Write requirements.lock anew from the newest versions that pyproject.toml allows.
lock:
	$(PYTHON) -m venv .lock-venv
	.lock-venv/bin/pip install --quiet torch==2.13.0
	.lock-venv/bin/pip install --quiet hatchling editables $$($(PYTHON) tests/requirements.py)
	.lock-venv/bin/pip freeze | sed 's/+cpu$$//' > requirements.lock
	rm -rf .lock-venv

clean:
	rm -rf .site .venv .venv-fastembed .venv-pydantic-ai .venv-langchain tests/clients/node_modules .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
