"""What the project stands on is bounded, used, and listed with its licence."""

import re
from importlib.metadata import distribution, metadata, version

import pytest

from utils.paths import REPOSITORY

TEXT = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8")
LINES = [line.partition("#")[0].strip() for line in TEXT.splitlines()]
BOUNDS = dict(re.match(r"([\w-]+)(.*)", line).groups() for line in LINES if line)
NAMES = {"pillow": "PIL", "beautifulsoup4": "bs4"}
# What no module here imports: the file that uses it, and the words that do.
KAGGLE = distribution("kaggle").locate_file("kaggle")
STAND_BY = {"six": (KAGGLE / "models" / "upload_file.py", "import six")}
STAND_BY |= {"kaggle": (REPOSITORY / "terminal" / "kaggle.py", '"-m", "kaggle"')}
STAND_BY |= {"ipykernel": (REPOSITORY / "notebooks/scripts/01_features.py", "(ipykernel)")}
COMMANDS = {
    "jupyterlab": "-m jupyterlab",
    "ruff": "-m ruff",
    "nbval": "--nbval",
    "pytest-xdist": "-n 2",
}
STAND_BY |= {name: (REPOSITORY / "Makefile", words) for name, words in COMMANDS.items()}
STAND_BY |= {"codespell": (REPOSITORY / ".ci" / "run", "-m codespell_lib")}
# Short for what packages say of themselves.
KINDS = {"BSD": "BSD", "MIT": "MIT", "Apache": "Apache", "MPL": "MPL-2.0", "GPL-2": "GPL-2.0"}


def listed():
    """package -> licence, as NOTICE.md lists them."""
    text = (REPOSITORY / "NOTICE.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| ")]
    return {name.strip(): licence.strip() for name, licence in rows}


def test_every_dependency_has_a_least_and_a_most():
    wrong = [name for name in BOUNDS if not re.fullmatch(r">=[\d.]+,<[\d.]+", BOUNDS[name])]
    assert BOUNDS and not wrong


@pytest.mark.parametrize("name", BOUNDS)
def test_every_dependency_is_used(name):
    if name in STAND_BY:
        path, words = STAND_BY[name]
        assert words in path.read_text(encoding="utf-8")
        return
    statement = re.compile(rf"^\s*(import|from) {NAMES.get(name, name)}\b", re.MULTILINE)
    code = [path for path in REPOSITORY.rglob("*.py") if ".venv" not in str(path)]
    assert any(statement.search(path.read_text(encoding="utf-8")) for path in code)


@pytest.mark.parametrize("name", BOUNDS)
def test_every_licence_is_listed_as_the_package_states_it(name):
    assert version(name)
    known, found = listed()[name], metadata(name)
    said = [found.get("License-Expression"), found.get("License")]
    said = " ".join(map(str, [*said, *found.get_all("Classifier", [])]))
    kinds = {kind for kind in KINDS if KINDS[kind] in known}
    assert kinds or name in ("matplotlib", "pycocoevalcap")  # of their own; says nothing
    assert name == "pycocoevalcap" or all(kind in said for kind in kinds)
