# Thin task list; `./webui.sh` makes the environment that these use.
PYTHON := .venv/bin/python
SHARED := ../shared

.PHONY: help run check format test golden

help: ## Lists the tasks
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Starts the program
	./webui.sh

check: ## Format, lint, types (pyright fetches Node.js once) and the rules on layers and docstrings
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m pyright
	$(PYTHON) -m pytest tests/test_layers.py tests/test_docstrings.py

format: ## Formats and sorts imports
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

test: ## All tests
	./webui.sh test

golden: ## Compares with recorded answers of A1111 in SHARED (default ../shared); makes a 2 GB model, takes minutes
	$(PYTHON) -m tools.compat --shared $(SHARED)
