# Development commands. `make run` and `make test` need nothing but Python 3.11 and make.

PYTHON ?= python3
BIN := .venv/bin
SIZES ?= 10000,100000
SUBSCRIBERS ?= 100000
PARTS ?= 1
COUNT ?= 30
SEED ?= 1
IMAGE_EXTRAS := postgres stripe stores oidc metrics tracing granian

.PHONY: help install run test test-both browser clients lint openapi bench torture torture-long scale simulate mutate \
	stripe-check import-check image deployment-check pin audit clean

help:
	@echo "make run      install, migrate, seed the demo catalogue, serve on http://127.0.0.1:8000"
	@echo "make test     install the test requirements, run the tests on SQLite and PostgreSQL"
	@echo "make test-both  run every test on both databases: make test runs half of the scenarios on either"
	@echo "make browser  run the browser tests; requires Chromium, nginx, Caddy, ffmpeg (make test skips those it cannot run)"
	@echo "make clients  check the API description with linters, validators and generated clients, and the clients in"
	@echo "              clients/ against a running service (some ten minutes)"
	@echo "make install  create .venv with the streamsvc command"
	@echo "make lint     check style and types"
	@echo "make openapi  regenerate openapi.json from the code"
	@echo "make bench    measure the hot paths against a Flask view that returns a constant, and on SQLite against other"
	@echo "              stacks (Fastify if there is Node), into bench/results.md (a quarter of an hour), then in larger"
	@echo "              catalogues, imports and renewals"
	@echo "              (SIZES=10000,100000,1000000 includes a million titles; importing them takes a while)"
	@echo "make torture  break what the service depends on, on both databases, and check its promises (an hour; the"
	@echo "              report is bench/torture.md, the options are those of python -m bench.torture --help)"
	@echo "make torture-long"
	@echo "              run 500 greedy lives, 5,000 in the stores, 500 others and 300 takeovers, kill processes at every"
	@echo "              statement, upgrade from every revision, race 100,000 starts and simulate an evening, on both"
	@echo "              databases (many hours)"
	@echo "make scale    start four nodes, PgBouncer, a primary with a standby, and HAProxy, kill each in turn under load, and"
	@echo "              count what viewers notice, into bench/scale.md (five minutes; requires Debian's haproxy, pgbouncer"
	@echo "              and postgresql)"
	@echo "make simulate run 100,000 subscribers through 24 months and check every cent (slow; SUBSCRIBERS=100"
	@echo "              for fewer, PARTS=2 for two services with half of them each, in parallel)"
	@echo "make mutate   change the code of an area in small ways and see the tests notice (AREA=rules, billing, playback,"
	@echo "              security or catalog; COUNT=100 changes, another SEED=2; DATABASES=both for PostgreSQL too)"
	@echo "make stripe-check"
	@echo "              check the contract with Stripe against the local test server, and against Stripe itself with a"
	@echo "              test key in STREAMSVC_STRIPE_TEST_KEY"
	@echo "make import-check"
	@echo "              read real files of titles from packages of npm (playlists, a table of films)"
	@echo "make image    build the image, start it on a read-only file system, and print its size (requires Debian's podman"
	@echo "              and runc, and mmdebstrap where Docker Hub cannot be reached)"
	@echo "make deployment-check"
	@echo "              start compose.yaml and the pods of deploy/kubernetes with podman, sign up, kill, back up and take down"
	@echo "              (requires what make image does, and Debian's netavark, aardvark-dns and iptables)"
	@echo "make pin      pin what the image installs to versions and hashes, in deploy/requirements.txt"
	@echo "make audit    look for known vulnerabilities in it, and list it with its licences (build/sbom.json, licences.md)"
	@echo "make clean    remove .venv and test artifacts (never instance/, which contains the data)"

install: .venv/installed

run: install
	$(BIN)/streamsvc demo

test: .venv/installed-test
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-both: .venv/installed-test
	STREAMSVC_TEST_EVERYTHING=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

browser: .venv/installed-test
	@command -v chromium || command -v chromium-browser || command -v google-chrome || { echo "Chromium is missing: apt-get install chromium"; exit 1; }
	@for program in nginx caddy ffmpeg; do PATH="$$PATH:/usr/sbin" command -v $$program || \
		{ echo "$$program is missing: apt-get install $$program"; exit 1; }; done
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[e2e]'
	cd tests/players && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --no-audit --no-fund --silent
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/players/node_modules/.bin/prettier --check 'streamsvc/pages/{console,shared,static}/*.js' \
		'streamsvc/pages/static/docs/*.js'
	PATH="$(CURDIR)/$(BIN):$$PATH" STREAMSVC_TEST_CONSOLE=every $(BIN)/python -m pytest tests/operators/console tests/service/test_docs_site.py tests/service/test_docs_sessions.py tests/service/test_docs_examples.py tests/sessions/test_passkeys_in_a_browser.py tests/service/test_storefront.py tests/service/test_storefront_channels.py tests/service/test_storefront_playback.py tests/service/test_storefront_stripe.py tests/service/test_cors.py tests/catalog/test_public_catalog_caches.py tests/playback/test_media_servers.py tests/playback/test_player_in_a_browser.py

clients: .venv/installed-test
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[clients]'
	$(BIN)/python -m tests.clients

lint: .venv/installed-test
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python clients/python/generate.py
	cd clients/python && $(CURDIR)/$(BIN)/mypy

openapi: .venv/installed-test
	STREAMSVC_SANDBOX=1 $(BIN)/flask openapi write openapi.json

bench: .venv/installed-test
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[bench]'
	@command -v npm >/dev/null || { echo "Node is missing: Fastify is not measured"; exit 0; }; \
		node="$$(node -p 'path.resolve(process.execPath, "../..")')"; \
		if [ -e "$$node/include/node/node.h" ]; then export npm_config_nodedir="$$node"; fi; \
		cd bench/peers/fastify && npm ci --no-audit --no-fund --silent || echo "npm failed: Fastify is not measured"
	$(BIN)/python -m bench
	$(BIN)/python -m bench.growth --sizes $(SIZES)
	$(BIN)/python -m bench.import_formats
	$(BIN)/python -m bench.renewals
	$(BIN)/python -m bench.subscriber_import

torture: .venv/installed-test
	$(BIN)/python -m bench.torture

torture-long: .venv/installed-test
	STREAMSVC_TEST_EVERYTHING=1 STREAMSVC_TEST_CRASHES=statement STREAMSVC_TEST_RENEWALS=20000 \
		STREAMSVC_TEST_KILL_EVERY_S=2 STREAMSVC_TEST_LIVES=500 STREAMSVC_TEST_GREEDY_LIVES=500 STREAMSVC_TEST_RACE_S=60 \
		STREAMSVC_TEST_STORE_LIVES=5000 STREAMSVC_TEST_TAKEOVERS=300 STREAMSVC_TEST_ROUNDS=4200 \
		STREAMSVC_TEST_MIGRATIONS=every \
		$(BIN)/python -m pytest tests/faults tests/subscriptions/test_billing_lives.py \
		tests/subscriptions/test_greedy_lives.py tests/subscriptions/test_store_lives.py \
		tests/sessions/test_owner_and_intruder.py \
		tests/playback/test_playback_slots.py tests/service/test_upgrades.py
	$(BIN)/python -m bench.evening

scale: .venv/installed-test
	$(BIN)/python -m bench.scale

simulate: .venv/installed-test
	$(BIN)/python -m bench.simulate $(SUBSCRIBERS) --parts $(PARTS)

mutate: .venv/installed-test
	@test -n "$(AREA)" || { echo "make mutate AREA=rules|billing|playback|security|catalog"; exit 1; }
	nice $(BIN)/python -m bench.mutate $(AREA) --count $(COUNT) --seed $(SEED)

import-check: .venv/installed-test
	$(BIN)/python -m tests.import_check

stripe-check: .venv/installed-test
	$(BIN)/python -m tests.stripe_check

image:
	@for program in podman runc; do PATH="$$PATH:/usr/sbin" command -v $$program >/dev/null || \
		{ echo "$$program is missing: apt-get install $$program"; exit 1; }; done
	$(PYTHON) scripts/check_image.py

deployment-check: .venv/installed-test
	@for program in podman runc iptables; do PATH="$$PATH:/usr/sbin" command -v $$program >/dev/null || \
		{ echo "$$program is missing: apt-get install $$program"; exit 1; }; done
	@for program in netavark aardvark-dns; do test -x /usr/lib/podman/$$program || \
		{ echo "$$program is missing: apt-get install $$program"; exit 1; }; done
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[deployment]'
	$(BIN)/python -m scripts.check_deployment

pin: .venv/installed
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[audit]'
	$(BIN)/pip-compile -q --generate-hashes --build-deps-for wheel --strip-extras --allow-unsafe --no-header \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		$(IMAGE_EXTRAS:%=--extra %) -o deploy/requirements.txt setup.cfg

audit: build/audited/bin/streamsvc
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[audit]'
	$(BIN)/cyclonedx-py environment --output-reproducible --of JSON -o build/sbom.json build/audited/bin/python
	$(BIN)/pip-licenses --python build/audited/bin/python --with-urls --format markdown --output-file build/licences.md
	$(BIN)/pip-audit --path "$$(echo build/audited/lib/python*/site-packages)"

build/audited/bin/streamsvc: .venv/installed deploy/requirements.txt setup.cfg
	$(PYTHON) -m venv --clear build/audited
	build/audited/bin/pip install -q --disable-pip-version-check --require-hashes -r deploy/requirements.txt
	build/audited/bin/pip install -q --disable-pip-version-check --no-deps --no-build-isolation .

clean:
	rm -rf .venv build .pytest_cache .ruff_cache .hypothesis *.egg-info

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "streamsvc needs Python 3.11 or newer: make PYTHON=python3.11 …"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "Python's venv is missing: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[postgres]'
	@touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[postgres,test,dev]'
	@touch $@
