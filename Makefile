# run    the server for development, with its pages: http://localhost:3001
# test   everything: formatting, lints, unit and store tests, pages, end-to-end tests in Node and Chromium
# check  the inner loop: formatting, lints, docs, Rust tests, licences and versions of the dependencies
# build  the release binary with its pages inside: target/release/switchboard
# fuzz   the relay's decoders and the whole relay, the SFU's worker, its negotiation and its recorder, a minute each (SECONDS=60)
# bench  the figures of docs/performance.md
# figures lines of tests beside lines of code, by area
# image  a container image from the Dockerfile, with whatever builder there is
# sbom   what is in the program and its pages, as CycloneDX: target/sbom.cdx.json

.PHONY: run test tested check deny audit build bench figures fuzz image image-check sbom web e2e debug
CARGO ?= cargo
PORT ?= 3001

# Pages and program side by side: a debug build reads the pages from the disk. The driver of MongoDB, a seventh of the crates, is built
# only for who names a database.
DRIVER = $(if $(MONGODB_URI),,--no-default-features)
run:
	@$(MAKE) --no-print-directory -j2 web debug
	$(CARGO) run --quiet $(DRIVER) -- serve --dev

debug:
	$(CARGO) build --quiet $(DRIVER)

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items --quiet
	$(CARGO) test --quiet
	.ci/deny

deny:
	.ci/deny

audit:
	.ci/audit

# What was skipped, and what passed at the second try only: printed at the very end, whatever came of the rest.
NOTES = $(CURDIR)/target/test-notes
test: export TEST_NOTES = $(NOTES)
test:
	@mkdir -p $(dir $(NOTES)) && rm -f $(NOTES)
	@$(MAKE) --no-print-directory tested; code=$$?; if [ -s $(NOTES) ]; then echo; cat $(NOTES); fi; exit $$code

# The inner loop runs two of the ten long sequences against MongoDB's protocol.
tested: export MODEL_SEQUENCES = 10
tested: check audit web
	cd web && npm test
	$(MAKE) e2e
	$(MAKE) image-check

e2e: tests/node_modules/.package-lock.json aiortc pion
	$(CARGO) build --quiet
	cd tests && npm test
	@if command -v go >/dev/null && (cd tests/mongo && go build -o ../../target/mongo-wire .); then cd tests && npm run test:mongo; \
	else echo "SKIPPED: the end-to-end tests on MongoDB's protocol. Install Go 1.24 or later." | tee -a $${TEST_NOTES:-/dev/null}; fi

# A WebRTC client, a Socket.IO client and a validator of OpenAPI in Python for the end-to-end tests; they say so where one is missing.
.PHONY: aiortc
aiortc:
	@target/venv/bin/python -c 'import socketio, aiohttp, aiortc, openapi_spec_validator' 2>/dev/null || { python3 -m venv target/venv && target/venv/bin/pip install --quiet --disable-pip-version-check aiortc==1.16.0 openapi-spec-validator==0.9.0 python-socketio==5.18.1 aiohttp==3.14.5; } || rm -rf target/venv

# And one in Go.
.PHONY: pion
pion:
	@if command -v go >/dev/null && (cd tests/pion && go build -o ../../target/pion .); then :; \
	else rm -f target/pion; echo "SKIPPED: the end-to-end tests with pion. Install Go 1.24 or later." | tee -a $${TEST_NOTES:-/dev/null}; fi

build: web
	$(CARGO) build --release

bench: build tests/node_modules/.package-lock.json
	$(CARGO) build --release --package switchboard-bench
	benches/run

figures:
	$(CARGO) test --quiet --test promises figures_of -- --nocapture

# What `cargo fuzz` passes to rustc, without the sanitizers that want another compiler.
SECONDS ?= 60
fuzz: export RUSTFLAGS = --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1
fuzz:
	for crate in turn media; do (cd $$crate/fuzz && $(CARGO) build --quiet --release --target-dir ../../target/fuzz --target $$(rustc -vV | sed -n 's/host: //p')) || exit 1; done
	for target in turn/frames turn/message turn/relay media/worker media/negotiation media/recorder; do \
	  name=$${target#*/}; corpus=$${target%/*}/fuzz/corpus/$$name; mkdir -p target/fuzz/$$name && \
	  target/fuzz/*/release/$$name -max_total_time=$(SECONDS) -max_len=8192 -verbosity=0 -print_final_stats=1 target/fuzz/$$name $$corpus || exit 1; done

# HEALTHCHECK is not of the OCI's format.
image:
	@if command -v docker >/dev/null && docker info >/dev/null 2>&1; then docker build -t switchboard .; \
	elif command -v podman >/dev/null; then podman build --format docker -t switchboard .; \
	elif command -v buildah >/dev/null; then buildah bud --format docker -t switchboard .; \
	else echo "no docker engine, podman or buildah is here; install one of them" >&2; exit 1; fi

# Built on this machine's own tools and run, where buildah and runc are; after the end-to-end tests, whose build it takes over.
image-check:
	.ci/image

sbom:
	.ci/sbom

# Rebuilt when a source is newer than what was built from it.
web: web/dist/.built

web/dist/.built: web/node_modules/.package-lock.json $(shell find web -path web/node_modules -prune -o -path web/dist -prune -o -type f -print)
	cd web && npm run --silent build
	@touch $@

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	cd web && npm ci --no-audit --no-fund --silent
	@touch $@

tests/node_modules/.package-lock.json: tests/package.json tests/package-lock.json
	cd tests && npm ci --no-audit --no-fund --silent
	@touch $@
