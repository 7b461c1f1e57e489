# Each target sets up what it needs: system packages (as root) and a virtual environment in .venv.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin:/sbin

PACKAGES := python3 python3-venv openvswitch-switch ethtool tcpdump iputils-ping iperf3 iproute2
TOOLS := python3 ovs-vswitchd ovsdb-server ovs-vsctl ovs-ofctl ethtool tcpdump ping iperf3 ip
HAS_TOOLS := for tool in $(TOOLS); do command -v $$tool >/dev/null || exit 1; done; python3 -c 'import ensurepip, venv'
ENV := .venv/.ready
ARGS ?=

.PHONY: help demo test lint fast conformance bench-small docs proto clean

help:
	@echo "make demo         three hosts with real switches (the built-in one without root), VMs, and who reaches whom"
	@echo "make test         every check and every test"
	@echo "make fast         the tests that need no Open vSwitch"
	@echo "make lint         format, lint, types, import arrows"
	@echo "make conformance  the peers' own test suites and clients, with a real Keystone"
	@echo "make bench-small  each benchmark, small"
	@echo "make docs         writes the generated pages of docs/"
	@echo "make proto        writes the Python of proto/"

demo: $(ENV)
	@alcor demo $(ARGS)

test: lint
	pytest --cov --cov-report=term $(ARGS)

lint: $(ENV)
	ruff format --check .
	ruff check .
	mypy
	lint-imports --no-cache

fast: $(ENV)
	pytest -m 'not ovs' $(ARGS)

conformance: $(ENV)
	@python -m tests.peers.run $(ARGS)

bench-small: $(ENV)
	@for bench in bench/[a-z]*.py; do \
		grep -q '^def main' "$$bench" || continue; \
		echo "== $$bench --small"; python "$$bench" --small; done

docs: $(ENV)
	@for page in settings errors metrics; do python -m alcor.base.doc $$page > docs/$$page.md; done
	@python -m alcor.dataplane.doc > docs/pipeline.md

proto: $(ENV)
	@python proto/generate.py

clean:
	rm -rf .venv .peers .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*

# Written anew when the declared dependencies change.
$(ENV): pyproject.toml
	@if ($(HAS_TOOLS)) 2>/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ]; then \
		echo "Installing system packages: $(PACKAGES)"; \
		apt-get update -qq; \
		RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PACKAGES) >/dev/null; \
	elif python3 -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "Not root, so no system packages are installed: what needs Open vSwitch will be left out."; \
	else echo "Not root, and python3 with venv is missing. As root: apt-get install -y $(PACKAGES)"; exit 1; fi
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Alcor needs Python 3.11 or newer.")'
	@echo "Preparing .venv (a minute, the first time)"
	@[ -x .venv/bin/python ] || python3 -m venv .venv
	@.venv/bin/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@
