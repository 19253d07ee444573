# Front door of Switchyard. Everything is built by CMake; this file only names the things people do.
SHELL := /bin/bash
JOBS ?= $(shell nproc)
# make test SANITIZE=1 (address + undefined behaviour) or SANITIZE=thread use a build folder of their own
SANITIZE ?=
BUILD ?= build$(if $(SANITIZE),-sanitize-$(SANITIZE))

.PHONY: all build deps demo test compare-hmoe bench cuda-report loc format clean help

all: build

build: deps ## build all programs into apps/
	@cmake -S . -B $(BUILD) -DSANITIZE=$(SANITIZE) > $(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@grep -E '^-- (MPI|HDF5|SentencePiece|CUDA):' $(BUILD).log; mv $(BUILD).log $(BUILD)/configure.log
	@cmake --build $(BUILD) -j $(JOBS)

deps: ## install what is missing with apt (asks for nothing when all is there)
	@tools/install_deps.sh

demo: build ## prepare real text, train a small HMoE on 4 ranks, translate and score a test set
	@tools/demo.sh

test: build ## build and run all tests; SANITIZE=1 or SANITIZE=thread for a sanitizer build
	@tools/run_tests.sh $(BUILD) "$(SANITIZE)"

bench: build ## kernel benchmarks
	@cmake --build $(BUILD) -j $(JOBS) --target kernels && $(BUILD)/kernels

cuda-report: build ## registers, stack and spills of the CUDA kernels, against tools/cuda_budget.txt
	@tools/cuda_report.sh $(BUILD) -v

compare-hmoe: build ## dense, Switch, top-2, EOM, CMR and HMoE on one set (an hour; QUICK=1: minutes; DATA=)
	@tools/compare_hmoe.sh

loc: ## lines of code by folder: non-blank, not only comment; without tests, bench, tools
	@tools/loc.sh

format: ## clang-format all sources in place
	@git ls-files '*.h' '*.cpp' '*.cu' | xargs clang-format -i

clean: ## remove build folders and programs
	rm -rf build build-sanitize-* $(addprefix apps/,train_hmoe eval_hmoe prepare inspect translate score report)

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
