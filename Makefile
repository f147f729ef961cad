# creditfed: every target makes .venv when it is missing; nothing needs to be installed by hand but Python 3.11+ and make.
PYTHON ?= python3
# one more than processors: some tests wait for servers
WORKERS ?= $(shell expr $$(nproc) + 1)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
export FLWR_TELEMETRY_ENABLED = 0
export FLWR_DISABLE_UPDATE_CHECK = 1

.PHONY: setup demo test test-all check bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/creditfed world generate --firms 20000 --seed 7 --out demo-out/world
	$(BIN)/creditfed simulate demo-out/world/scorecard.toml --out demo-out/scorecard --pooled
	$(BIN)/creditfed simulate demo-out/world/logistic.toml --out demo-out/logistic --pooled
	@echo "Open demo-out/scorecard/report.html and demo-out/logistic/report.html"

test: $(STAMP)
	$(BIN)/python -m pytest -q -m "not slow" -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-all: $(STAMP)
	CREDITFED_PROPERTIES=fresh $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m privacy.contracts.document --check
	$(BIN)/python -m privacy.dictionary.document --check
	$(BIN)/pip-audit --skip-editable || echo "pip-audit could not finish (offline?) or found something: see above"

bench: $(STAMP)
	$(BIN)/python -m simulations.benchmarks.encrypted_linear
	$(BIN)/python -m simulations.benchmarks.align
	$(BIN)/python -m simulations.benchmarks.logistic
	$(BIN)/python -m simulations.benchmarks.masked_sum
	$(BIN)/python -m simulations.benchmarks.horizontal
	$(BIN)/python -m simulations.benchmarks.ray_rounds --quick
	$(BIN)/python -m simulations.benchmarks.exchange
	$(BIN)/python -m simulations.benchmarks.fifty_nodes
	$(BIN)/python -m simulations.benchmarks.economy

clean:
	rm -rf $(VENV) demo-out build dist *.egg-info
