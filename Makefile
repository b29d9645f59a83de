# One virtual environment and one command a thing; `make help` lists them.

PYTHON ?= python3
VENV ?= .venv
# pip's index for torch alone, e.g. TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
JOBS ?= 2

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help venv .venv demo test test-extras check lint types wheel clean

help:  ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

$(STAMP): pyproject.toml scripts/venv.py
	$(PYTHON) scripts/venv.py $(VENV) --torch-index "$(TORCH_INDEX)"
	@touch $@

venv: $(STAMP)  ## .venv with everything in it, once; TORCH_INDEX=... says where torch comes from

.venv: venv

demo: $(STAMP)  ## train an agent on Reach from pixels, and look at what it does (minutes)
	$(BIN)/rig train preset=rig_reach
	@run=$$(ls -td runs/*/ | head -n 1); echo; echo "Look at:"; \
	for file in rollouts.gif imagined_goals.png evaluation.json; do echo "  $$run$$file"; done; \
	echo "  $(BIN)/tensorboard --logdir $${run}tensorboard"

test: $(STAMP)  ## the tests (minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

# Its packages want other versions than .venv has, so they get an environment of their own.
test-extras:  ## the tests against other people's packages, in .venv-robotics (minutes)
	test -x .venv-robotics/bin/python || $(PYTHON) -m venv .venv-robotics
	.venv-robotics/bin/python -m pip install $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) --editable '.[robotics,metaworld,ogbench,rliable,pretrained]' pytest
	OMP_NUM_THREADS=1 .venv-robotics/bin/python -m pytest tests/extras tests/encoders/test_contract.py tests/envs/test_env_contract.py \
		tests/envs/test_env_renderers.py tests/envs/test_foreign.py tests/envs/test_foreign_refused.py tests/run/test_foreign_run.py

check: lint types test wheel  ## all that a change must pass

lint: $(STAMP)  ## ruff
	$(BIN)/ruff check

types: $(STAMP)  ## pyright
	$(BIN)/pyright --pythonpath $(BIN)/python

wheel: $(STAMP)  ## build the packages, install the wheel elsewhere, and use it
	$(BIN)/python scripts/check_wheel.py

clean:  ## remove caches and what was built (not .venv, not runs)
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find rig envs scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
