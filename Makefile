# One word each: `make demo` runs the product, `make test` passes its tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UI_PORT ?= 8501
FUZZ_S ?= 1200
SOAK_S ?= 3600
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo backend ui check fmt proto test fuzz soak bench bench-sessions test-sd14 gpu-check screenshots train evaluate \
  images-check fresh digests audit lock wheels-check interop clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.demo ## Set up .venv with all that the product needs
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' \
	  || { echo "Python 3.11 to 3.14 is needed: make PYTHON=python3.13 install" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	@scripts/torch-hint
	@$(BIN)/python scripts/install.py backend ui openvino
	@touch $@
$(VENV)/.dev: $(VENV)/.demo
	@$(BIN)/python scripts/install.py backend ui openvino postgres telemetry train dev
	@touch $@

demo: $(VENV)/.demo ## Start backend and studio, and stop both on Ctrl-C
	@$(BIN)/python -m scripts.demo

backend: $(VENV)/.demo ## Start the backend alone
	$(BIN)/python -m backend

ui: $(VENV)/.demo ## Start the studio alone
	$(BIN)/python -m streamlit run ui/streamlit_app.py

check: $(VENV)/.dev ## Lint, formatting, types, the contract and its modules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/proto.py --check
	scripts/contract-check

fmt: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

proto: $(VENV)/.dev ## Generate the modules of proto/ anew
	$(BIN)/python scripts/proto.py

test: $(VENV)/.dev ## Set up all and pass every test
	@scripts/system-packages
	$(BIN)/python -m pytest -q $(or $(ARGS),-n 2)

interop: $(VENV)/.dev ## The tests with clients that nobody here wrote, and more of those (needs the network)
	@scripts/system-packages
	@scripts/interop-programs
	$(BIN)/python -m pytest -q tests/interop $(ARGS)

fuzz: $(VENV)/.dev ## Fuzz what is imported, FUZZ_S seconds per target (an hour)
	for target in file text weights; do \
	  $(BIN)/python -W ignore -m tests.fuzz $$target build/fuzz -max_total_time=$(FUZZ_S) || exit 1; \
	done

soak: $(VENV)/.dev ## Let callers of all kinds at a backend for SOAK_S seconds (an hour), and see what they leave
	$(BIN)/python -m bench.soak --seconds $(SOAK_S)

bench: $(VENV)/.dev ## Measure speed and write bench-results/ (long; see docs/performance.md)
	$(BIN)/python -m bench $(ARGS)

bench-sessions: $(VENV)/.dev ## A demo session with 100 guests and 500 onlookers (long)
	$(BIN)/python -m bench.sessions $(ARGS)

test-sd14: $(VENV)/.dev ## Stable Diffusion 1.4's true architecture, with random weights (long)
	$(BIN)/python -m pytest -q -m sd14 tests/sd14 $(ARGS)

gpu-check: $(VENV)/.dev ## Five minutes that tell whether this machine's GPU does what it should
	$(BIN)/python -m bench.gpu_check $(ARGS)

screenshots: $(VENV)/.dev ## Every page and state, both themes, desktop and phone
	@scripts/system-packages
	$(BIN)/python scripts/screenshots.py $(ARGS)

train: $(VENV)/.dev ## Train the embedded model (hours; goes on where it stopped)
	$(BIN)/python -m training all

evaluate: $(VENV)/.dev ## Measure the embedded model and write its card's numbers
	$(BIN)/python -m training evaluate

images-check: $(VENV)/.dev ## Build both container images without an engine, and use them (root)
	scripts/images-check

fresh: ## Install and make a first picture in a bare Debian (root)
	scripts/fresh

digests: $(VENV)/.dev ## Write the base images' digests behind their versions (needs the network)
	$(BIN)/python -m scripts.digests

audit: $(VENV)/.dev ## Ask for known vulnerabilities of what is pinned (needs the network)
	$(BIN)/python -m venv build/audit
	build/audit/bin/python -m pip install --quiet 'pip-audit>=2.10,<3'
	$(BIN)/python -m scripts.audit build/audit/bin/pip-audit

lock: $(VENV)/.dev ## Write constraints.txt from what is installed, and locks/ with hashes
	$(BIN)/python scripts/lock.py
	@$(BIN)/python -m scripts.wheels_check

wheels-check: $(VENV)/.dev ## Check the README's table of computers against the pins' wheels (needs the network)
	@$(BIN)/python -m scripts.wheels_check

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
