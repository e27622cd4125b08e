"""What holds for every test and for the notebooks under nbval, whichever of them are collected.

A test run always sees the sample world and temporary folders: it neither reads a user's photos nor
touches a user's artifacts, whatever the environment says. It stands at the top of the repository
because `pytest --nbval notebooks` reads no conftest from tests/.
"""

import os
import tempfile
from pathlib import Path
from unittest import mock

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

# The same examples each time, on a machine as busy as it may be.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same")

BROKEN = pytest.StashKey[str]()  # the notebook cell that raised an error, if one did


def pytest_configure(config):
    """Give the run an empty input folder and a working folder of its own, before any import."""
    folder = tempfile.TemporaryDirectory(prefix="captions-", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    for name in [name for name in os.environ if name.startswith("CAPTIONS_")]:
        del os.environ[name]
    for name in ("input", "working"):
        (Path(folder.name) / name).mkdir()
        os.environ[f"CAPTIONS_{name.upper()}"] = str(Path(folder.name) / name)
    os.environ["CAPTIONS_PRESET"] = "sample"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if hasattr(config, "workerinput"):  # one of several processes: each has a core of its own
        for kind in ("INTRAOP", "INTEROP"):
            os.environ.setdefault(f"TF_NUM_{kind}_THREADS", "1")
    if hasattr(config.option, "nbval") and not config.option.nbval_kernel_name:
        # The kernel of the Python that runs the tests, not whatever is registered as `python3`.
        config.option.nbval_current_env = True
    if os.environ.get("EVERY_ERROR"):
        from tests.error_coverage import Recorder

        config.pluginmanager.register(Recorder())


@pytest.fixture(autouse=True)
def same_environment():
    """What a test changes in the environment ends with it: the notebooks' kernels inherit it."""
    with mock.patch.dict(os.environ):
        yield


def pytest_collectstart(collector):
    """Leave stderr out of nbval's comparison: progress bars and log lines differ at each run."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)


def pytest_collection_modifyitems(items):
    """Tests of modules first, then the notebooks, in the order in which they need each other."""
    items.sort(key=lambda item: (is_cell(item), item.path.name if is_cell(item) else ""))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where several processes share the tests, one takes a whole file, or all the notebooks."""
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = lambda test: test.split("/" if "notebooks/" in test else "::")[0]
    return scheduler


def pytest_runtest_setup(item):
    """After a cell that raised an error the later ones, here and in later notebooks, can't run."""
    if is_cell(item) and BROKEN in item.session.stash:
        pytest.skip(f"{item.session.stash[BROKEN]} raised an error")


def pytest_runtest_makereport(item, call):
    """Remember a cell that raised an error; one whose outputs differ stops nothing."""
    if is_cell(item) and call.when == "call" and call.excinfo:
        error = call.excinfo.value
        if not isinstance(error, pytest.skip.Exception) and "outputs differ" not in str(error):
            item.session.stash.setdefault(BROKEN, f"{item.path.name}, {item.name}")


def is_cell(item):
    """Whether a test is a notebook's cell, which is what nbval makes of them."""
    return item.path.suffix == ".ipynb"
