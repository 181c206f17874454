# blindspot-probes: what does a frozen spectral encoder know?
# Variables, with the names that they accept (VAR=value after any verb):
DATA      ?=#                 folder with train/ val/ test/ (default: a mock survey is made)
TRAIN     ?=#                 instead of DATA: file(s) of the train split, a.h5,b.h5 or shard_index.txt
VAL       ?=#                 file(s) of the val split
TEST      ?=#                 file(s) of the test split
CKPT      ?= shipped#         Lightning checkpoint, shipped, or random:SEED (a control)
CONFIG    ?=#                 the YAML beside the checkpoint
LAYER     ?= enc_pre_latent#  enc_0 pool_1 enc_1 ... enc_pre_latent enc_last all, input_flux input_error denoised
POOL      ?= seg_mean_K8#     global_mean mean_max seg_mean_K8 (any K); none for input_*; commas between
DIRECTION ?= forward#         forward backward mean concat; commas between
HEAD      ?= ridge#           ols ridge lightgbm mlp_1 mlp_2 all
LABEL     ?= log_g#           any label of the files; commas between
MISSING   ?= fail#             stars without a finite label: fail, or drop (left out of fit and scores)
NOISE     ?= 1.0#             noise level in units of the error
DRAWS     ?= 1#               noise realisations of every spectrum; train uses all, val and test the first
SEED      ?= 0#               of the noise and of the heads
DEVICE    ?= auto#            auto cpu cuda cuda:0,1
SCHEDULER ?= local#           local processes dask (docs/cluster.md)
JOBS      ?=#                 compute tasks at once (default: cores)
GRID      ?= configs/sweep.yaml# what make sweep combines; variables given beside it win
OUT       ?= artifacts#       folder of everything that is written
ARGS      ?=#                 anything else, appended to the command
COMPARE   ?=#                 anything else for the paired comparisons of tables: COMPARE='--limit 800'
FISHER    ?=#                 anything else for the Fisher matrices of ceiling (a --mask in WITH reaches them)
WITH      ?=#                 anything else for every extraction: WITH='--mask mask.npy' or WITH='--error-mode pixel'

PYTHON ?= python3
PY     := .venv/bin/python
KNOWN  := DATA TRAIN VAL TEST CKPT CONFIG LAYER POOL DIRECTION HEAD LABEL MISSING NOISE DRAWS SEED DEVICE SCHEDULER JOBS GRID OUT ARGS COMPARE FISHER WITH PYTHON PY
GIVENS := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
ifneq ($(filter-out $(KNOWN),$(GIVENS)),)
$(error unknown variable $(filter-out $(KNOWN),$(GIVENS)); known: $(KNOWN))
endif
comma  := ,
MOCK   := $(OUT)/data/mock
SELECT := $(OUT)/features/selection.json
split   = $(subst $(comma), ,$(1))
SOURCE  = $(if $(TRAIN)$(VAL)$(TEST),$(if $(TRAIN),--train '$(TRAIN)') $(if $(VAL),--val '$(VAL)') $(if $(TEST),--test '$(TEST)'),--data '$(or $(DATA),$(MOCK))')
SPECTRA = $(if $(TEST),--data '$(TEST)' $(if $(TRAIN),--train '$(TRAIN)'),--data '$(or $(DATA),$(MOCK))')
STORED  = $(if $(filter mean concat,$(call split,$(DIRECTION))),forward$(comma)backward,$(DIRECTION))
WHERE   = --out $(OUT)/features --encoders $(OUT)/encoders --digests $(OUT)/digests
EXTRACT = $(PY) -m extract run $(SOURCE) $(if $(CONFIG),--config-model '$(CONFIG)') --noise-level $(NOISE) --draws $(DRAWS) --seed $(SEED) \
          --device $(DEVICE) --scheduler $(SCHEDULER) $(if $(JOBS),--jobs $(JOBS)) $(WHERE) $(WITH)
FITTED  = --need-splits train,test
NEEDED  = $(subst +,$(comma),$(LABEL))
PROBE   = $(PY) -m probes run --results $(OUT)/results --seed $(SEED) --layers $(LAYER) --poolings $(POOL) --directions $(DIRECTION) \
          --heads $(HEAD) --labels $(LABEL) --missing-labels $(MISSING)
NO_VAL  = $(if $(TRAIN)$(VAL)$(TEST),$(if $(VAL),,--no-val),$(if $(DATA),$(shell ls '$(DATA)/val/dataset.h5' '$(DATA)/val/shard_index.txt' 2>/dev/null | grep -q . || echo --no-val)))
GIVEN   = $(if $(filter command environment,$(origin $(1))),--$(2) '$($(1))')
AUDIT   := $(OUT)/features/audit.json
FED     := zero shuffled constant from-noisy
AUDITED = $(PY) -m probes audit --results $(OUT)/results --seed $(SEED) --layers $(LAYER) --poolings $(POOL) --directions $(DIRECTION) \
          --heads $(HEAD) --labels $(LABEL) --missing-labels $(MISSING)
# the mask in WITH, read as the shell reads it: Fisher matrices see the pixels that the network sees
MASK    = $(if $(findstring --mask,$(FISHER)),,$(shell set -- $(WITH); last=; for word; do \
          case "$$last" in (--mask) printf "%s '%s'" --mask "$$word";; esac; \
          case "$$word" in (--mask=*) printf "'%s'" "$$word";; esac; last="$$word"; done))
CEILING = $(PY) -m probes ceiling --results $(OUT)/results --features $(OUT)/features --fisher $(OUT)/fisher \
          $(if $(filter command environment,$(origin LABEL)),--labels '$(NEEDED)')
SWEEP   = $(PY) -m probes sweep --config '$(GRID)' --results $(OUT)/results $(call GIVEN,LAYER,layers) $(call GIVEN,POOL,poolings) \
          $(call GIVEN,DIRECTION,directions) $(call GIVEN,HEAD,heads) $(call GIVEN,LABEL,labels) $(call GIVEN,SEED,seeds) \
          $(call GIVEN,MISSING,missing-labels) \
          $(if $(filter-out local,$(SCHEDULER)),--scheduler $(SCHEDULER) $(if $(JOBS),--jobs $(JOBS)))
TABLES  = $(PY) -m reports tables --results $(OUT)/results --features $(OUT)/features --out $(OUT)/reports $(call GIVEN,LABEL,label)

.PHONY: help setup demo mock extract probe sweep tables figures report audit ceiling robustness pretrain finetune bench readme test check clean clean-all
help:  ## this text
	@echo 'usage: make VERB [VAR=value ...]'; echo
	@awk -F '## ' '/^[a-z-]+:.*## / {split($$1, verb, ":"); printf "  %-10s %s\n", verb[1], $$2}' $(MAKEFILE_LIST); echo
	@awk -F '#' '/^[A-Z]+ *[?]=/ && NF > 1 {split($$1, v, "[?]="); gsub(/^ +/, "", $$2); gsub(/ /, "", v[1]); gsub(/ /, "", v[2]); printf "  %-10s %-15s %s\n", v[1], v[2], $$2}' $(MAKEFILE_LIST)

setup: .venv/ready  ## make the virtual environment
.venv/ready: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dev]'
	@touch $@

mock: .venv/ready  ## write the mock survey
	$(PY) -m extract mock --out $(MOCK) $(ARGS)
need-data: .venv/ready
	@$(if $(DATA)$(TRAIN)$(VAL)$(TEST),true,test -e $(MOCK)/test/dataset.h5 || $(PY) -m extract mock --out $(MOCK))
.PHONY: need-data

extract: need-data  ## run the encoder once, store pooled features
	$(EXTRACT) --checkpoint '$(CKPT)' --layers $(LAYER) --poolings $(POOL) --directions $(STORED) --selection $(SELECT) $(ARGS)

probe: need-data  ## fit heads on stored features (extracts what is missing)
	$(PROBE) $(ARGS) $(NO_VAL) --check
	$(EXTRACT) --checkpoint '$(CKPT)' --layers $(LAYER) --poolings $(POOL) --directions $(STORED) --need-labels $(NEEDED) --missing-labels $(MISSING) $(FITTED) --selection $(SELECT)
	$(PROBE) --selection $(SELECT) $(ARGS)

sweep: need-data  ## fit every combination in GRID, skip what is on record (extracts what is missing)
	wanted=$$($(SWEEP) --print-extract $(NO_VAL) $(ARGS)) && echo "$$wanted" | while read -r flags; do \
	$(EXTRACT) --checkpoint '$(CKPT)' $$flags $(FITTED) --selection $(SELECT) </dev/null || exit 2; done
	$(SWEEP) --selection $(SELECT) $(ARGS)

robustness: GRID = configs/robustness.yaml
robustness: sweep  ## noise levels crossed, draws, train sizes, axes, segments: the sweep of configs/robustness.yaml
	$(PY) -m probes importance --results $(OUT)/results --features $(OUT)/features
	$(PY) -m probes compare --results $(OUT)/results $(COMPARE)

audit: need-data  ## does the score come through the error channel? (extracts what is missing)
	$(AUDITED) $(ARGS) $(NO_VAL) --check
	$(EXTRACT) --checkpoint '$(CKPT)' --layers $(LAYER),input_flux,input_error --poolings $(POOL),none --directions $(STORED) --need-labels $(NEEDED) --missing-labels $(MISSING) $(FITTED) --selection $(AUDIT)
	$(foreach fed,$(FED),$(EXTRACT) --checkpoint '$(CKPT)' --layers $(LAYER) --poolings $(POOL) --directions $(STORED) --error-input $(fed) && )true
	$(AUDITED) --selection $(AUDIT) $(ARGS)

tables: .venv/ready  ## regenerate every comparison table from the records
	@ls $(OUT)/results/records/*.json >/dev/null 2>&1 || $(MAKE) --no-print-directory probe ARGS=
	$(PY) -m probes compare --results $(OUT)/results $(COMPARE)
	$(TABLES) $(ARGS)

report: tables  ## every table, every figure, and the page report.html
	$(PY) -m reports page --results $(OUT)/results --features $(OUT)/features --out $(OUT)/reports/report.html --figures $(OUT)/reports/figures

ceiling: need-data  ## how much noisy flux can tell of the labels, and what share of it each probe reaches
	@ls $(OUT)/results/records/*.json >/dev/null 2>&1 || $(MAKE) --no-print-directory probe ARGS=
	$(CEILING) $(ARGS) --check
	$(PY) -m extract fisher $(SPECTRA) --split test --noise-level $(NOISE) --out $(OUT)/fisher --digests $(OUT)/digests $(call GIVEN,MISSING,missing-labels) $(MASK) $(FISHER)
	$(CEILING) $(ARGS)

demo: .venv/ready  ## the whole job on a mock survey, at most 5 minutes after installation
	@$(MAKE) --no-print-directory need-data DATA= TRAIN= VAL= TEST=
	@OUT=$(OUT) PY=$(PY) sh configs/demo.sh

pretrain: .venv/ready  ## train the shipped encoder again from its recipe (about 45 minutes)
	$(PY) -m extract pretrain --config configs/pretrain.yaml $(ARGS)

finetune: need-data  ## train encoder and head end to end (ARGS=--no-freeze-encoder fine-tunes)
	$(PY) -m extract finetune $(SOURCE) --encoder-ckpt '$(CKPT)' $(if $(CONFIG),--config-model '$(CONFIG)') $(call GIVEN,LAYER,encoder-layer) \
	    $(call GIVEN,POOL,pooling) $(call GIVEN,DIRECTION,direction) $(call GIVEN,HEAD,architecture) $(call GIVEN,LABEL,labels) \
	    $(call GIVEN,NOISE,noise-level) $(call GIVEN,DRAWS,train-draws) $(call GIVEN,MISSING,missing-labels) --seed $(SEED) --noise-seed $(SEED) --device $(DEVICE) --out $(OUT)/finetune \
	    --results $(OUT)/results --features $(OUT)/features --encoders $(OUT)/encoders --digests $(OUT)/digests $(WITH) $(ARGS)

bench: .venv/ready  ## run every script of benchmarks/
	@for script in benchmarks/*.py; do echo "== $$script"; $(PY) $$script || exit 1; done

figures: .venv/ready  ## draw every figure that the records have data for, as PDF and PNG
	$(PY) -m reports figures --results $(OUT)/results --features $(OUT)/features --out $(OUT)/reports/figures $(ARGS)

readme: .venv/ready  ## write the demo's table and figure into README.md from docs/demo_records
	$(PY) docs/render_readme.py

test: .venv/ready  ## run the tests, on every core
	$(PY) -m pytest -n $(or $(JOBS),auto) --maxprocesses 8 --dist loadfile $(ARGS)

check: .venv/ready  ## lint, format, types, import contracts
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

clean:  ## remove build products and rendered reports
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage $(OUT)/reports
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

clean-all:  ## remove everything made here: data, encoders, features, results (asks first)
	@printf 'Remove %s and .venv, with every feature store and result? [y/N] ' '$(OUT)'; read answer; test "$$answer" = y
	@$(MAKE) --no-print-directory clean
	rm -rf $(OUT) .venv
