# Everything from a clean clone: `make quickstart` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
STOCK := $(VENV)/stock-processors

# One thread a process in the tests: two processes share two cores, and numbers stay the same from run to run.
TEST_ENV := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 NYX_STOCK_PROCESSORS=$(CURDIR)/$(STOCK)

.PHONY: quickstart test test-long lint types clean

quickstart: $(VENV)/.base
	$(BIN)/nyx-hf quickstart

test: lint types
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist worksteal -m "not long"

test-long: $(VENV)/.dev
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The five folders as the one package they install as: mypy does not follow the package's extended path.
types: $(VENV)/.dev
	rm -rf build/types && mkdir -p build/types/nyx_hf
	ln -s $(CURDIR)/nyx_hf/*.py $(CURDIR)/nyx_hf/py.typed build/types/nyx_hf/
	ln -s $(CURDIR)/modeling $(CURDIR)/model_cards $(CURDIR)/data_builders $(CURDIR)/trainer build/types/nyx_hf/
	MYPYPATH=build/types $(BIN)/mypy -p nyx_hf

# torch goes first: on a machine without a GPU a later resolution would take its CUDA build, gigabytes large.
$(VENV)/.base: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed, found " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing nyx_hf and what it needs into $(VENV) (a few minutes the first time)"
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) --editable .
	touch $@

# The stock Qwen processors import torchvision, whose wheel does not load beside a CPU torch. The tests that compare with
# them get it in a folder of its own, on the path of their subprocesses only (tests/fresh.py).
$(VENV)/.dev: $(VENV)/.base
	$(PIP) --editable ".[dev]"
	$(PIP) --no-deps --target $(STOCK) --upgrade torchvision==0.28.0
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
