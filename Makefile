# What a user types. `make` alone prints the list.
.DEFAULT_GOAL := help
SHELL := /bin/sh

export OMP_NUM_THREADS ?= 1
# Forbidding bytecode costs 20-30 s at every start of LeRobot.
unexport PYTHONDONTWRITEBYTECODE

WMBENCH := .venv/bin/wmbench
READY := .venv/.ready

# $(call flag,NAME,--option): the option, if NAME was given, be it empty: wmbench says what is wrong with it.
quote = '$(subst ','\'',$(1))'
flag = $(if $(filter undefined,$(origin $(1))),,$(2)=$(call quote,$($(1))))
SUITE_ARGUMENT = $(if $(filter undefined,$(origin SUITE)),,$(call quote,$(SUITE)))
FLAGS = $(call flag,SCALE,--scale) $(call flag,MACHINE,--machine) $(call flag,SEEDS,--seeds) \
	$(call flag,ARMS,--arms) $(call flag,EPISODES,--episodes) $(call flag,STEPS,--steps) \
	$(call flag,BATCH_SIZE,--batch-size) $(call flag,TOTAL_SAMPLES,--total-samples) \
	$(call flag,SEQUENTIAL,--sequential) $(call flag,TRACKERS,--trackers) $(if $(filter-out 0,$(OFFLINE)),--offline)
RUN_FLAGS = $(FLAGS) $(call flag,SHARD,--shard) $(if $(filter-out 0,$(DETERMINISTIC)),--deterministic)

.PHONY: help
help: ## this list
	@echo "make TARGET [NAME=value ...]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 18
	@echo "bench and plan take SUITE= SCALE= MACHINE= SEEDS= ARMS= EPISODES= STEPS= BATCH_SIZE= TOTAL_SAMPLES= SEQUENTIAL= TRACKERS= OFFLINE=1"
	@echo "bench also takes SHARD=1/4 (a part of the episodes) and DETERMINISTIC=1 (one simulator at a time on a GPU)"

# The stamp holds the checkout's path: one that was copied or moved is set up again.
HERE := $(shell pwd -P)
ifneq ($(HERE),$(shell cat $(READY) 2>/dev/null))
.PHONY: other-checkout
$(READY): other-checkout
endif

$(READY): uv.lock pyproject.toml scripts/setup.sh
	@sh scripts/setup.sh
	@pwd -P > $@

.PHONY: setup
setup: $(READY) ## uv, Python 3.12, .venv from uv.lock, system libraries (every target that needs it does it)

.PHONY: bench
bench: $(READY) ## run a suite and print where its report is: make bench SUITE=core SCALE=mini
	@$(WMBENCH) run $(SUITE_ARGUMENT) $(RUN_FLAGS)

.PHONY: plan
plan: $(READY) ## show what bench would run, without running it
	@$(WMBENCH) plan $(SUITE_ARGUMENT) $(FLAGS)

.PHONY: report
report: $(READY) ## rebuild a report from its run directory: make report RUN=results/...
	@$(if $(RUN),,echo "make report needs RUN=, a run directory such as results/core-mini-cpu-1a2b3c4d" >&2; exit 2)
	@$(WMBENCH) report $(call quote,$(RUN))

.PHONY: doctor
doctor: $(READY) ## what was found on this machine, and how to fix what is missing
	@$(WMBENCH) doctor

.PHONY: test
test: $(READY) ## all tests but those of test-slow, with a smoke run of the core suite from end to end
	@.venv/bin/pytest tests/ -n 2 --dist loadfile --no-loadscope-reorder --durations=30

# Each file that has tests marked `slow` is in one of these; tests/test_slow_parts.py looks.
SLOW_sim := tests/wmvla/sim
SLOW_train := tests/wmvla/train tests/wmvla/rollout tests/wmvla/wiring tests/wmvla/policy tests/wmvla/commands
SLOW_bench := tests/bench --ignore=tests/bench/run/slurm
SLOW_slurm := tests/bench/run/slurm
SLOW_pages := tests/test_pages.py tests/test_end_to_end.py tests/test_full_scale.py tests/test_wheel.py

.PHONY: test-slow
test-slow: $(READY) ## the tests that take minutes, an hour a part at most: make test-slow PART=sim|train|bench|slurm|pages
	@$(if $(SLOW_$(PART)),,echo "make test-slow needs PART=, one of sim, train, bench, slurm, pages" >&2; exit 2)
	@.venv/bin/pytest $(SLOW_$(PART)) -m slow --durations=30

.PHONY: lint
lint: $(READY) ## formatting, lint rules, types
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

.PHONY: format
format: $(READY) ## rewrite the code in the house's format
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

.PHONY: image
image: ## build the container image: make image ACCEL=rocm|cuda
	@sh scripts/container.sh build $(call quote,$(ACCEL))

.PHONY: container-bench
container-bench: ## make bench inside that image, results in ./results: make container-bench ACCEL=rocm SUITE=core
	@sh scripts/container.sh bench $(call quote,$(ACCEL)) $(SUITE_ARGUMENT) $(RUN_FLAGS)

.PHONY: container-doctor
container-doctor: ## make doctor inside that image
	@sh scripts/container.sh doctor $(call quote,$(ACCEL))

.PHONY: container-throughput
container-throughput: ## the throughput suite inside that image: make container-throughput ACCEL=rocm
	@sh scripts/container.sh throughput $(call quote,$(ACCEL))

.PHONY: sif
sif: ## that image as one file for Apptainer, wmbench-ACCEL.sif: make sif ACCEL=rocm
	@sh scripts/container.sh sif $(call quote,$(ACCEL))

.PHONY: test-images
test-images: $(READY) ## build both images on stand-in bases and run the suite in them (root, Debian, at most 15 minutes)
	timeout 900 bash scripts/test_images.sh
