# Needs Python 3.11 to 3.14 and make; everything else is fetched into this folder once.
# Each environment below has a stamp file, so that later runs take no time and need no network.

# The Python to create .venv with; by default local/find_python.sh searches PATH.
PYTHON ?=
STAGE ?= default

BIN := $(CURDIR)/.venv/bin
PY := $(BIN)/python
UV := $(BIN)/uv
SAM := $(BIN)/sam

export SAM_CLI_TELEMETRY := 0
# Time zones are those of the pinned tzdata, as in the functions.
export PYTHONTZPATH :=
export PATH := $(BIN):$(PATH)
# The official Python images disable bytecode, so that every process would compile everything.
unexport PYTHONDONTWRITEBYTECODE

# uv and Node have their own lists of certificates, without a company's proxy, which the system's
# list may have.
CERTIFICATES := $(firstword $(wildcard /etc/ssl/certs/ca-certificates.crt \
	/etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem))
ifneq ($(CERTIFICATES),)
export UV_SYSTEM_CERTS := true
export NODE_EXTRA_CA_CERTS ?= $(CERTIFICATES)
endif

# uv installs what is locked in a second or two. It does not read pip's configuration, so pip is
# used if a mirror or proxy is only configured there.
install_locked = $(UV) pip install --quiet --python $(1)/bin/python \
	  --require-hashes --no-deps --only-binary :all: -r $(2) \
	|| $(PY) -m pip --python $(1)/bin/python install --quiet --disable-pip-version-check \
	  --require-hashes --no-deps --only-binary :all: -r $(2)

.DEFAULT_GOAL := help
.PHONY: help install demo up console serve reset invoke test test-long soak soak-serve check \
	check-python check-template check-deploy check-sql check-locks schema freeze doctor bench screenshots \
	mutate ablate build deploy image lock clean

# The first run shows which part of how many it fetches.
only = $(if $(MAKECMDGOALS),$(if $(filter-out $(1),$(MAKECMDGOALS)),,yes))
ifneq ($(call only,demo up console serve reset invoke schema freeze),)
PARTS := 1/3 - 2/3 3/3
else ifneq ($(call only,build deploy),)
PARTS := 1/2 2/2
else ifneq ($(call only,check-python check-locks doctor mutate lock),)
PARTS := 1/1
else
PARTS := 1/6 2/6 3/6 4/6 5/6 6/6
endif
announce = $(PY) -m local.announce "$(word $(1),$(PARTS))" "$(2)" $(3)

help: ## List the targets
	@while IFS= read -r line; do case $$line in \
	  [a-z]*:*"## "*) printf '%-11s %s\n' "$${line%%:*}" "$${line#*"## "}";; \
	esac; done < Makefile

install: .venv/.installed .venv/.sam .venv/.node-dev .venv/.deploy .venv/.browser ## Fetch everything that the other targets need

demo: .venv/.installed .venv/.node ## Run every worker against a local stack and show the results
	@$(PY) -m local demo

up: .venv/.installed .venv/.node ## Start the local stack and keep it running
	@$(PY) -m local up

console: .venv/.installed .venv/.node ## Show in a browser what the workers did on the local stack: ARGS="[--port PORT]"
	@$(PY) -m local console -- $(ARGS)

serve: .venv/.installed .venv/.node ## Run all workers as one process against the local stack: ARGS="[WORKER ...] [--once]"
	@$(PY) -m local serve -- $(ARGS)

reset: .venv/.installed .venv/.node ## Reset the local stack to its sample data
	@$(PY) -m local reset

invoke: .venv/.installed .venv/.node ## Run one function on the local stack: FUNCTION=retention [EVENT=FILE] [TARGET=project]
	@case "$(TARGET)" in ""|local|project) ;; *) echo "TARGET is local or project, not $(TARGET)" >&2; exit 2;; esac
	@$(PY) -m local invoke $(FUNCTION) $(if $(EVENT),--event $(EVENT)) \
	  $(if $(filter project,$(TARGET)),--project) $(ARGS)

# Tests mostly wait for processes that they start, so four workers keep two cores busy. A file
# stays with one worker until another one is idle.
test: install ## Run the tests
	$(PY) -m pytest -n 4 --dist worksteal $(ARGS)

test-long: install ## Run many more sequences of events and kills, and larger accounts, than test does
	DELIVERY_EXAMPLES=300 KILL_SEEDS=10 OUTAGE_EACH=50 REFUSED_ROWS=4000 RETENTION_ROWS=200000 \
	  SERVED_EVERY_DAY=1 LARGE_ACCOUNT_ADS=10000 LARGE_ACCOUNT_DAYS=31 $(PY) -m pytest \
	  tests/notifications/test_state_machine.py tests/notifications/test_crashes.py \
	  tests/notifications/test_long_outage.py tests/retention/test_retention.py \
	  tests/metrics/test_large_account.py tests/server/test_promises.py $(ARGS)
	PROPERTY_EXAMPLES=1000 $(PY) -m pytest tests/unit $(ARGS)
	LARGE_ACCOUNT_ADS=50000 LARGE_ACCOUNT_DAYS=31 $(PY) -m pytest \
	  tests/metrics/test_large_account.py -k meta $(ARGS)

soak: install ## Play rounds of faults, kills and clean runs: MINUTES=5 [SEED=1, or a round's own]
	$(PY) -m tests.soak --minutes $(or $(MINUTES),5) --seed $(or $(SEED),1)

soak-serve: install ## Run two servers through kills, outages, restarts and rotated keys: MINUTES=60 [SEED=1]
	$(PY) -m tests.soak.serving --minutes $(or $(MINUTES),60) --seed $(or $(SEED),1)

check: check-python check-locks check-template check-deploy check-sql ## Run the linters, types, import contracts, and the checks of locks, templates, deployment files and SQL

check-python: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check-locks: .venv/.installed
	$(PY) -m local.locks

# Without network, credentials and region, so that it needs none of them.
check-template: .venv/.installed .venv/.sam
	@mkdir -p .build/nobody
	env -i PATH="$(PATH)" HOME="$(CURDIR)/.build/nobody" LC_ALL=C.UTF-8 SAM_CLI_TELEMETRY=0 \
	  https_proxy=http://127.0.0.1:9 $(SAM) validate --lint
	@# sam lints the template as written; some mistakes show only in its translation.
	.venv-sam/bin/python tests/template/translate.py template.yaml > .build/translated.json
	$(BIN)/cfn-lint --template .build/translated.json --regions eu-west-1

# Files for other programs, checked by validators that include their formats.
check-deploy: .venv/.installed .venv/.sam .venv/.deploy
	$(BIN)/hadolint deploy/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/docker-compose.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/kubernetes-validate --strict deploy/kubernetes.yaml
	$(BIN)/cfn-lint --template deploy/ecs.yaml --regions eu-west-1

check-sql: .venv/.installed .venv/.node-dev
	$(PY) -m local.advisors
	$(PY) -m local.schema --check

schema: .venv/.installed .venv/.node ## Write supabase/schema.sql again, after a migration has changed
	$(PY) -m local.schema

freeze: .venv/.installed .venv/.node ## Record this version's migrations as released, with sample rows: before its tag
	@$(PY) -m tests.database.releases

doctor: .venv/.installed ## Check the setup in .env: ARGS="--post CHANNEL"
	@$(PY) -m workers.operate doctor $(ARGS)

bench: install .venv/.bench ## Run the benchmarks: ARGS="[--short] [--json] [NAME ...]"
	$(PY) -m tests.benchmarks $(ARGS)

screenshots: install ## Take the screenshots in docs/screenshots again: needs chromium
	$(PY) -m tests.browser.screenshots

mutate: .venv/.installed .venv/.mutation ## Change the core bit by bit and report what no test notices: [MODULE=workers/metrics/windows.py]
	$(PY) -m tests.mutation $(MODULE) $(ARGS)

ablate: install ## Remove each safety mechanism in turn and check that its test notices: [NAMES="row-lease"]
	$(PY) -m tests.ablation $(NAMES)

build: .venv/.installed .venv/.sam ## Build what is deployed
	$(SAM) build --config-env $(STAGE)

deploy: build ## Deploy to AWS: STAGE=default, staging or prod
	$(SAM) validate --lint
	$(SAM) deploy --config-env $(STAGE)

image: install ## Build the container image and run it as in deploy/: needs root and the programs in docs/deploy/container.md
	$(PY) -m pytest tests/deploy/image.py $(ARGS)

lock: .venv/.installed ## Compile the lock files again: UPGRADE=--upgrade for newer releases
	$(call compile,layers/shared/requirements)
	$(call compile,server/requirements)
	$(call compile,requirements-dev)
	$(call compile,server/requirements-all)
	$(call compile,requirements-sam)
	$(call compile,requirements-node)
	$(call compile,requirements-deploy)
	$(call compile,tests/e2e/requirements)
	$(call compile,tests/benchmarks/requirements)
	$(call compile,tests/browser/requirements)
	$(call compile,tests/mutation/requirements)

# Dependabot reads two of the options from the command in the lock's header.
compile = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --only-binary :all: --no-emit-index-url --no-annotate \
	  --custom-compile-command 'make lock (uv pip compile --universal --python-version 3.11)' \
	  $(if $(wildcard $(1).overrides),--overrides $(1).overrides) $(UPGRADE) \
	  $(1).in --output-file $(1).txt

clean: ## Remove everything that the other targets created
	rm -rf .venv .venv-sam .venv-deploy .venv-bench .venv-mutation .build .aws-sam local/services/node_modules \
	  .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/.installed: requirements-dev.txt pyproject.toml
	@[ -x $(PY) ] || { python=$$($(SHELL) local/find_python.sh "$(PYTHON)") && \
	  echo "Creating .venv with $$("$$python" --version)" && "$$python" -m venv --clear .venv; }
	@$(call announce,1,Developer tools,requirements-dev.txt)
	@# uv itself is installed by pip, in the lock's version and with its hashes.
	@$(PY) -c "import re; print(re.search(r'^uv==(.|\n )*', open('requirements-dev.txt').read(), re.M)[0])" > .venv/uv.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r .venv/uv.txt
	@$(call install_locked,.venv,requirements-dev.txt)
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

.venv/.sam: requirements-sam.txt .venv/.installed
	@[ -x .venv-sam/bin/python ] || $(PY) -m venv --without-pip .venv-sam
	@$(call announce,2,SAM CLI and cfn-lint,requirements-sam.txt)
	@$(call install_locked,.venv-sam,requirements-sam.txt)
	@ln -sf ../../.venv-sam/bin/sam ../../.venv-sam/bin/cfn-lint .venv/bin/
	@touch $@

.venv/.deploy: requirements-deploy.txt .venv/.installed
	@[ -x .venv-deploy/bin/python ] || $(PY) -m venv --without-pip .venv-deploy
	@$(call announce,5,Validators of deployment files,$<)
	@$(call install_locked,.venv-deploy,$<)
	@for tool in hadolint check-jsonschema kubernetes-validate; do \
	  ln -sf ../../.venv-deploy/bin/$$tool .venv/bin/; done
	@touch $@

.venv/.browser: tests/browser/requirements.txt .venv/.installed
	@$(call announce,6,Browser tests,$<)
	@$(call install_locked,.venv,$<)
	@touch $@

# What the benchmarks compare with is separate, so that our code cannot depend on it.
.venv/.bench: tests/benchmarks/requirements.txt .venv/.installed
	@[ -x .venv-bench/bin/python ] || $(PY) -m venv --without-pip .venv-bench
	@$(call announce,9,Benchmarks,$<)
	@$(call install_locked,.venv-bench,$<)
	@touch $@

.venv/.mutation: tests/mutation/requirements.txt .venv/.installed
	@[ -x .venv-mutation/bin/python ] || $(PY) -m venv --without-pip .venv-mutation
	@$(call announce,9,Mutation testing,$<)
	@$(call install_locked,.venv-mutation,$<)
	@touch $@

# Node comes from a wheel unless a recent one is on PATH.
.venv/.node-itself: requirements-node.txt .venv/.installed
	@if node -e 'process.exit(+(process.versions.node.split(".")[0] < 22))' 2>/dev/null; then \
	  echo "[$(word 3,$(PARTS))] Node: $$(node --version) from PATH"; \
	else $(call announce,3,Node,requirements-node.txt); \
	  $(call install_locked,.venv,requirements-node.txt); fi
	@touch $@

# The local stack needs less than the checks and tests.
.venv/.node: local/services/package-lock.json .venv/.node-itself
	@$(call announce,4,Local stack (npm),$<)
	@$(PY) -m local.services.node install
	@touch $@

.venv/.node-dev: local/services/package-lock.json .venv/.node-itself
	@$(call announce,4,Local stack (npm),$< --with-dev)
	@$(PY) -m local.services.node install --with-dev
	@touch .venv/.node $@
