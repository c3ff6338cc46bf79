# Each target is one visible command; the first error stops it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# The time of every file of a release.
EPOCH ?= $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null))
HOSTARCH := $(shell go env GOARCH)
ARCHES := amd64 arm64
RELEASE_ARCHES ?= $(ARCHES)
PROGRAMS := felhom-controller-bootstrap=./bootstrapper felhom-agentd=./agentd felhom-golden=./golden

# urfave_cli_no_docs: leaves out the CLI library's Markdown generator, which is bytes in each guest.
GOBUILD := go build -trimpath -buildvcs=false -tags urfave_cli_no_docs -ldflags '-s -w -buildid= -X main.version=$(VERSION)'
# Built first: "go run" does not pass signals on, and the bed takes itself down on them.
BED := go build -o .cache/withbed ./internal/e2e/withbed && .cache/withbed
TOOL := go tool -modfile=tools/go.mod

# The race detector watches all but the compression, which computes and takes ten times as long with it.
RACE := -race -gcflags=github.com/klauspost/compress/...=-race=false
# It has each process wait for a second at its end, and tests start hundreds.
export GORACE ?= atexit_sleep_ms=0
# The packages that take longest start first. Three at a time: those with guests wait more than they work.
SLOW := ./internal/e2e/guest ./golden ./agentd ./golden/internal/stage ./internal/e2e/registry ./internal/e2e/lan ./bootstrapper ./internal/driver/pct ./golden/internal/verify

.PHONY: build release demo demo-local test test-packages test-engine-26 test-engine-29 compare-engines unit soak fuzz fuzz-short lint docs recording pictures fmt bench bench-faults bench-api bench-fleet bench-golden bench-guest bench-registry repro clean

# dist/NAME-linux-ARCH for each architecture, and dist/NAME for this machine's.
build:
	mkdir -p dist
	for p in $(PROGRAMS); do \
	  for a in $(ARCHES); do \
	    CGO_ENABLED=0 GOOS=linux GOARCH=$$a $(GOBUILD) -o dist/$${p%%=*}-linux-$$a $${p#*=}; \
	  done; \
	  cp dist/$${p%%=*}-linux-$(HOSTARCH) dist/$${p%%=*}; \
	done

# Packages for Debian, tarballs, bill of materials and digests in dist/release, for the tag of the commit or VERSION=v0.2.0.
# KEY=FILE signs the digests with minisign's secret key, PASSWORD_FILE=FILE has its password. MAINTAINER='NAME <ADDRESS>' is in the packages.
release: export GOWORK := off
release: export MAINTAINER := $(MAINTAINER)
release: build
	cd tools/release && go build -o ../../.cache/release .
	.cache/release -version '$(VERSION)' -epoch '$(EPOCH)' -arch '$(RELEASE_ARCHES)' $(if $(MAINTAINER),-maintainer "$$MAINTAINER") $(if $(KEY),-key '$(KEY)') $(if $(PASSWORD_FILE),-password-file '$(PASSWORD_FILE)')

# The main job on real parts, on this machine: see README.
demo: build
	go build -o .cache/demo ./internal/e2e/demo
	.cache/demo

# The same without a guest: the bootstrapper in a directory, on an engine of this machine.
demo-local: build
	go build -o .cache/demo ./internal/e2e/demo
	.cache/demo --local

# Unit, contract, CLI, integration and end-to-end tests. Installs what is missing, starts what is needed, takes it down.
test: build
	tools/need gcc=gcc,libc6-dev chromium=chromium curl=curl systemd-analyze=systemd fish=fish zsh=zsh nft=nftables
	$(BED) -- go test $(RACE) -p 3 -tags integration -timeout 120m $(SLOW) ./...

# The packages: Debian's own checker, then apt in guests of Debian 12 and 13: install, upgrade, remove, purge; and docs/quickstart.md as
# printed, with guests within a bare Debian 13, where the daemon is upgraded while they report; and examples/docker-ce.
test-packages:
	tools/need lintian=lintian mmdebstrap=mmdebstrap lxc-start=lxc,uidmap
	rm -rf .cache/packages && mkdir -p .cache/packages
	for v in 0.1.0 0.2.0; do $(MAKE) -s release VERSION=v$$v RELEASE_ARCHES=amd64 && mv dist/release .cache/packages/$$v; done
	lintian --allow-root --fail-on error,warning,info --tag-display-limit 0 .cache/packages/0.2.0/*.deb
	export FELHOM_OLD_PACKAGES="$$PWD/.cache/packages/0.1.0" FELHOM_NEW_PACKAGES="$$PWD/.cache/packages/0.2.0"; \
	$(BED) -images v1 -- go test -count=1 -tags packages -timeout 60m ./internal/e2e/packages

# The suites that concern an engine, on one of the 29 line with each of its image stores. It is built once, in some minutes, and kept
# in the user's cache directory.
test-engine-29: build
	engine=$$(tools/engine29/build); export PATH="$$engine:$$PATH"; go build -o .cache/withbed ./internal/e2e/withbed; \
	for containerd in true false; do \
	  .cache/withbed -own-engine -engine-config "{\"features\":{\"containerd-snapshotter\":$$containerd}}" -- \
	    go test $(RACE) -count=1 -tags integration -timeout 60m ./internal/driver/docker/... ./bootstrapper/... ./internal/e2e/registry; \
	done

# The same on Debian 13's own engine, 26.1, which guests have. Its packages are unpacked once into the user's cache directory.
test-engine-26: build
	engine=$$(tools/engine26/build); export PATH="$$engine:$$PATH"; $(BED) -own-engine -- \
	  go test $(RACE) -count=1 -tags integration -timeout 60m ./internal/driver/docker/... ./bootstrapper/... ./internal/e2e/registry

# What needs neither an engine nor guests. Some of it mounts and changes owners, so it needs root. Those that take longest start first.
# Many tests wait and hardly use the processor: more of them than there are processors run at once.
unit:
	go test -p 3 -parallel 8 ./agentd ./internal/driver/pct ./bootstrapper ./agentd/internal/provision ./...

# The randomised tests, SOAK times as long as in "make test", a day of 200 guests in minutes, and the faults that take minutes. Each random
# one prints its seed: SOAK_SEED=N repeats a run.
soak: export SOAK ?= 50
soak: build
	go test -count=1 -timeout 6h -run AtRandom -v ./internal/unpack ./golden/internal/verify
	$(BED) -- go test -count=1 -p 1 -timeout 10h -tags integration -v -run 'AtRandom|TestSoak|TestPowerCut|TestFaultsOfRegistries|TestBuildTwice/^killed at random$$' ./agentd/... ./golden ./bootstrapper

# Each fuzz target for FUZZTIME, one after the other: FUZZ='contract|vzdump' runs those whose package and name match.
fuzz: export FUZZTIME ?= 60s
fuzz:
	tools/fuzz '$(or $(FUZZ),.)'

# What CI runs beside the seeds, which are part of the tests: a number of inputs for the targets of what comes from other machines
# and is cheap to compile with the instrumentation. It takes a minute.
fuzz-short:
	FUZZTIME=2000x tools/fuzz 'internal/(vzdump|contract|jsondoc|termtext|mountinfo)/|pctconf/FuzzParse|deb822/'

lint:
	tools/need shellcheck=shellcheck
	$(TOOL) golangci-lint run ./...
	cd tools && go tool golangci-lint run -c ../.golangci.yml ./words ./recording && go test -count=1 ./words ./recording && go run ./words
	cd tools/release && go tool -modfile=../go.mod golangci-lint run -c ../../.golangci.yml ./... && go test ./... && go mod tidy -diff
	tools/unreachable
	shellcheck .ci/run tools/need tools/fuzz tools/unreachable tools/engine26/build tools/engine29/build $$(git ls-files '*.sh' contrib/completions/bash)
	go mod tidy -diff

# The manual pages and the completions, from the programs' command lines.
docs:
	go test ./agentd ./bootstrapper ./golden -run TestDocuments -update

# docs/quickstart.cast is a real run of the quick start (see FELHOM_RECORD in internal/e2e/packages), the picture is drawn from it.
recording: export FELHOM_RECORD := $(CURDIR)/docs/quickstart.cast
recording: test-packages pictures

# The pictures of terminals, from their recordings.
pictures:
	for cast in docs/*.cast; do go -C tools run ./recording <"$$cast" >"$${cast%.cast}.svg"; done

fmt:
	$(TOOL) golangci-lint fmt ./...

# Ratios against the alternatives a user has, in one run: docs/benchmarks.md.
bench: build
	$(BED) -- go run ./internal/e2e/bench

# Bakes several recipes with each engine and compares every file of the results. It needs ten minutes or so.
compare-engines:
	FELHOM_COMPARE_ENGINES=all go test -count=1 -timeout 60m -tags integration -run TestEnginesBakeTheSame -v ./golden/internal/build

# The part of guests alone: provision, boot, hotplug.
bench-guest: build
	$(BED) -- go run ./internal/e2e/bench -only guest

# The image maker's part alone, which needs no engine. It bakes several times: ten minutes or so.
bench-golden: build
	go build -o .cache/bench ./internal/e2e/bench && .cache/bench -only golden

# The local API against nginx, with a crowd of guests and a flood, and the check of the origin. It needs three minutes or so.
bench-api: build
	go build -o .cache/bench ./internal/e2e/bench && .cache/bench -only api -rounds 5
	$(BED) -- go test -count=1 -tags integration -run '^$$' -bench BenchmarkCheck ./agentd/internal/origin

# 100 daemons with 50 simulated guests each: reports, pulls through the hosts, new tokens. It needs ten minutes or so.
bench-fleet: build
	go build -o .cache/bench ./internal/e2e/bench && .cache/bench -only fleet

# One large blob and whole pulls, from a registry, through the host's proxy, and from its cache; whole pulls by Debian 13's engine and by one
# of the 29 line with containerd's image store as well. It needs ten minutes or so.
bench-registry: export BENCH = go test -count=1 -timeout 30m -tags integration -run ^$$ -benchtime 1x ./internal/e2e/registry -bench
bench-registry:
	$(BED) -own-engine -- $$BENCH 'BenchmarkBlob|BenchmarkPull'
	engine=$$(tools/engine26/build); PATH="$$engine:$$PATH" .cache/withbed -own-engine -- $$BENCH BenchmarkPull
	engine=$$(tools/engine29/build); PATH="$$engine:$$PATH" .cache/withbed -own-engine -engine-config '{"features":{"containerd-snapshotter":true}}' -- $$BENCH BenchmarkPull

# What becomes of a guest's controller after faults, beside the shell script of the proof of concept, as a table.
bench-faults: build
	$(BED) -- go run ./internal/e2e/bench -only faults

# Two releases made in two directories must have the same bytes.
repro:
	a=$$(mktemp -d) b=$$(mktemp -d); trap 'rm -rf "$$a" "$$b"' EXIT; \
	git clone -q . "$$a/one"; git clone -q . "$$b/another-name"; \
	$(MAKE) -s -C "$$a/one" release VERSION=v0.0.1; sleep 1; $(MAKE) -s -C "$$b/another-name" release VERSION=v0.0.1; \
	(cd "$$a/one/dist" && find . -type f | LC_ALL=C sort | xargs sha256sum --) | (cd "$$b/another-name/dist" && sha256sum -c --quiet); \
	(cd "$$b/another-name/dist/release" && sha256sum -c SHA256SUMS)

clean:
	rm -rf dist .cache
