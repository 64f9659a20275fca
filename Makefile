# Two commands for people:   make demo   (the main job)    make test   (everything that must hold)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check gpu format fuzz clean

demo: $(VENV)/.installed  ## two organizations, one private transcription, three processes on this machine
	@$(BIN)/mpcnet demo speech $(ARGS)

test: check  ## linters, types, import walls, and the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: $(VENV)/.installed-dev  ## the fast part: format, lint, types, import walls
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

gpu: $(VENV)/.installed-dev  ## what only a machine with CUDA can tell, in some minutes
	$(BIN)/python -m pytest tests/protocols/cuda -m cuda --timeout 120 $(ARGS)
	$(BIN)/python -m tools.bench kernels --device cuda:0 --runs 5

fuzz: $(VENV)/.installed-dev  ## nightly: spoiled conversations, at least ten million bytes of them
	$(BIN)/python -m tools.fuzz --bytes 100000000 $(ARGS)

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mpcnet needs Python 3.11 or newer: make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing mpcnet and PyTorch into $(VENV): a minute or two"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing mpcnet, PyTorch, the linters and the test runner into $(VENV): a minute or two"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
