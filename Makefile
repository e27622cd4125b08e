# make run       the five notebooks on the drawn sample           python -m utils run
#                make run DATA=folder: on your photos             python -m utils run --input folder
# make download  download Flickr8k into data/ (1 GB)              python -m utils download
# make test      all tests, and the notebooks against their committed outputs
# make lab       the notebooks in JupyterLab; make lab DATA=folder: on your photos
# make html      the notebooks as pages for a browser             python -m utils html
# make check     make style and make test-quick, before each commit; make format fixes the style
#
# make style       style, types, spelling
# make test-quick  the tests that do not load TensorFlow
# make notebooks   the notebooks from their scripts, with new outputs
# make kernel      utils/cli/kernel.ipynb, after a change of notebook 1 or of a module it imports
# make test-all    the slow tests, and Kaggle's versions: make test-slow, test-kaggle, test-next
# make bench       speed and memory, as ratios within one run
# make fault-test  disk faults and kills: no step may lose or damage what was saved
# make environment only .venv; make lock: new locked versions (needs uv)
# make clean       remove environments, build/ and working/sample
#
# Each target first makes .venv with Python 3.11, 3.12 or 3.13; PYTHON=... names the interpreter.
# ARGS="..." is passed on to the program that a target runs. CONTRIBUTING.md has more targets.

VERSIONS = 3.11 3.12 3.13
PYTHON ?=
DATA ?=
ARGS ?=
# The versions in .venv; `LOCK=` takes the newest that pyproject.toml admits.
LOCK ?= tests/requirements-lock.txt

.SILENT:
.PHONY: help environment run download data lab html test test-quick test-all test-order \
    test-slow test-kaggle test-next test-newest test-demo check style format lock bench fault-test notebooks \
    kernel sample-encoder clean

help:
	sed '/^$$/q; s/^# \{0,1\}//' Makefile

environment:
	PYTHON="$(PYTHON)" .ci/environment .venv "$(VERSIONS)" $(LOCK)

# === Use ===

run: environment
	.venv/bin/python -m utils run $(if $(DATA),--input "$(DATA)") $(ARGS)

download: environment
	.venv/bin/python -m utils download

# The former name of `make download`.
data: download

# JupyterLab starts in the repository, because jupytext does not look for its configuration above
# the folder where it starts.
lab: environment
	$(if $(DATA),folder=$$(CDPATH= cd -- "$(DATA)" && pwd) || exit; CAPTIONS_INPUT="$$folder") \
	.venv/bin/python -m jupyterlab --LabApp.default_url=/lab/tree/notebooks $(ARGS)

# Each page in build/html contains its images and styles, and needs no network.
html: environment
	.venv/bin/python -m utils html $(ARGS)

# === Tests ===

# Two processes share the tests, one file at a time. All notebooks run in one process, one after
# the other, so more processes would wait for that one.
IN_TWO = -n 2
test: environment
	.venv/bin/python -m pytest --nbval $(IN_TWO) $(ARGS)

# The tests of data, text, scores and layout, and that the copy for Kaggle is up to date. They load
# neither TensorFlow nor a kernel.
QUICK = tests/data tests/sample tests/docs/test_links.py tests/evaluation/test_metrics.py \
    tests/evaluation/test_baselines.py tests/evaluation/test_calibration.py \
    tests/test_architecture.py tests/test_artifacts.py tests/test_dependencies.py \
    tests/test_folder_index.py tests/test_workflows.py \
    tests/cli/test_packing.py::test_code_file_of_the_repository_is_the_packed_first_notebook
test-quick: environment
	.venv/bin/python -m pytest -p no:nbval $(IN_TWO) $(QUICK) $(ARGS)

# The tests that compute with models: their results must not depend on the order of additions.
COMPUTING = tests/models tests/training tests/decoding tests/evaluation/test_retrieval.py \
    tests/evaluation/test_confidence.py tests/pretrained tests/test_features.py \
    tests/test_inference.py notebooks

# One thread, no oneDNN, no GPU.
OTHER_ORDER = TF_ENABLE_ONEDNN_OPTS=0 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 \
    OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES=-1

# The slow tests, other versions, and with Kaggle's versions also another order of additions.
test-all: test-slow test-kaggle test-next

# The order of additions alone, to find out which of the two makes `test-kaggle` fail.
test-order: environment
	echo "== .venv, in another order of additions"
	$(OTHER_ORDER) .venv/bin/python -m pytest --nbval $(IN_TWO) $(COMPUTING) $(ARGS)

test-slow: environment
	echo "== .venv: the slow tests"
	.venv/bin/python -m pytest -m slow $(IN_TWO) --ignore tests/test_versions.py $(ARGS)

# What `test-kaggle` and `test-next` leave to `make test`: commands, texts, pages, packing,
# installation and CI, which do not depend on the packages in tests/requirements-kaggle*.txt (Kaggle
# runs notebooks, not commands); the measurements, which only .venv makes; and more data sets in the
# notebooks, which nbval and other tests run, too.
ONLY_NEWEST = tests/ablation tests/benchmarks tests/cli tests/docs tests/faults \
    tests/pretraining tests/data/test_download.py tests/notebooks/test_artifact_diagrams.py \
    tests/notebooks/test_data_sets.py tests/notebooks/test_exercises.py \
    tests/notebooks/test_jupyterlab.py tests/notebooks/test_notebooks.py \
    tests/notebooks/test_terms.py tests/test_architecture.py tests/test_environment.py \
    tests/test_packaging.py tests/test_workflows.py
LEFT_OUT = $(addprefix --ignore ,$(ONLY_NEWEST))

# The tests on the releases of Kaggle's image, in another order of additions; and artifacts exchanged
# between the two environments, in the usual order.
test-kaggle: environment
	export $(OTHER_ORDER); $(call test_in,.venv-kaggle,3.12,tests/requirements-kaggle.txt,$(LEFT_OUT))
	.venv/bin/python -m pytest -m slow tests/test_versions.py

# The tests on the releases that Kaggle's next image will probably have.
test-next:
	$(call test_in,.venv-3.13,3.13,tests/requirements-kaggle-next.txt,$(LEFT_OUT))

# All tests on the newest releases within the bounds, installed anew. NumPy 2.5 needs Python 3.12.
test-newest:
	rm -rf .venv-newest
	$(call test_in,.venv-newest,3.12 3.13,)

# The tests of `captions demo`, with its extra, which `dev` does not have.
test-demo:
	rm -rf .venv-demo
	echo "== .venv-demo"
	PYTHON="$(PYTHON)" .ci/environment .venv-demo "$(VERSIONS)" $(LOCK)
	.venv-demo/bin/python -m pip install --quiet --disable-pip-version-check -e ".[demo]"
	.venv-demo/bin/python -m pytest tests/cli/test_demo.py $(ARGS)

# $(call test_in,folder,Pythons,constraints,options of pytest). .ci/environment exits with 77, and
# has printed a line, where there is no such Python: the tests are skipped then.
test_in = echo "== $(1) (skipped without a Python $(2))"; \
	PYTHON= .ci/environment $(1) "$(2)" $(3) || { test $$? -eq 77 && exit; exit 1; }; \
	$(1)/bin/python -m pytest --nbval $(IN_TWO) $(4) $(ARGS)

# Before each commit: about a minute on two slow cores.
check: style test-quick

style: environment
	.venv/bin/python -m ruff check
	.venv/bin/python -m ruff format --check
	.venv/bin/python -m mypy
	.venv/bin/python -m codespell_lib . .ci/* .github/workflows/* .pre-commit-config.yaml

format: environment
	.venv/bin/python -m ruff format
	.venv/bin/python -m ruff check --fix

# The versions of all packages, with hashes, for Python 3.11 to 3.13: needs uv.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --extra dev --upgrade \
	    --generate-hashes --no-header --no-annotate pyproject.toml -o tests/requirements-lock.txt

# === Measurements ===

# Speed and memory, as ratios within one run; ARGS="decoding training" selects topics.
bench: environment
	.venv/bin/python -m tests.benchmarks $(ARGS)

# Disk faults, and kills at random moments: no step may lose or damage what was saved.
fault-test: environment
	.venv/bin/python -m tests.faults $(ARGS)

# === Generated files ===

# The committed notebooks: cells from their scripts, outputs from a run on the drawn sample.
notebooks: environment
	for script in notebooks/scripts/*.py; do \
	    .venv/bin/python -m jupytext --quiet --update --to ipynb "$$script" \
	        --output "notebooks/$$(basename "$$script" .py).ipynb" || exit; \
	done
	.venv/bin/python -m utils run
	cp working/sample/notebooks/*.ipynb notebooks/
	cp working/sample/overview.png notebooks/images/
	$(MAKE) --no-print-directory kernel

# The notebook that kernel-metadata.json names: 01_features, with the modules that it imports.
kernel: environment
	.venv/bin/python -m utils kaggle pack
	cp build/kaggle/01_*/01_*.ipynb utils/cli/kernel.ipynb
	echo "utils/cli/kernel.ipynb is up to date: commit it"

# Train the sample's CNN anew: utils/sample/cnn.npz.
sample-encoder: environment
	.venv/bin/python -m tests.pretraining.sample_cnn $(ARGS)

clean:
	rm -rf .venv .venv-kaggle .venv-3.13 .venv-newest .venv-demo build working/sample *.egg-info
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
