# make help lists the targets.  Only demo and test are needed to begin.
VENV ?= .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: help setup demo test check unit sim e2e bench pins clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## Install what is missing: system packages, and pinned wheels into .venv

$(READY): requirements/dev.txt pyproject.toml scripts/setup
	@scripts/setup $(VENV)
	@touch $@

demo: setup ## One region of three nodes with real guests, told line by line; KEEP=1 leaves it running
	@scripts/as-root $(PY) -m hansa.wiring.demo $(if $(KEEP),--keep)

test: setup check ## All tests, real guests included
	@scripts/as-root $(PY) -m pytest -q -p no:cacheprovider tests

check: setup ## Lint, format, types, directions of imports, house rules
	@$(VENV)/bin/ruff check -q . && $(VENV)/bin/ruff format -q --check . && $(VENV)/bin/mypy --no-error-summary && PYTHONPATH=src $(VENV)/bin/lint-imports --no-logo >$(VENV)/imports.log || { cat $(VENV)/imports.log 2>/dev/null; exit 1; }

unit: setup ## The quick tests: no root, no guests
	@$(PY) -m pytest -q tests/unit tests/property tests/api

sim: setup ## One simulated world: make sim SEED=7 NODES=50
	@$(PY) -c "import sys; from hansa.sim.run import run; report = run($(or $(SEED),1), $(or $(NODES),50)); print(*report.lines, sep=chr(10)); sys.exit(not report.ok)"

e2e: setup ## Real guests, real networks
	@scripts/as-root $(PY) -m pytest -q tests/e2e

bench: setup ## Figures: name, value, unit, note
	@for each in bench/*.py; do scripts/as-root $(PY) $$each; done

pins: ## Compile requirements/*.txt anew
	@for each in run dev; do uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 requirements/$$each.in -o requirements/$$each.txt; done

clean: ## Remove the environment and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
