# Everything a clone needs: Python >= 3.11. `make lab` opens the quickstart, `make test` runs the tests; both make
# .venv and install into it first. node comes with the packages; none is needed on the machine.
PYTHON ?= python3
VENV := .venv
COMMA := ,
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PANEL := workbench/labextension/static/style.js
PANEL_SOURCES := $(shell find labextension/src labextension/style labextension/schema -type f) \
	$(addprefix labextension/,package.json tsconfig.json widget.mjs yarn.lock)
INSTALLED_PANEL := $(VENV)/share/jupyter/labextensions/infer-workbench
# What the side panel is built with lies in .venv.
WITH_NODE := PATH="$(CURDIR)/$(BIN):$$PATH"

.PHONY: help install panel lab check format test test-long browser nghttp2 redis wrk bench bench-peers model-table pictures lock clean
.DEFAULT_GOAL := help

help: ## what there is to make
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{split($$1, target, ":"); printf "  make %-11s %s\n", target[1], $$2}'

$(STAMP): pyproject.toml constraints.txt labextension/package.json
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	@# Through the link of an earlier time it would write into this folder, what no wheel can be built of.
	rm -rf $(INSTALLED_PANEL) workbench/labextension/install.json
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dev]'
	@# Installed is a copy of the panel; a link shows what is built next.
	rm -rf $(INSTALLED_PANEL)
	ln -s $(CURDIR)/workbench/labextension $(INSTALLED_PANEL)
	@touch $@

install: $(STAMP) ## .venv with everything in it

$(PANEL): $(PANEL_SOURCES) | $(STAMP)
	cd labextension && $(WITH_NODE) jlpm install --immutable && $(WITH_NODE) jlpm build:prod
	@touch $@

panel: $(STAMP) $(PANEL) ## the side panel, built anew where its sources changed

# JupyterLab saves the notebooks with their outputs, so it gets copies; what you did to one stays until you delete it.
lab/notebooks: $(wildcard notebooks/*.ipynb)
	mkdir -p $@
	ln -sfn ../docs lab/docs
	for each in $^; do test -e lab/$$each || cp $$each lab/$$each; done
	@touch $@

lab: panel lab/notebooks ## JupyterLab on a copy of the quickstart in lab/, with the side panel beside it
	$(BIN)/jupyter lab workspaces import --name quickstart binder/quickstart.jupyterlab-workspace
	$(BIN)/jupyter lab --ServerApp.root_dir=$(CURDIR)/lab --LabApp.default_url=/lab/workspaces/quickstart $(LAB_OPTIONS)

check: panel ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py
	cd labextension && $(WITH_NODE) jlpm lint

format: panel ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cd labextension && $(WITH_NODE) jlpm lint:fix

PYTEST := $(BIN)/python -m pytest $(PYTEST_OPTIONS)
# Tests wait for four tenths of their time, so three may be faster on two cores that do nothing else.
TEST_PROCESSES ?= 2

test: panel browser nghttp2 redis ## the tests that every change needs; GPU tests and long ones are left out by name
	cd labextension && $(WITH_NODE) jlpm test
	@# Several processes share the most; what measures time or memory runs afterwards, alone. Only its files are collected.
	$(PYTEST) -n $(TEST_PROCESSES) --dist loadfile -m 'not (gpu or long or serial)'; status=$$?; \
	$(PYTEST) -m 'serial and not (gpu or long)' $$(grep -rl --include='test_*.py' mark.serial tests) && exit $$status

test-long: panel browser nghttp2 redis ## soaks, long fuzz, floods, and what installs environments of its own
	$(PYTEST) -m 'long and not gpu'

# $(call program,NAMES,PACKAGE,WHAT): one of NAMES is on the machine, or Debian's PACKAGE is installed where that is allowed.
program = @for name in $(1); do command -v $$name >/dev/null && exit 0; done; \
	[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq $(2) || \
	{ echo "$(3) is missing: on Debian, apt-get install $(2)"; exit 1; }

browser: ## the machine's own Chromium, which the tests of the panel and the pictures need
	$(call program,chromium chromium-browser google-chrome google-chrome-stable chrome,chromium,Chromium$(COMMA) in which the side panel is tested$(COMMA))

nghttp2: ## the machine's own clients of HTTP/2 (nghttp and h2load), which the tests of gRPC's port need
	$(call program,h2load,nghttp2-client,nghttp (of nghttp2)$(COMMA) with which HTTP/2 is tested$(COMMA))

redis: ## the machine's own Redis or Valkey, which the tests of the cache's second level need
	$(call program,redis-server valkey-server,redis-server,a Redis server$(COMMA) with which the shared cache is tested$(COMMA))

wrk: ## the load generator
	$(call program,wrk,wrk,wrk$(COMMA) the load generator$(COMMA))

bench: $(STAMP) wrk ## ratios against bare session.run and a bare uvicorn echo, on this machine
	$(BIN)/python -m benchmarks.served $(BENCH_OPTIONS)

bench-peers: $(STAMP) wrk ## the same against MLServer, LitServe, BentoML, Ray Serve and PyTriton, into docs/performance.md
	$(BIN)/python -m benchmarks.peers $(BENCH_OPTIONS)

model-table: $(STAMP) ## load every kind of object, and write what came of it into docs/models.md (MODEL_TABLE_OPTIONS=--missing: new ones only)
	$(BIN)/python -m tests.model_zoo.table $(MODEL_TABLE_OPTIONS)

pictures: panel browser ## the pictures in the README and docs, taken from a real JupyterLab
	$(BIN)/python -m tests.browser.pictures

lock: $(STAMP) ## write the installed versions into constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9_.-]+==' > constraints.txt

clean: ## remove what was made here
	rm -rf $(VENV) .peers .kserve .jupyterhub build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf workbench/labextension workbench/notebook/static labextension/lib labextension/node_modules labextension/.yarn labextension/*.tsbuildinfo
