# Every target works on a machine that has only Python 3.11+, pip, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WHEEL_VENV := .venv-wheel
INSTALL := -m pip install --quiet --disable-pip-version-check -c constraints.txt
# One BLAS thread per process: the test processes and the environments are what runs side by side.
export OMP_NUM_THREADS ?= 1

.PHONY: help setup test lint typecheck bench wheel demo leaderboard front clean

help:  ## Show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.installed  ## Create .venv with the package (editable) and the tools

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) --editable '.[dev]'
	touch $@

test: setup  ## Run the tests
	$(BIN)/python -m pytest -n 2 --dist worksteal --ignore tests/performance

lint: setup  ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

wheel: setup  ## Build the wheel and install it into a second, fresh environment
	rm -rf build dist $(WHEEL_VENV)
	$(BIN)/python -m build --quiet --wheel
	$(PYTHON) -m venv $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python $(INSTALL) dist/*.whl

typecheck: setup  ## Type-check the installed wheel (mypy --strict), agents and environments included
	test -x $(WHEEL_VENV)/bin/python || $(MAKE) wheel
	$(WHEEL_VENV)/bin/python $(INSTALL) --no-deps --force-reinstall dist/*.whl
	$(WHEEL_VENV)/bin/python $(INSTALL) mypy pandas-stubs scipy-stubs
	cd $(WHEEL_VENV) && bin/mypy --config-file ../pyproject.toml -p hwgpt_gym

bench: setup  ## Measure speed (pytest-benchmark)
	$(BIN)/python -m pytest tests/performance -s -p no:cacheprovider --benchmark-disable-gc --benchmark-columns=min,median,max

demo: setup  ## Train PPO for the A6000 up to the certified optimum and write a report
	$(BIN)/hwgpt-gym demo

leaderboard: setup  ## Run the published suites, or what is missing of them, and write docs/leaderboard.md (hours)
	$(BIN)/hwgpt-gym leaderboard --suite quick --suite policies --suite models --output runs/leaderboard --page docs/leaderboard.md

front: setup  ## Draw the figure of docs/optimum.md (HWGPT_DATASET names the dataset)
	$(BIN)/hwgpt-gym plot front docs/figures/front-s-a6000.png --device a6000 --scale s --dataset "$$HWGPT_DATASET"

clean:  ## Remove what the other targets made
	rm -rf $(VENV) $(WHEEL_VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .benchmarks .hypothesis
