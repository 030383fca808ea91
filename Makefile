# make demo    set up, and train LeNet-5 on real handwritten digits
# make test    set up, and run the tests
# make pages   set up, and run those that drive a page in Chromium, which Debian's package chromium brings
# make check   all that CI runs: format, lint, types, tests, docs
# make fix     format and mend what can be mended
# make docs    write the generated parts of README and docs/ again
# make floors  install the lowest stated versions into fresh environments, and try them; slow, and not part of check

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: demo test pages check fix docs floors setup

setup: $(READY)

# pip with constraints.txt, so that every machine has the same versions; torch comes as pinned there.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $(READY)

demo: $(READY)
	$(BIN)/striate summary lenet5
	$(BIN)/striate train digits --net lenet5 --epochs 20 --augment affine
	@echo "to look inside: $(BIN)/striate studio; as one living page: $(BIN)/striate inside runs/digits-1"
	@echo "a page to give away: $(BIN)/striate export runs/digits-1 -o digits.html"

# The tests are made for two cores: a third worker computes while others wait, a second thread in each only waits.
test pages: export OMP_NUM_THREADS = 1
# The compiled modules are kept even where the environment says not to: the tests start many processes.
test pages: export PYTHONDONTWRITEBYTECODE =
test: $(READY)
	$(BIN)/python -m pytest -n 3 --dist worksteal

pages: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'browser and not slow' tests

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test
	$(MAKE) pages
	$(BIN)/python docs/generate.py --check

fix: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY)
	$(BIN)/python docs/generate.py

floors:
	PYTHON=$(PYTHON) .ci/floors
