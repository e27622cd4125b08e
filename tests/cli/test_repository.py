"""Tests of the command `repository`, on copies of the files that contain links."""

import re
import shutil
import subprocess

import pytest

from utils.__main__ import main
from utils.cli import repository
from utils.paths import REPOSITORY

PLACEHOLDER = "INSERT_OWNER_HERE"


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """The README, the notebooks and their scripts, in a repository with another page."""
    folder = tmp_path / "clone"
    shutil.copytree(REPOSITORY / "notebooks", folder / "notebooks")
    for name in ("README.md", "pyproject.toml", "kernel-metadata.json"):
        shutil.copy(REPOSITORY / name, folder)
    link = f"https://github.com/{repository.current_repository()}"
    (folder / "PAGE.md").write_text(
        f"{link}/issues, {link}.git, in {link}. {link}-2, {link}.v3, {link}.github.io, "
        "github.com/other/image-captioning"
    )
    monkeypatch.setattr(repository, "REPOSITORY", folder)
    return folder


def read_all(folder):
    """All text files: their texts by path."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png"]
    return {path.relative_to(folder): path.read_text(encoding="utf-8") for path in files}


def test_links_lead_to_the_new_repository_and_back(clone, capsys):
    before = read_all(clone)
    old = repository.current_repository()
    assert main(["repository", "git@github.com:ann/dogs.v2.git"]) == 0
    count = int(capsys.readouterr().out.partition(" links")[0])
    after = read_all(clone)
    assert repository.current_repository() == "ann/dogs.v2"
    assert count == sum(text.count("ann/dogs.v2") for text in after.values())
    link = "https://github.com/ann/dogs.v2"
    assert f"git clone {link} && cd dogs.v2\n" in (clone / "README.md").read_text()
    other = f"https://github.com/{old}"
    assert (clone / "PAGE.md").read_text() == (
        f"{link}/issues, {link}.git, in {link}. {other}-2, {other}.v3, {other}.github.io, "
        "github.com/other/image-captioning"
    )
    for name in ("01_features", "05_visualize"):
        script = (clone / "notebooks" / "scripts" / f"{name}.py").read_text()
        assert script.count("ann/dogs.v2") == 3  # two badges, and the Setup cell
        assert not re.search(rf"/{re.escape(old)}(?![\w.-])", script)
    # The user name on Kaggle is another one.
    metadata = (clone / "kernel-metadata.json").relative_to(clone)
    assert after[metadata] == before[metadata]
    assert main(["repository", old]) == 0
    assert read_all(clone) == before


REFUSED = (
    "ann",
    "ann/",
    "ann/a/b",
    "a b/c",
    "änn/a",
    "ann.b/a",
    "a" * 40 + "/a",
    "ann/..",
    "ann/a.git",
    "OWNER/NAME",
    "https://github.com/ann",
    "https://github.com/ann/..",
    "https://gitlab.com/ann/a",
)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_repository_is_refused(clone, capsys, name):
    before = read_all(clone)
    assert main(["repository", name]) == 1
    assert capsys.readouterr().err == (
        f"'{name}': is no repository on GitHub: write yours as OWNER/NAME, or its address\n"
    )
    assert read_all(clone) == before


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/ann/dogs.v2",
        "https://github.com/ann/dogs.v2/",
        "https://github.com/ann/dogs.v2.git",
        "http://www.github.com/ann/dogs.v2",
        "github.com/ann/dogs.v2",
        "git@github.com:ann/dogs.v2.git",
        "ssh://git@github.com/ann/dogs.v2.git",
    ],
)
def test_address_of_a_repository_names_it(address):
    assert repository.parse_repository(address) == "ann/dogs.v2"


def test_address_is_that_of_the_clone_in_the_setup_cell():
    setup = 'url = "https://github.com/{}"\nos.system(f"git clone {{url}}")'
    assert repository.find_repository_address(setup.format("a/b")) == "https://github.com/a/b"
    assert repository.find_repository_address(setup.format("INSERT_OWNER_HERE/b")) is None
    assert repository.find_repository_address("import utils") is None


def test_script_without_the_setup_cell_is_an_error(clone, capsys):
    script = clone / "notebooks" / "scripts" / "01_features.py"
    script.write_text("# %%\n")
    assert main(["repository", "ann/dogs"]) == 1
    error = f"{script}: clones no repository: restore its Setup cell\n"
    assert capsys.readouterr().err == error


def test_placeholder_stands_in_no_other_file():
    listed = subprocess.run(
        ["git", "grep", "-l", PLACEHOLDER], cwd=REPOSITORY, capture_output=True, text=True
    )
    if listed.returncode == 128:
        pytest.skip("no git repository")
    found = {REPOSITORY / name for name in listed.stdout.split()}
    covered = {path for pattern in repository.PATTERNS for path in REPOSITORY.glob(pattern)}
    elsewhere = {path.relative_to(REPOSITORY).as_posix() for path in found - covered}
    assert elsewhere <= {
        "kernel-metadata.json",
        "tests/cli/test_packing.py",
        "tests/cli/test_repository.py",
        "tests/packed_notebooks.py",
        "tests/docs/external_links.py",
        "tests/docs/test_external_links.py",
    }
