# `make demo` and `make test` are complete on a machine with Python 3.11 or newer and make.
# `make` alone lists what there is.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CACHE := .cache

# The environment is made again when what it holds changes, not when a file's date does, nor
# when a linter's setting does: those stand below [tool.pytest] in pyproject.toml.
LOCK := $(shell (cat constraints.txt; sed '/^\[tool.pytest/,$$d' pyproject.toml) \
    | sha256sum | cut -c1-12)
INSTALLED := $(VENV)/installed-$(LOCK)
GENERATOR_LOCK := $(shell sha256sum proto/requirements.txt | cut -c1-12)
GENERATOR := $(CACHE)/generator-$(GENERATOR_LOCK)
# An environment of its own: what the site generator needs must not change what modules find.
SITE := $(CACHE)/site-$(LOCK)

CODE := $(wildcard mgr standby modules tests bench)
FAST := not etcd and not e2e and not slow
PYTEST := $(BIN)/python -P -m pytest -q

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

define title
@printf '\n== %s\n' "$(1)"
endef

# What failed is run once more, loudly: a machine may hiccup while real processes are timed, a
# defect stays. What passes only then is named in the output and wants to be looked at.
define tests
@$(PYTEST) $(1) || { echo '== ONCE MORE, WHAT FAILED'; \
    $(PYTEST) --last-failed --last-failed-no-failures none $(1); }
endef

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: $(INSTALLED)  ## an embedded etcd and three managers on this machine; Ctrl-C stops them
	@$(BIN)/mgr-demo

.PHONY: test
test: $(INSTALLED)  ## everything; what CI runs
	@$(MAKE) static proto-check test-fast test-model test-real
	@printf '\n== not in here: modules on a real Ceph (make test-ceph)\n'
	@printf '\n== dependencies: not audited here: the advisory service is on the network (make audit)\n'

.PHONY: check
check: $(INSTALLED)  ## the fast half of it, for while you work: under a minute
	@$(MAKE) static test-fast

.PHONY: static
static: format-check lint types imports  # all that reads the code and does not run it

.PHONY: format
format: $(INSTALLED)  ## bring the code into its form
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --fix --select I $(CODE)

.PHONY: format-check
format-check: $(INSTALLED)
	$(call title,format)
	@$(BIN)/ruff format --check $(CODE)

.PHONY: lint
lint: $(INSTALLED)  ## ruff, all rules
	$(call title,lint)
	@$(BIN)/ruff check $(CODE)

.PHONY: types
types: $(INSTALLED)  ## mypy, strict
	$(call title,types)
	@$(BIN)/mypy mgr standby modules

.PHONY: imports
imports: $(INSTALLED)  ## who may import whom
	$(call title,import contracts)
	@$(BIN)/lint-imports

.PHONY: tree
tree: $(INSTALLED)  ## the shape of the tree: lengths, names, stray files
	@$(PYTEST) -m "$(FAST)" tests/style

.PHONY: test-fast
test-fast: $(INSTALLED)  ## unit, contract (in memory), sim, docs, style, deployment files
	$(call title,tests: unit contract sim docs style deploy)
	$(call tests,-n 2 -m "$(FAST)" tests/unit tests/contract tests/sim tests/docs tests/style \
	    tests/deploy)

.PHONY: test-model
test-model: $(INSTALLED)  ## model checking: a million states, and every protection taken out
	$(call title,tests: model)
	$(call tests,-n 2 tests/model)

.PHONY: check-model
check-model: $(INSTALLED)  ## the same with the large scopes, and every counterexample as a story
	@$(BIN)/python -P -m tests.model --deep

# One tier after the other, one test at a time: these watch real processes die, and two
# cores shared with a second test would be timed instead of the product.
.PHONY: test-real
test-real:
	@$(MAKE) test-etcd
	@$(MAKE) test-integration
	@$(MAKE) test-conformance
	@$(MAKE) test-e2e
	@$(MAKE) test-hostile
	@$(MAKE) test-matrix
	@$(MAKE) test-compose

.PHONY: test-etcd
test-etcd: $(INSTALLED) $(SITE)/ready  ## contract on real etcd, the installed wheel, the site
	$(call title,tests: contract on etcd; the wheel; the site)
	$(call tests,-m "etcd or slow" tests/unit tests/contract tests/sim tests/docs tests/style \
	    tests/deploy)

.PHONY: test-integration
test-integration: $(INSTALLED)  ## real etcd, real gRPC, real guards
	$(call title,tests: integration)
	$(call tests,tests/integration)

.PHONY: test-conformance
test-conformance: $(INSTALLED)  ## modules of ceph-mgr that nobody here wrote, unmodified
	$(call title,tests: conformance)
	$(call tests,tests/conformance)

.PHONY: conformance-page
conformance-page: $(INSTALLED)  ## run every module of three releases and write down what became of it
	@$(BIN)/python -m tests.conformance.page

.PHONY: test-e2e
test-e2e: $(INSTALLED)  ## end to end: kill, freeze, hand over, the demo
	$(call title,tests: end to end)
	$(call tests,--ignore=tests/e2e/compose tests/e2e)

.PHONY: test-ceph
test-ceph: $(INSTALLED)  ## beside a real Ceph, from the distribution's packages; skipped loudly where there are none
	$(call title,tests: a real Ceph)
	$(call tests,tests/ceph)

.PHONY: test-hostile
test-hostile: $(INSTALLED)  ## hostile clients against a cluster under load, which must not notice
	$(call title,tests: hostile)
	$(call tests,tests/hostile)

.PHONY: fuzz
fuzz: $(INSTALLED)  ## random inputs for every parser and every gRPC method (INPUTS=1000000, SECONDS=1800, SEED=)
	@$(BIN)/python -P -m tests.fuzz --inputs $(or $(INPUTS),1000000) \
	    --seconds $(or $(SECONDS),1800) $(if $(SEED),--seed $(SEED))

.PHONY: test-matrix
test-matrix: $(INSTALLED)  ## the fault matrix, its fast rows; a thousand late writes
	$(call title,tests: fault matrix)
	$(call tests,tests/matrix)

.PHONY: test-compose
test-compose: $(INSTALLED)  ## the compose file and the packages in containers; skipped loudly where there are none
	$(call title,tests: compose; packages)
	$(call tests,tests/e2e/compose)

.PHONY: bench
bench: $(INSTALLED)  ## print every number that the pages quote, beside its reference
	@$(BIN)/pip install -q --no-build-isolation -c constraints.txt -e ".[plot]"
	@$(BIN)/python -m bench $(BENCH)

.PHONY: matrix
matrix: $(INSTALLED)  ## every row of the fault matrix (RUNS= or MOST=, ROWS=1,4), and its table in docs/explanation/failover.md
	@$(BIN)/pip install -q --no-build-isolation -c constraints.txt -e ".[plot]"
	@$(BIN)/python -m tests.matrix $(if $(ROWS),--rows $(ROWS),--write) $(if $(RUNS),--runs $(RUNS)) $(if $(MOST),--most $(MOST))

.PHONY: soak
soak: $(INSTALLED)  ## random faults under load (SEED=, MINUTES=30), and 10 000 late writes
	@$(BIN)/python -m tests.matrix.soak --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED))

.PHONY: proto
proto: $(GENERATOR)/ready  ## generate mgr/rpc/v1 from proto/
	@$(call generate,.)

.PHONY: proto-check
proto-check: $(GENERATOR)/ready
	$(call title,generated code is fresh)
	@rm -rf $(CACHE)/generated && mkdir -p $(CACHE)/generated
	@$(call generate,$(CACHE)/generated)
	@diff -r -x __init__.py -x __pycache__ $(CACHE)/generated/mgr/rpc/v1 mgr/rpc/v1 \
	    || { echo "proto/ and mgr/rpc/v1 differ: run make proto"; exit 1; }

# PATH, because protoc looks for its plug-ins there.
define generate
PATH="$(CURDIR)/$(GENERATOR)/bin:$$PATH" $(GENERATOR)/bin/python -m grpc_tools.protoc \
    -Iproto \
    --python_out=$(1) --pyi_out=$(1) --grpc_python_out=$(1) --mypy_grpc_out=quiet:$(1) \
    proto/mgr/rpc/v1/*.proto
endef

.PHONY: docs
docs: $(INSTALLED)  ## write the pages that are made from code
	@$(BIN)/python -m tests.docs.pages

.PHONY: site
site: $(SITE)/ready  ## build docs/ as a web site in site/; a broken link fails
	@NO_MKDOCS_2_WARNING=true $(SITE)/bin/mkdocs build --quiet --strict

.PHONY: compose-transcript
compose-transcript: $(INSTALLED)  ## drive the compose file and write down what happened
	@MGR_TRANSCRIPT=docs/reference/compose-transcript.md $(PYTEST) tests/e2e/compose

.PHONY: lock
lock:  ## choose the newest versions that pyproject.toml allows and write constraints.txt
	@$(PYTHON) -m venv $(CACHE)/uv && $(CACHE)/uv/bin/pip install -qq uv
	@$(CACHE)/uv/bin/uv pip compile -q --upgrade pyproject.toml --all-extras --universal \
	    --python-version 3.11 --custom-compile-command "make lock" -o constraints.txt

.PHONY: audit
audit: $(INSTALLED)  ## ask the advisory service about every dependency (network)
	@$(BIN)/pip install -q --no-build-isolation -c constraints.txt -e ".[audit]"
	@$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

.PHONY: release
release:  ## build a release and check it, into dist/; sets no tag, uploads nothing (DRAFT=1: any tree)
	@PYTHON=$(PYTHON) .ci/release

.PHONY: packages
packages:  ## deb and rpm with an environment of their own in /opt/mgr, into dist/
	@PYTHON=$(PYTHON) deploy/packages/build

.PHONY: clean
clean:  ## remove what these targets made, the demo's data included
	@rm -rf $(VENV) $(CACHE) .demo build dist site *.egg-info \
	    .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# Two steps, no build isolation: what builds our package and etcd3's source release is then
# pinned as well.
$(INSTALLED):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "$(PYTHON) is older than 3.11: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "making $(VENV) (half a minute, once)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "$(PYTHON) cannot make environments: on Debian, apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install -qq -c constraints.txt pip setuptools hatchling
	@$(BIN)/pip install -qq --no-build-isolation -c constraints.txt -e ".[demo,fast,agent,otel,dev,conformance]"
	@touch $@

$(GENERATOR)/ready:
	@rm -rf $(GENERATOR)
	@$(PYTHON) -m venv $(GENERATOR) && $(GENERATOR)/bin/pip install -qq --no-deps -r proto/requirements.txt
	@touch $@

$(SITE)/ready:
	@rm -rf $(SITE)
	@$(PYTHON) -m venv $(SITE) && $(SITE)/bin/pip install -qq -c constraints.txt mkdocs-material
	@touch $@
