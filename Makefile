# Everything runs in .venv, which is made on first use and again when what it is made
# from has changed.
PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-oldest golden fuzz lint format bench clean

help:  ## List what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup: $(VENV)/.ready  ## Make the environment

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python >= 3.11 is needed: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[lint,test]'
	@touch $@

$(OLDEST)/.ready: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints-oldest.txt --editable '.[test]'
	@touch $@

$(VENV)/.ready-bench: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[bench]'
	@touch $@

demo: setup  ## Run the quickstart on data that ships with scikit-learn
	$(BIN)/python examples/quickstart.py

# one worker a core, each of one thread
test: setup  ## Run all tests
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

test-oldest: $(OLDEST)/.ready  ## Run all tests on the oldest supported versions
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest -n auto --dist worksteal

golden: setup  ## Write the files of this version that later ones must load, where missing
	$(BIN)/python tests/golden_files.py

fuzz: setup  ## Load 1,000 damaged and forged files
	$(BIN)/python tests/forged_files.py 1000

lint: setup  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## Put style right where that can be done by machine
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready-bench  ## Print the benchmark tables; DATA=, OUTLIERS=, LABELLED=, MIXED=folder, IMAGES=file add some
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/speed.py --threads 2
	$(BIN)/python benchmarks/speed_estimators.py
	$(BIN)/python benchmarks/small.py
	$(BIN)/python benchmarks/scoring.py
	$(BIN)/python benchmarks/scoring.py --detector --rows 100000 --columns 20
	$(BIN)/python benchmarks/ensembles.py
	$(BIN)/python benchmarks/many_fits.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/memory.py --gib 0 --rows 500000 --columns 50 --jobs detector_fit
	$(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/precision.py
	$(BIN)/python benchmarks/mixed.py --tasks speed
	$(BIN)/python benchmarks/disentanglement.py
	@if [ -n "$(DATA)" ]; then $(BIN)/python benchmarks/reconstruction.py $(DATA); fi
	@if [ -n "$(DATA)" ]; then $(BIN)/python benchmarks/mixed.py $(DATA) --tasks numeric; fi
	@if [ -n "$(DATA)" ]; then $(BIN)/python benchmarks/generation.py $(DATA); fi
	@if [ -n "$(OUTLIERS)" ]; then $(BIN)/python benchmarks/detection.py $(OUTLIERS); fi
	@if [ -n "$(LABELLED)" ]; then $(BIN)/python benchmarks/representation.py $(LABELLED); fi
	@if [ -n "$(LABELLED)" ]; then $(BIN)/python benchmarks/few_labels.py $(LABELLED); fi
	@if [ -n "$(MIXED)" ]; then $(BIN)/python benchmarks/mixed.py $(MIXED); fi
	@if [ -n "$(MIXED)" ]; then $(BIN)/python benchmarks/generation.py --mixed $(MIXED); fi
	@if [ -n "$(IMAGES)" ]; then $(BIN)/python benchmarks/images.py $(IMAGES); fi
	@if [ -n "$(IMAGES)" ]; then $(BIN)/python benchmarks/retrieval.py $(IMAGES); fi
	@if [ -n "$(IMAGES)" ]; then $(BIN)/python benchmarks/transfer.py $(IMAGES); fi

clean:  ## Remove the environments and what tools left behind
	rm -rf $(VENV) $(OLDEST) .mypy_cache .pytest_cache .ruff_cache
