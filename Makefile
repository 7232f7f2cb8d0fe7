# Every target works on a machine that has only Python 3.11+, pip, make and git.
PYTHON ?= python3
# The lowest declared versions have wheels for the lowest Python only.
LOWEST_PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
WHEEL_VENV := .venv-wheel
LOWEST_VENV := .venv-lowest
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
INSTALL := $(PIP_INSTALL) -c constraints.txt
PYTEST := -m pytest -n 2 --dist worksteal --ignore tests/performance --ignore tests/clients
# Libraries over the package; the file says what to install, tests/clients/test_<client>.py trains with it.
CLIENTS := $(basename $(notdir $(wildcard tests/clients/*.txt)))
CLIENT ?= $(CLIENTS)
CLIENT_VENVS := .venv-clients
FAST := -m "not slow and not dataset and not torch"
# One BLAS thread per process: the test processes and the environments are what runs side by side.
export OMP_NUM_THREADS ?= 1

.PHONY: help setup check test test-fast test-lowest test-clients fuzz kills coverage lint format typecheck bench wheel docs \
	release demo leaderboard front pictures explorer notebook clean

help:  ## Show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.installed  ## Create .venv with the package (editable) and the tools

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	# A torch that is there is kept, whichever it is.
	if $(BIN)/python -m pip show --quiet torch 2> /dev/null; then constraints=; else constraints="-c constraints.txt"; fi; \
	$(BIN)/python $(PIP_INSTALL) $$constraints --editable '.[dev]'
	touch $@

check:  ## Run all that has to pass before a change lands
	bash .ci/run

test: setup  ## Run the tests and print their coverage
	$(BIN)/python $(PYTEST) --cov --cov-report=
	@echo "coverage: $$($(BIN)/coverage report --format=total) % of lines ('make coverage' prints each module's)"

test-fast: setup  ## Run the tests that need neither torch nor measurements nor patience
	$(BIN)/python $(PYTEST) $(FAST)

test-lowest:  ## Run the fast tests on the lowest declared versions, in a fresh environment
	rm -rf $(LOWEST_VENV)
	$(LOWEST_PYTHON) -m venv $(LOWEST_VENV)
	$(LOWEST_VENV)/bin/python $(INSTALL) -c constraints-lowest.txt --editable '.[tensorboard,multi-objective,video]' hypothesis pytest pytest-timeout pytest-xdist
	$(LOWEST_VENV)/bin/python $(PYTEST) $(FAST)

test-clients: $(CLIENT:%=test-client-%)  ## Train with other libraries, each in a fresh environment (CLIENT=rllib: with one)

test-client-%:
	@test -f tests/clients/$*.txt || { echo "there is no client '$*': choose from $(CLIENTS)"; exit 1; }
	rm -rf $(CLIENT_VENVS)/$*
	$(PYTHON) -m venv $(CLIENT_VENVS)/$*
	$(CLIENT_VENVS)/$*/bin/python $(INSTALL) --no-compile --editable . -r tests/clients/$*.txt hypothesis pytest pytest-timeout || \
		{ echo "cannot install the client '$*': a package registry is needed"; exit 1; }
	HWGPT_CLIENT=$* $(CLIENT_VENVS)/$*/bin/python -m pytest tests/clients/test_$*.py --durations=5
	rm -rf $(CLIENT_VENVS)/$*

fuzz: setup  ## Pass anything to everything public, and run the tests of properties on thousands of cases
	HWGPT_FUZZ_SEED=$${HWGPT_FUZZ_SEED:-$$($(BIN)/python -c 'import secrets; print(secrets.randbits(32))')} \
		$(BIN)/python $(PYTEST) -m "hypothesis or fuzz" --hypothesis-profile fuzz

kills: setup  ## Kill commands at random moments, ten times as often as the tests do
	HWGPT_KILL_SEED=$${HWGPT_KILL_SEED:-$$($(BIN)/python -c 'import secrets; print(secrets.randbits(32))')} \
		HWGPT_KILL_ROUNDS=40 $(BIN)/python $(PYTEST) tests/agents/test_kill.py --timeout 7200 -s

coverage: setup  ## Print the coverage of every module, as the last run of the tests left it
	$(BIN)/coverage report --skip-covered --sort=cover

lint: setup  ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pre-commit validate-config

format: setup  ## Repair style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

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

docs: setup  ## Build the site of the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

release: setup  ## Build the source and the wheel, check them, and say what to push
	rm -rf build dist
	$(BIN)/python -m build --quiet
	$(BIN)/python -m twine check --strict dist/*
	@version=$$($(BIN)/python -c 'import hwgpt_gym; print(hwgpt_gym.__version__)'); \
	grep -q "^## $$version" CHANGELOG.md || { echo "CHANGELOG.md has no heading '## $$version'"; exit 1; }; \
	if git rev-parse -q --verify "refs/tags/v$$version" > /dev/null; then echo "v$$version is tagged already"; exit 1; fi; \
	printf '%s\n' "dist/ holds release $$version. Nothing was pushed. To publish it:" \
		"  git tag -a v$$version -m 'hwgpt-gym $$version'" \
		"  git push origin main v$$version" \
		"  $(BIN)/python -m twine upload dist/*"

demo: setup  ## Profile this machine, train PPO up to its certified optimum, write a report
	$(BIN)/hwgpt-gym demo --here

leaderboard: setup  ## Write docs/leaderboard.md, after what is missing of its suites was run (many hours; ARGS=--finished: of what is there)
	$(BIN)/hwgpt-gym leaderboard --suite all --output runs/leaderboard --page docs/leaderboard.md $(ARGS)

front: setup  ## Draw the figure of docs/optimum.md (HWGPT_DATASET names the dataset)
	$(BIN)/hwgpt-gym plot front docs/figures/front-s-a6000.png --device a6000 --scale s --constraint latency_ms=p30 --dataset "$$HWGPT_DATASET"

pictures: setup  ## Draw the film of the README and the picture of docs/environment.md
	$(BIN)/python docs/pictures.py

explorer: setup  ## Draw the figure of docs/explorer.md, and measure how quickly the page answers
	$(BIN)/python -P tests/browsing.py docs/figures/explorer.png

notebook: setup  ## Execute the notebook of the first ten minutes in place
	$(BIN)/python docs/notebook.py

clean:  ## Remove what the other targets made
	rm -rf $(VENV) $(WHEEL_VENV) $(LOWEST_VENV) $(CLIENT_VENVS) build dist site *.egg-info .coverage \
		.pytest_cache .mypy_cache .ruff_cache .benchmarks .hypothesis
