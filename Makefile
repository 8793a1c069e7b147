# `make demo` and `make test` set up everything they need in .venv; a second call starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two processes of one thread each: on two cores, more threads than that get in each other's way.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: help demo decoy test test-all test-processors docs lint style types fast-tests all-tests format clean
.DEFAULT_GOAL := help
# What is compiled is kept, also where an image of a container says otherwise: here many processes import the same.
unexport PYTHONDONTWRITEBYTECODE

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 17

ABLATE := $(BIN)/camtrain ablate --jobs 2 --threads 1
DEMO := --config configs/quickstart.yaml --set model.regularizer_weight=0,1 --seeds 0,1,2,3,4 --num_steps 8 --only --out runs/demo
# The last layer sees the whole image, so that a map of the first stage is what shows where the network looks.
DECOY := --config configs/decoydigits_resnet8_right_for_right_reasons.yaml --set model.regularizer_weight=0,0.003 \
	--set trainer.max_epochs=20 --out runs/decoy_demo --methods layer_cam --target_layer layer1
newest = $$(ls -td runs/decoy_demo/trials/regularizer_weight=$(1),* | head -n 1)

demo: $(VENV)/installed  ## plain training against MapFaithfulness on the embedded data, five seeds each, with the report
	$(ABLATE) $(DEMO)

decoy: $(VENV)/installed  ## a classifier that cheats, and is mended: accuracies, the report and a picture
	$(ABLATE) $(DECOY) --num_images 100
	$(BIN)/python -m experiments.decoy.figure --before $(call newest,0) --after $(call newest,0.003) \
		--picture runs/decoy_demo/before_and_after.png

# Types are checked beside the tests: alone, they would leave a core idle for more than a minute. What is wrong with
# them is said again at the end.
test: style  ## lint, types, doctests and tests
	$(MAKE) --jobs 2 types fast-tests || { $(BIN)/mypy; exit 1; }

test-all: style  ## the same with the slow tests
	$(MAKE) --jobs 2 types all-tests || { $(BIN)/mypy; exit 1; }

fast-tests: $(VENV)/installed-dev
	$(PYTEST) -m "not slow"

all-tests: $(VENV)/installed-dev
	$(PYTEST)

test-processors: $(VENV)/installed-dev  ## the numerical tests as other processors compute (more than an hour)
	$(BIN)/python tests/processors.py

docs: $(VENV)/installed-docs  ## the documentation site with its gallery, docs/_build/html; some minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --fail-on-warning --keep-going -b html docs docs/_build/html
	$(BIN)/python -m docs.generator.built_links docs/_build/html

lint: style types  ## ruff, ruff format, codespell, mypy strict

style: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell

types: $(VENV)/installed-dev
	$(BIN)/mypy

format: $(VENV)/installed-dev  ## put the code in the house's form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## remove the environment and what the project made
	rm -rf $(VENV) runs build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	rm -rf docs/_build $(addprefix docs/,examples experiments methods metrics pictures reference regularizers)
	rm -f $(addprefix docs/,architecture.md benchmark.md contributing.md security.md)

# An environment with these extras, or none; one call of pip is faster than one for the package and one for its extras.
# Python compiles a module when it is first imported; pip would compile every file of every package, one after another.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "camtrain needs Python 3.11 or newer, \
	this is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.$(1)'
	touch $(VENV)/installed $@
endef

$(VENV)/installed: pyproject.toml constraints.txt
	$(call install)

$(VENV)/installed-dev: pyproject.toml constraints.txt
	$(call install,[dev])

$(VENV)/installed-docs: pyproject.toml constraints.txt
	$(call install,[docs])
