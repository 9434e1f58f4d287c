# Two commands: `make demo` and `make test`. Both first make the virtual environment `.venv`, once. `make docs` builds the
# site (docs/).
# `make test-all` adds what takes long, `make smoke` tries the wheel as someone without a checkout would.
PYTHON ?= python3.11
VENV   ?= .venv
BIN     = $(VENV)/bin
# Tests run side by side, a file at a time, in the order of tests/conftest.py.
JOBS   ?= 2
# For `p2net import-weights` of PyTorch's own files, and for originals in `p2net bench models`. Plain `torch` would bring
# several GB of CUDA; this version is one for CPUs here. `make TORCH=` leaves it out, and tests that need it are
# skipped, with the reason.
TORCH  ?= torch==2.13.0
# Of the same date as $(TORCH); detectors are compared with it. Without its dependencies, which would replace
# $(TORCH). `make TORCHVISION=` leaves it out.
TORCHVISION ?= torchvision==0.28.0
# Real data beside the checkout; tests that need it are skipped, with the reason, where it is missing.
P2NET_DATA ?= $(abspath ../shared/data)
export P2NET_DATA
# Without bytecode every worker and every process that a test starts compiles the house anew: a minute in all.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all test-slow test-long test-jax docs docs-test docs-links lint wheel smoke clean

demo: $(VENV)/installed
	$(BIN)/p2net demo

SIDE_BY_SIDE = --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

test: $(VENV)/installed
	$(BIN)/pytest $(SIDE_BY_SIDE) --junitxml=runs/test.xml
	@echo "results: runs/test.xml"

test-all: test test-slow test-long test-jax

test-slow: $(VENV)/installed
	$(BIN)/pytest -m "slow and not long" $(SIDE_BY_SIDE) --junitxml=runs/test-slow.xml
	@echo "results: runs/test-slow.xml"

test-long: $(VENV)/installed
	$(BIN)/pytest -m long $(SIDE_BY_SIDE) --junitxml=runs/test-long.xml
	@echo "results: runs/test-long.xml"

# Keras' JAX backend, in an environment of its own without TensorFlow.
test-jax: $(VENV)-jax/installed
	KERAS_BACKEND=jax $(VENV)-jax/bin/python -m pytest -m jax --noconftest tests/models/test_jax.py tests/detection/networks/test_jax.py

# The site, strictly: site/html/index.html. Notebooks are executed where they or the package have changed since their
# outputs were kept in site/notebooks, which takes some minutes; `make docs NOTEBOOKS=off` shows them without outputs.
NOTEBOOKS ?= cache
SPHINX = NOTEBOOKS=$(NOTEBOOKS) $(BIN)/sphinx-build -W --keep-going --jobs 2 -c docs -d site/doctrees

docs: $(VENV)/installed
	$(SPHINX) --quiet . site/html
	@echo "the site: site/html/index.html"

# In a browser, and link by link.
docs-test: docs
	P2NET_SITE=$(CURDIR)/site/html $(BIN)/pytest -m "" tests/docs

# Links to elsewhere, one after the other, over the network.
docs-links: $(VENV)/installed
	$(SPHINX) -b linkcheck . site/links

lint: $(VENV)/installed
	$(BIN)/ruff check .

# `build/` keeps files that are gone from the checkout, and they would go into the wheel.
wheel:
	rm -rf build dist
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir dist .

# In an environment of its own and an empty folder. `make smoke PYTHON=python3.13` tries another Python, and
# `WITH=keras==3.15.0` other versions than the newest.
smoke: wheel
	folder=$$(mktemp -d) && trap "rm -rf $$folder" EXIT && \
	$(PYTHON) -m venv $$folder/venv && $$folder/venv/bin/pip install --quiet --no-compile dist/*.whl $(WITH) && \
	mkdir $$folder/empty && cd $$folder/empty && $$folder/venv/bin/python $(CURDIR)/tests/wheel_smoke.py

$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip setuptools
	$(if $(TORCH),$(BIN)/pip install --quiet $(TORCH))
	$(if $(TORCHVISION),$(BIN)/pip install --quiet --no-deps $(TORCHVISION))
	$(BIN)/pip install --quiet --editable '.[test,notebook,hub,tuner,serving,lite,video,parquet,tracks,docs]'
	touch $@

$(VENV)-jax/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)-jax
	$(VENV)-jax/bin/pip install --quiet 'keras>=3.15,<3.16' jax numpy pytest
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-jax runs build dist site docs/reference *.egg-info
