# Two commands do all set-up: `make demo` runs the main job, `make test` checks everything quickly.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PHOTOS ?=
OUT ?= outputs/demo

PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

.PHONY: setup demo test test-extended lint docs clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed, this is ' + sys.version.split()[0])"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,view,sfm]'
	touch $@

demo: setup
	test -n "$(PHOTOS)" -o -f "$(OUT)/capture/transforms.json" || $(BIN)/geometry data make-capture \
	    --seed 12 --views 24 --size 378 672 --out "$(OUT)/capture"
	$(BIN)/nvs render "$(or $(PHOTOS),$(OUT)/capture)" --out "$(OUT)/scene"

test: setup
	$(PYTEST)

test-extended: setup
	$(PYTEST) -m "extended and not gpu and not weights and not slow"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) outputs build *.egg-info
