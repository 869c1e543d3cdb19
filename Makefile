# Everything a person needs to build, run and check the sidecar. `make help` lists it.
# The tools beyond Go itself are pinned in .ci/tools and live in .tools/; a target installs those it needs.
SHELL := bash
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TESTFLAGS ?=
TESTARGS ?=
BENCHFLAGS ?=
# Where the measurements are written: a look, or a part of them, does not take the place of the whole.
BENCHDOC ?= $(if $(filter --quick --only --only=%,$(BENCHFLAGS)),bin/performance.md,docs/performance.md)
# What runs the tests, and which of them `make test` leaves to targets of their own.
GOTEST ?= go test
SKIP ?= ^TestFault[A-Z]
export PATH := $(CURDIR)/.tools/bin:$(PATH)

.PHONY: help build run demo bench test test-faults race crash nightly cover fmt lint vuln dist picture generate clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The program that make runs is the one that make dist ships: it needs no C compiler, and links none of its libraries.
build demo: export CGO_ENABLED = 0

build: ## build bin/engram-sidecar
	go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/engram-sidecar ./cmd/engram-sidecar

run: build ## build, and serve on the embedded store
	bin/engram-sidecar serve

demo: ## stream a real text, kill -9 on the way, lose nothing
	go run ./integration/demo

bench: build ## measure the standard set and write docs/performance.md (about an hour; BENCHFLAGS=--quick for a look, in bin/)
	bin/engram-sidecar bench --standard --write $(BENCHDOC) $(BENCHFLAGS)

test: ## run every test that needs no root (TESTFLAGS adds flags)
	$(GOTEST) $(TESTFLAGS) -skip '$(SKIP)' ./... $(TESTARGS)

test-faults: ## break disks, files and starts under the binary (root; what lacks its means is skipped by name)
	$(GOTEST) $(TESTFLAGS) ./integration/faults/... -count=1 -v -timeout 15m

race: TESTFLAGS += -race
race: test ## the same with the race detector

crash: ## the kill -9 crash test, and what it counted
	$(GOTEST) ./integration -run TestCrash -count=1 -v -timeout 10m

nightly: ## every test at its full length (NIGHTLY=1, 500 kills), with -race where no fault needs the time
	NIGHTLY=1 ENGRAM_CRASH_KILLS=500 go test -race -count=1 -timeout 3h -skip '^TestFault[A-Z]' ./...
	NIGHTLY=1 go test -count=1 -timeout 3h -v ./integration/faults/... ./integration/abuse

cover: ## coverage of the hand-written code, the built binary's included
	.ci/coverage run

fmt: ## format every hand-written file
	.ci/tools golangci-lint
	golangci-lint fmt

lint: ## vet and lint
	.ci/tools golangci-lint
	go vet ./...
	golangci-lint run

vuln: ## ask Go's database what is known to be wrong in what the binary calls (skipped by name where it cannot be reached)
	.ci/tools govulncheck
	go test ./integration/tools -run 'KnownToBeWrong' -count=1 -v

dist: ## build archives and Debian packages for amd64 and arm64, and their checksums, into bin/dist
	.ci/dist

picture: ## make the README's picture of the dashboard (Chromium)
	SCREENSHOTS=$(CURDIR)/docs/images REQUIRE_TOOLS=1 go test ./integration/page -run TestPictureOfTheReadme -count=1

generate: ## regenerate the Go code of the .proto files
	.ci/tools buf protoc-gen-go protoc-gen-go-grpc
	proto/generate.sh

clean: ## remove what make produced
	rm -rf bin .coverage .tools
