# `make demo` and `make test` are all that a fresh machine needs; both install first where that is due.

# cpu or gpu: which builds are installed.
DEVICE ?= cpu
# One more package index, for a torch build that the usual one does not have; empty: none.
TORCH_INDEX_URL ?=
# The interpreter that makes .venv; empty: python3.11, python3.12 or python3, as found.
PYTHON ?=
# What the run of `make demo` is called, and further overrides for it, such as NAME=exec_only ARGS=reward=exec_only;
# options of `make bench`.
NAME ?= quickstart
ARGS ?=
# dev: an image with what its tests need.
EXTRAS ?=

SHELL := /bin/bash
VENV := .venv
RUN := $(VENV)/bin/python -m
# The installation is due again when what it depends on has changed, not when files are touched.
INSTALLED_BY := setup.cfg pyproject.toml docker/install.sh
STAMP := $(VENV)/.installed-$(shell (cat $(INSTALLED_BY) docker/locks/$(DEVICE)-*.txt; echo $(DEVICE)) | sha256sum | cut -c1-16)
DEV_STAMP := $(VENV)/.dev-$(shell cat docker/install.sh docker/locks/dev-*.txt | sha256sum | cut -c1-16)
DOCS_STAMP := $(VENV)/.docs-$(shell cat docker/install.sh docker/locks/docs-*.txt | sha256sum | cut -c1-16)

export PYTHON TORCH_INDEX_URL

.DEFAULT_GOAL := help
.PHONY: setup stamp demo bench test test-unit test-integration test-gpu lint reference docs lock smollm2 clean help

setup: $(DEV_STAMP)  ## make .venv and install (DEVICE=cpu|gpu, TORCH_INDEX_URL=..., PYTHON=...)

$(STAMP):
	@rm -f $(VENV)/.installed-*
	@docker/install.sh $(VENV) $(DEVICE)
	@touch $@

lock:  ## write docker/locks/ after a change of setup.cfg (ARGS=--upgrade for the newest versions)
	@docker/lock.sh $(ARGS)

# What tests and lint need is installed when they are called first, beside the rest.
$(DEV_STAMP): $(STAMP)
	@rm -f $(VENV)/.dev-*
	@docker/install.sh $(VENV) dev
	@touch $@

# For images, whose build has installed already.
stamp:
	@touch $(STAMP)
	@[ "$(EXTRAS)" != dev ] || touch $(DEV_STAMP)

demo: $(STAMP)  ## train in the built-in world, then a table and a picture (NAME=..., ARGS="key=value ...")
	@$(RUN) launch.train experiment=quickstart name=$(NAME) resume=never $(ARGS)
	@$(RUN) launch.report $${TRACELIFT_RUNS:-runs}/$(NAME)

bench: $(STAMP)  ## measure speed, at most 25 minutes, into docs/results/bench.md (ARGS="--parts startup arms ...")
	@$(RUN) launch.fetch_smollm2 || echo "the parts with SmolLM2 are left out"
	@$(RUN) benchmarks.all $(ARGS)

test: test-unit test-integration  ## every test that needs no GPU

test-unit: $(DEV_STAMP)  ## the tests that start no cluster
	@$(RUN) pytest -q -n 2 tests/unit

test-integration: $(DEV_STAMP)  ## the tests on the real stack
	@$(RUN) pytest -q -n 3 --dist loadfile --no-loadscope-reorder tests/integration

test-gpu: $(DEV_STAMP)  ## the tests that need one to three GPUs (docs/gpu.md)
	@if $(VENV)/bin/python -c 'import sys, torch; sys.exit(torch.cuda.device_count() == 0)'; \
	then $(RUN) pytest -v -rs tests/gpu; \
	else echo "skipped: this machine has no GPU that torch can use"; fi

lint: $(DEV_STAMP)  ## ruff and mypy
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy

reference: $(STAMP)  ## write the configuration reference, the README's table and the Grafana dashboard
	@$(RUN) launch.config_reference

docs: reference $(DOCS_STAMP)  ## build the documentation into site/, with all links checked; index.html opens from disk
	@$(RUN) launch.wandb_workspace
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --quiet
	@echo "open site/index.html"

# Its tools are installed when they are needed first, beside the rest.
$(DOCS_STAMP): $(STAMP)
	@rm -f $(VENV)/.docs-*
	@docker/install.sh $(VENV) docs
	@touch $@

smollm2: $(STAMP)  ## fetch SmolLM2-135M-Instruct into models/
	@$(RUN) launch.fetch_smollm2

clean:  ## remove .venv and caches; runs and models stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build site *.egg-info

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { sub(/:.*/, "", $$1); printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
