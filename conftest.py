"""Fixtures and hooks for all tests, and for the notebooks under nbval.

A test run always uses the drawn sample and temporary folders, whatever the environment variables
say: it neither reads a user's photos nor changes a user's artifacts. This file is at the top of
the repository because `pytest --nbval notebooks` reads no conftest.py from tests/.
"""

import os
import tempfile
from pathlib import Path
from unittest import mock

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

# Hypothesis generates the same examples in every run, and has no time limit on a busy machine.
hypothesis.settings.register_profile("reproducible", derandomize=True, deadline=None)
hypothesis.settings.load_profile("reproducible")

# The files that take longest, about in this order; any other file may be missing here. Those of the
# slow tests come first: few of their tests are fast.
SLOWEST_FIRST = (
    "tests/notebooks/test_data_sets.py",
    "tests/notebooks/test_kaggle_replica.py",
    "tests/models/test_fine_tuning.py",
    "tests/notebooks/test_exercises.py",
    "tests/training/test_loop.py",
    "tests/decoding/test_decoding.py",
    "tests/cli/test_html.py",
    "tests/cli/test_caption.py",
    "tests/docs/test_readme.py",
    "tests/test_inference.py",
    "tests/training/test_distribution.py",
    "tests/notebooks/test_shown_photos.py",
    "tests/training/test_resume.py",
    "tests/cli/test_run.py",
    "tests/training/test_scst.py",
    "tests/models/test_captioners.py",
    "tests/cli/test_kaggle.py",
    "tests/cli/test_demo.py",
    "tests/cli/test_tensorflow_logs.py",
    "tests/cli/test_packing.py",
    "tests/pretrained/test_captioner_file.py",
    "tests/models/test_warm_start.py",
    "tests/models/test_encoders.py",
    "tests/models/test_ensemble.py",
    "tests/evaluation/test_retrieval.py",
    "tests/notebooks/test_jupyterlab.py",
)
FAILED_CELL = pytest.StashKey[str]()  # the first notebook cell that raised an error


def pytest_configure(config):
    """Set up the environment before anything is imported, and nbval and the error recorder."""
    set_environment(config)
    if hasattr(config.option, "nbval") and not config.option.nbval_kernel_name:
        # Use the Python that runs the tests, not the kernel that is registered as `python3`.
        config.option.nbval_current_env = True
    if os.environ.get("EVERY_ERROR"):
        from tests.error_coverage import ErrorRecorder

        config.pluginmanager.register(ErrorRecorder())


def set_environment(config):
    """Select the sample, an empty input folder and a new working folder."""
    folder = tempfile.TemporaryDirectory(prefix="captions-", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    for name in list(os.environ):
        if name.startswith("CAPTIONS_"):
            del os.environ[name]
    for name in ("input", "working"):
        path = Path(folder.name) / name
        path.mkdir()
        os.environ[f"CAPTIONS_{name.upper()}"] = str(path)
    os.environ["CAPTIONS_PRESET"] = "sample"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if hasattr(config, "workerinput"):  # a worker of pytest-xdist: each has a core of its own
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")


@pytest.fixture(autouse=True)
def restore_environment():
    """Undo a test's changes of environment variables: the notebooks' kernels inherit them."""
    with mock.patch.dict(os.environ):
        yield


def pytest_collectstart(collector):
    """Leave stderr out of nbval's comparison: progress bars and log lines differ in every run."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)


def pytest_collection_modifyitems(config, items):
    """Run the tests of modules first, then the notebooks in the order of their numbers.

    With several workers the longest comes first, so that all end at about the same time: the
    notebooks, which one worker runs, and the files of SLOWEST_FIRST.
    """
    has_workers = hasattr(config, "workerinput")
    items.sort(key=parallel_sort_key if has_workers else sort_key)


def sort_key(item):
    """Where a test belongs in the run; tests with equal keys keep their order."""
    return (1, item.path.name) if is_cell(item) else (0, "")


def parallel_sort_key(item):
    """Where a test belongs in a run with several workers."""
    if is_cell(item):
        return (-1, item.path.name)
    file = item.nodeid.partition("::")[0]
    position = SLOWEST_FIRST.index(file) if file in SLOWEST_FIRST else len(SLOWEST_FIRST)
    return (position, "")


class FileScheduling(LoadScopeScheduling):
    """Gives each file to one worker of pytest-xdist, and all notebooks, in order, to one."""

    def __init__(self, config, log):
        """Keep the order of the collected tests: xdist would start with the files of most tests."""
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid):
        return "notebooks" if nodeid.startswith("notebooks/") else nodeid.split("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Distribute the tests over the workers by file."""
    return FileScheduling(config, log)


def pytest_runtest_setup(item):
    """Skip the cells after one that raised an error, in the later notebooks, too."""
    if is_cell(item) and FAILED_CELL in item.session.stash:
        pytest.skip(f"{item.session.stash[FAILED_CELL]} raised an error")


def pytest_runtest_makereport(item, call):
    """Remember the first cell that raised an error; different outputs are no such error."""
    if not is_cell(item) or call.when != "call" or call.excinfo is None:
        return
    error = call.excinfo.value
    if not isinstance(error, pytest.skip.Exception) and "outputs differ" not in str(error):
        item.session.stash.setdefault(FAILED_CELL, f"{item.path.name}, {item.name}")


def is_cell(item):
    """Whether a test is a cell of a notebook, collected by nbval."""
    return item.path.suffix == ".ipynb"
