# `make demo` sets everything up and runs the main job; `make test` sets everything up and passes the tests.
# Only make, pip and Python >= 3.12 are assumed.

PYTHON ?= $(shell for p in python3 python python3.14 python3.13 python3.12; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: demo quick test ci lint docs accuracy bench fuzz clean

demo: .venv/demo.done
	$(BIN)/jtrack demo --out demo --overwrite

# A file stays in one process, which compiles for all its tests.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile
# What compiles little: data, weights, measures, results, structure, names and messages.
QUICK := tests/data tests/weights tests/benchmark tests/test_errors.py tests/test_names.py \
	tests/test_public.py tests/test_packaging.py tests/test_readme.py tests/test_structure.py tests/test_untrusted.py \
	tests/test_whole.py tests/trackers/test_profiles.py

# 90 seconds: the fixed subset above.
quick: .venv/test.done
	$(PYTEST) $(QUICK)

# 8 minutes on two quiet cores: lint, format, types, and all tests but the slow ones.
test: .venv/test.done lint
	$(PYTEST) --durations=20

# 45 minutes at most: the whole check, with notebooks, browser, toolkits, kills, README's commands and the site.
ci: .venv/test.done lint
	$(PYTEST) -m "not accuracy" --durations=40
	$(MAKE) docs NOTEBOOKS=off

lint: .venv/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, in docs/_build/html: a broken link and an undocumented public symbol are errors. Notebooks that have changed
# are executed, which takes minutes each; NOTEBOOKS=off leaves them without their outputs.
NOTEBOOKS ?= on
docs: .venv/test.done
	NOTEBOOKS=$(NOTEBOOKS) $(BIN)/python -m sphinx -E -W --keep-going -n -q -c docs . docs/_build/html

# Whole real sequences and the 400 validation images: slow.
accuracy: .venv/test.done
	$(BIN)/python -m pytest -m accuracy

# An hour at most: a thousand damaged inputs for each reader of files from elsewhere; what fails is kept.
fuzz: .venv/test.done
	$(BIN)/python -m tests.fuzz --keep fuzz-failures

# The tables of README.md, on a quiet machine; the comparison with PyTorch needs the extra `bench`.
bench: .venv/test.done
	$(BIN)/python bench/trackers.py
	$(BIN)/python bench/score.py
	$(BIN)/python bench/report.py

.venv/demo.done: pyproject.toml constraints.txt | .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[nets]"
	touch $@

.venv/test.done: pyproject.toml constraints.txt | .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[test]"
	touch $@

.venv:
	@test -n "$(PYTHON)" || { echo "jtrack needs Python >= 3.12, and none was found on the PATH"; exit 1; }
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv demo docs/_build
