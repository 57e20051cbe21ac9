# Each target works on a machine that has Python 3.11 and make.
PYTHON ?= python3.11
VENV ?= .venv
# What `make demo` makes is what `make up` serves.
export STRAVA_HOME ?= $(CURDIR)/.strava
INSTALLED := $(VENV)/.installed
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --no-input
# Tests wait more than they compute: two workers for each processor. A worker keeps a file's tests together, and has
# a Postgres of its own.
WORKERS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))
PYTEST = $(VENV)/bin/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 10
# Pytest keeps the tests as it rewrites them, which takes each worker longer than to collect them.
unexport PYTHONDONTWRITEBYTECODE
# The times of this test are scaled down so far that others beside it would make alerts fire.
ALONE := strava_pipeline_tests/integration/test_every_alert.py
BENCHMARKS := client_overhead quota_cost quota_saturation quota_lanes tokens webhook_ack webhook_latency webhook_coalescing store_summaries analysis_speed fit_decoding reanalyse two_hosts webhook_faults unchanged_month points_query backfill footprint package_weight query_plans scrape erasure dagster_growth many_athletes archive_import

.DEFAULT_GOAL := help
.PHONY: help install lock demo demo-archive up test test-lowest test-latest integration dist soak simulate fuzz check bench docs screenshots format clean

help:  ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## Make .venv with the pinned packages.

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@# Nothing but files whose hashes are known; a source archive would fetch a build backend that nobody has pinned.
	$(PIP) install --require-hashes --no-deps --only-binary :all: --requirement constraints.txt
	$(PIP) install --no-index --no-deps --no-build-isolation --editable .
	$(PIP) check
	touch $@

$(VENV)/bin/uv:
	$(MAKE) install

PINS := --universal --python-version 3.11 --generate-hashes --no-config --no-emit-index-url --no-header --no-annotate --quiet
# What the image holds: not what develops the project.
EXTRAS := apprise celery kubernetes lake local pictures

# Not of `install` itself, which fails until a new package of pyproject.toml is locked.
lock: | $(VENV)/bin/uv  ## Write constraints.txt anew from pyproject.toml, and the image's part; UPGRADE=--upgrade moves every pin.
	$(VENV)/bin/uv pip compile pyproject.toml --extra dev --group build $(PINS) $(UPGRADE) --output-file constraints.txt
	$(VENV)/bin/uv pip compile pyproject.toml $(EXTRAS:%=--extra %) $(PINS) --constraint constraints.txt \
		--output-file deploy/container/runtime.txt
	$(VENV)/bin/uv pip compile --group build $(PINS) --constraint constraints.txt \
		--output-file deploy/container/build.txt

demo: install  ## Show the whole pipeline at work against a mock Strava, then end.
	$(VENV)/bin/strava-pipeline demo

demo-archive: install  ## Show what an athlete's archive gives, without an app at Strava, then end; SEED=7 repeats one.
	$(VENV)/bin/strava-pipeline demo --archive $(if $(SEED),--seed $(SEED))

up: install  ## Run Postgres, Dagster (port 3000) and the bridge (port 8080) until Ctrl-C.
	$(VENV)/bin/strava-pipeline up

test: install  ## Run the tests that start no process but Postgres: nineteen of twenty.
	$(PYTEST) --ignore $(ALONE) -m "not processes and not browser"

# What test-lowest and test-latest run: all that starts no process, or the files and folders named here.
TESTS ?= --ignore $(ALONE)
define test_with
	$(VENV)/bin/uv venv --quiet --clear --no-config --python $(PYTHON) $(VENV)-$(1)
	$(VENV)/bin/uv pip compile pyproject.toml --extra dev --group build --resolution $(2) \
		--python $(VENV)-$(1)/bin/python --no-config --no-header --no-annotate --quiet \
		--output-file $(VENV)-$(1)/versions.txt
	$(VENV)/bin/uv pip install --python $(VENV)-$(1)/bin/python --no-config --quiet \
		--requirement $(VENV)-$(1)/versions.txt --editable .
	$(VENV)-$(1)/bin/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder \
		-m "not processes and not browser" $(3) $(TESTS)
endef

test-lowest: install  ## Run the tests with the lowest versions that pyproject.toml allows; TESTS=... runs some of them.
	@# The lowest versions stand beside new ones of what they need, which may call their ways outdated.
	$(call test_with,lowest,lowest-direct,-W ignore::DeprecationWarning)

test-latest: install  ## Run the tests with the newest versions that pyproject.toml allows; TESTS=... runs some of them.
	$(call test_with,latest,highest)

integration: install  ## Run the tests that start processes: commands, servers, whole installations, a browser.
	@if command -v chromium >/dev/null; then \
		$(PYTEST) --ignore $(ALONE) -m "processes or browser"; \
	else \
		echo "no chromium on PATH: the tests in a browser are left out"; \
		$(PYTEST) --ignore $(ALONE) -m "processes and not browser"; \
	fi
	$(VENV)/bin/python -m pytest $(ALONE)

dist: install  ## Build wheel and source archive into dist, check them, and load the wheel in empty environments.
	rm -rf dist
	$(VENV)/bin/python -m strava_pipeline_tests.distribution

# How long a soak takes. After that no new run begins.
MINUTES ?= 10

soak: install  ## Try new histories at Strava on the tables for MINUTES (10).
	$(VENV)/bin/python -m strava_pipeline_tests.soak $(MINUTES)

simulate: install  ## Simulate a year of ten athletes with outages; SEED=7 repeats a certain one.
	$(VENV)/bin/python -m strava_pipeline_tests.simulate $(if $(SEED),--seed $(SEED))

fuzz: install  ## Read 100,000 damaged FIT, TCX, GPX, CSV and zip files; INPUTS=1000 SEED=7 reads fewer, and certain ones.
	$(VENV)/bin/python -m strava_pipeline_tests.fuzz $(if $(INPUTS),--inputs $(INPUTS)) $(if $(SEED),--seed $(SEED))

check: install  ## Lint, format, types, the direction of imports, the pages that are made from code.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo
	test -z "$$(ls strava_pipeline/warehouse/migrations/versions | grep -o "^[0-9]*_.*py$$" | cut -c 1-4 | uniq -d)"  # no two revisions of one number
	$(VENV)/bin/python -m strava_pipeline.warehouse.schema.data_dictionary | cmp - docs/data-dictionary.md  # make docs
	$(VENV)/bin/python -m strava_pipeline.settings_page | cmp - docs/settings.md  # make docs
	$(VENV)/bin/python -m webhook_bridge.metrics_reference | cmp - docs/metrics.md  # make docs
	$(VENV)/bin/python -m strava_pipeline.watch.prometheus_rules | cmp - deploy/prometheus/alerts.yml  # make docs

bench: install  ## Measure the project's figures; takes a while.
	for name in $(BENCHMARKS); do echo "== $$name"; $(VENV)/bin/python -m benchmarks.$$name || exit 1; done
	@echo "== analysis_agreement"; if [ -n "$(RECORDINGS)" ]; then $(VENV)/bin/python -m benchmarks.analysis_agreement "$(RECORDINGS)"; \
		else echo "no recorded rides were given: make bench RECORDINGS=FOLDER"; fi

docs: install  ## Write anew what is made from code: the data dictionary, settings, metrics, and Prometheus' alerts.
	$(VENV)/bin/python -m strava_pipeline.warehouse.schema.data_dictionary > docs/data-dictionary.md
	$(VENV)/bin/python -m strava_pipeline.settings_page > docs/settings.md
	$(VENV)/bin/python -m webhook_bridge.metrics_reference > docs/metrics.md
	$(VENV)/bin/python -m strava_pipeline.watch.prometheus_rules > deploy/prometheus/alerts.yml

screenshots: install  ## Take the pictures of pages and of Dagster's UI in docs/images anew; needs chromium on PATH.
	$(VENV)/bin/python -m pytest strava_pipeline_tests/browser -k "backfill or status_page or first_pages" --screenshots docs/images

format: install  ## Put the code into its format.
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:  ## Remove what the targets above made; the demo's data, too.
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-latest .strava dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
