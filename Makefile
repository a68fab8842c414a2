# Two commands: `make run` does everything on the miniature, `make test` checks everything.
# Both set up what is missing first; a second call starts at once.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := 2.13.0

# The machine's own settings do not reach the runs: no hub, no usage reports.
export HF_HUB_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := 1

.PHONY: run test check docs setup clean
.DEFAULT_GOAL := run

run: $(READY)  ## every stage on the miniature, then the table of results
	$(BIN)/kedro run

test: check  ## every check; the tests come last
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: $(READY)  ## lint, types, import contracts, drift of dvc.yaml, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pipelines.dvc --check
	$(BIN)/mkdocs build --strict --quiet

docs: $(READY)
	$(BIN)/mkdocs serve

setup: $(READY)

# torch first and by itself: without an NVIDIA driver its CPU build, where pip's package sources have
# it, because anything looser pulls several gigabytes of CUDA libraries.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "DIYSink needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if $(BIN)/python -c 'import torch' 2>/dev/null; then echo "torch is there"; \
	elif command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then $(BIN)/pip install --quiet torch==$(TORCH); \
	else $(BIN)/pip install --quiet "torch==$(TORCH)+cpu" 2>/dev/null \
	  || { echo "No CPU build of torch in pip's package sources: installing the regular one (large)."; $(BIN)/pip install --quiet torch==$(TORCH); }; fi
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[pipeline,scale,dev]'
	touch $(READY)

clean:  ## remove everything a run made; the environment stays
	git clean -fdX -- data mlruns
