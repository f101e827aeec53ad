# One command each. `make demo` and `make test` work on a fresh clone: they make .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FUZZ_SECONDS ?= 60
# Only what is imported is compiled, and once: to compile all takes longer than to install it.
QUICKLY := --quiet --no-compile --constraint constraints.txt
unexport PYTHONDONTWRITEBYTECODE
READY := $(VENV)/.ready
SCENES := demo/pictures

.PHONY: demo serve test lint bench fuzz docs dist clean help
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(QUICKLY) --editable '.[dev]'
	touch $@

demo: $(READY)  ## install, then compare the encoders on a real data set: demo/report.html
	$(BIN)/rnnfv demo --out demo
	@echo "Next: make serve, a page that searches drawn pictures by sentences."

serve: $(READY) $(SCENES)/model/retrieval.json  ## search drawn pictures on a page of your own: http://127.0.0.1:8000
	$(BIN)/rnnfv serve $(SCENES)/model --index $(SCENES)/images.index --index $(SCENES)/sentences.index \
		--weights $(SCENES)/shapes.onnx

$(SCENES)/model/retrieval.json: | $(READY)
	$(BIN)/rnnfv demo --pictures --out demo

# Three processes for two cores, as many tests only wait for other processes.
test: $(READY)  ## install, then run every test and docstring example
	$(BIN)/python -m pytest -n 3 --dist loadfile

lint: $(READY)  ## style, types and the floors of the architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## run the benchmarks, small (FULL=1: the paper's sizes): benchmarks/RESULTS.md
	$(BIN)/python benchmarks/run_all.py $(if $(FULL),--full)

fuzz: $(READY)  ## any bytes in place of each kind of file, FUZZ_SECONDS each (60)
	$(BIN)/python -m pip install $(QUICKLY) --editable '.[fuzz]'
	$(BIN)/python -m fuzz.run --seconds $(FUZZ_SECONDS)

docs: $(READY)  ## build the site, running every example: docs/_build/html/index.html
	MPLBACKEND=agg $(BIN)/sphinx-build -W --keep-going --quiet -b html docs docs/_build/html
	$(BIN)/python docs/check_site.py docs/_build/html

dist: $(READY)  ## build the sdist and the wheel, and try them in a bare environment (PYTHONS: in several)
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python tools/check_dist.py dist $(addprefix --python ,$(PYTHONS))

clean:  ## remove the environment, and what the demo and the builds wrote
	rm -rf $(VENV) demo dist docs/_build docs/_generated docs/api docs/gallery
