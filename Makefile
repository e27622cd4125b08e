# make run    the five notebooks, on the drawn sample world     python -m utils run
#             make run DATA=folder: on your photos              python -m utils run --input folder
# make data   download Flickr8k into data/ (1 GB)                python -m utils data
# make test   all tests, and the notebooks against their outputs
# make lab    the notebooks in JupyterLab; make lab DATA=folder: on your photos
# make html   the notebooks as pages for a browser               python -m utils html
#
# Each makes .venv first, with any Python 3.11 to 3.13; PYTHON=... names one.

VERSIONS = 3.11 3.12 3.13
PYTHON ?=
DATA ?=
ARGS ?=

.SILENT:
help:
	sed '/^$$/q; s/^# \{0,1\}//' Makefile

.PHONY: help run test lab test-all test-kaggle bench drill notebooks tiny format clean environment

run: environment
	.venv/bin/python -m utils run $(if $(DATA),--input "$(DATA)") $(ARGS)

.PHONY: data
data: environment
	.venv/bin/python -m utils data

# Two processes share the tests, a file at a time: more would wait for the notebooks, one chain.
IN_TWO = -n 2
test: environment
	.venv/bin/python -m pytest --nbval $(IN_TWO) $(ARGS)

# From the repository, not from notebooks/: jupytext looks for its configuration no higher.
lab: environment
	$(if $(DATA),folder=$$(CDPATH= cd -- "$(DATA)" && pwd) || exit; CAPTIONS_INPUT="$$folder") \
	.venv/bin/python -m jupyterlab --LabApp.default_url=/lab/tree/notebooks $(ARGS)

# To read and to send on: each page in build/html is whole, and asks nothing of the network.
.PHONY: html
html: environment
	.venv/bin/python -m utils html $(ARGS)

environment:
	PYTHON="$(PYTHON)" .ci/environment .venv "$(VERSIONS)"

# The slower checks: Kaggle's releases, another order of additions, another Python. The order matters
# to what computes.
COMPUTING = $(patsubst %,tests/test_%.py,batches caption captioners devices ensemble features \
    ranking reward search train tuning) notebooks
test-all: test-kaggle
	echo "== .venv: one thread, no oneDNN, no GPU"
	TF_ENABLE_ONEDNN_OPTS=0 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1 \
	    CUDA_VISIBLE_DEVICES=-1 .venv/bin/python -m pytest --nbval $(IN_TWO) $(COMPUTING) $(ARGS)
	echo "== .venv: the slow tests"
	.venv/bin/python -m pytest -m slow --ignore tests/test_versions.py $(ARGS)
	$(call test_in,.venv-3.13,3.13,)

# Everything on the Kaggle image's releases, and artifacts carried from there to here and back.
test-kaggle: environment
	$(call test_in,.venv-kaggle,3.12,tests/requirements-kaggle.txt)
	.venv/bin/python -m pytest -m slow tests/test_versions.py

# $(call test_in,folder,Python,constraints); exit 77 is: no such Python, and one line said so.
test_in = echo "== $(1) (skipped without a Python $(2))"; \
	PYTHON= .ci/environment $(1) $(2) $(3) || { test $$? -eq 77 && exit; exit 1; }; \
	$(1)/bin/python -m pytest --nbval $(IN_TWO) $(ARGS)

# What is claimed of speed and memory, as ratios of one run; ARGS="search train" names rooms.
bench: environment
	.venv/bin/python -m tests.benchmarks $(ARGS)

# Faults of the disk and kills at random moments; what is lost is an error.
drill: environment
	.venv/bin/python -m tests.faults $(ARGS)

# The committed notebooks: cells from their scripts, outputs from a run on the sample world.
notebooks: environment
	for script in notebooks/scripts/*.py; do \
	    .venv/bin/python -m jupytext --quiet --update --to ipynb "$$script" \
	        --output "notebooks/$$(basename "$$script" .py).ipynb" || exit; \
	done
	.venv/bin/python -m utils run
	cp working/sample/notebooks/*.ipynb notebooks/
	cp working/sample/best.png notebooks/images/

# The sample's small encoder, trained anew.
tiny: environment
	.venv/bin/python -m tests.pretraining.sample_cnn $(ARGS)

format: environment
	.venv/bin/python -m ruff format
	.venv/bin/python -m ruff check --fix

clean:
	rm -rf .venv .venv-kaggle .venv-3.13 .pytest_cache .ruff_cache .hypothesis build working/sample
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
