"""The package that `pip install .` builds: complete, and usable outside the repository.

It is built and installed into a folder of its own, without the network.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from utils import feature_cache, paths
from utils.config import Config
from utils.errors import program_name
from utils.paths import REPOSITORY
from utils.sample.painter import paint
from utils.sample.scenes import sample_scenes

BUILD_INPUTS = ("pyproject.toml", "README.md", "LICENSE", "NOTICE.md")
CAPTION = re.compile(r"photo\.jpg: [A-Z].*\.\n")


def pip(*arguments):
    """Run pip without an index."""
    command = [sys.executable, "-m", "pip", *arguments, "--no-index", "--no-deps", "--quiet"]
    subprocess.run(command, check=True, env=os.environ | {"PIP_NO_CACHE_DIR": "1"})


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The package, built from a copy: setuptools leaves files beside the sources."""
    folder = tmp_path_factory.mktemp("build")
    for name in BUILD_INPUTS:
        shutil.copy(REPOSITORY / name, folder)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("utils", "tests", "notebooks"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    pip("wheel", str(folder), "--no-build-isolation", "--wheel-dir", str(folder / "dist"))
    (path,) = (folder / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def site_packages(wheel, tmp_path_factory):
    """A folder into which the package is installed, with its script in `bin`."""
    folder = tmp_path_factory.mktemp("site-packages")
    pip("install", str(wheel), "--target", str(folder))
    return folder


@pytest.fixture
def captions(site_packages, tmp_path):
    """Runs the installed command `captions` in an empty folder; returns status, stdout, stderr."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()

    def run(*arguments):
        environment = {name: value for name, value in os.environ.items() if "CAPTIONS_" not in name}
        environment |= {
            "PYTHONPATH": str(site_packages),
            "PYTHONDONTWRITEBYTECODE": "1",
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            # A connection to the network would fail at once.
            "https_proxy": "http://localhost:9",
            "http_proxy": "http://localhost:9",
        }
        command = [sys.executable, str(site_packages / "bin" / "captions"), *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)

    run.folder = folder
    return run


def list_files(folder):
    """The files below a folder, with the times when they were written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_wheel_contains_all_files_of_the_package_and_no_others(wheel):
    expected = {}
    for path in (REPOSITORY / "utils").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            expected[path.relative_to(REPOSITORY).as_posix()] = path.read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert found == expected.keys()
        assert all(archive.read(name) == content for name, content in expected.items())


def test_wheel_contains_the_licenses(wheel):
    with zipfile.ZipFile(wheel) as archive:
        licenses = {name.rpartition("/")[2] for name in archive.namelist() if "/licenses/" in name}
    words_of_wordnet = "imagenet_classes_license.txt"
    assert licenses == {"LICENSE", "NOTICE.md", "MODEL_CARD.md", words_of_wordnet}


def test_help_names_the_program_as_it_was_called(captions):
    assert captions("--help").stdout.startswith("usage: captions ")
    done = subprocess.run(
        [sys.executable, "-m", "utils", "--help"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.stdout.startswith("usage: python -m utils ")


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("/usr/bin/captions", "captions"),
        ("captions.exe", "captions"),
        ("utils/__main__.py", "python -m utils"),
        ("", "python -m utils"),
    ],
)
def test_hints_name_the_program_as_it_was_called(monkeypatch, script, name):
    monkeypatch.setattr(sys, "argv", [script])
    assert program_name() == name


@pytest.mark.parametrize("arguments", [["run"], ["kaggle", "pack"]], ids="-".join)
def test_command_that_needs_the_notebooks_says_where_they_are(captions, arguments):
    done = captions(*arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(str(captions.folder / "notebooks"))
    assert "clone of the repository" in line
    assert list_files(captions.folder) == {}


@pytest.mark.slow
def test_installed_command_captions_photos_offline_and_writes_nothing(captions, site_packages):
    paint(sample_scenes(1, seed=3)[0]).save(captions.folder / "photo.jpg")
    before = list_files(captions.folder), list_files(site_packages)
    done = captions("caption", "photo.jpg", "--alt")
    assert done.returncode == 0, done.stderr
    assert CAPTION.fullmatch(done.stdout)
    assert (list_files(captions.folder), list_files(site_packages)) == before


@pytest.mark.slow
def test_installed_command_searches_photos_and_uses_the_cache_of_the_user(captions, tmp_path):
    paint(sample_scenes(1, seed=3)[0]).save(captions.folder / "photo.jpg")
    before = list_files(captions.folder)
    done = captions("search", "a dog", "photo.jpg")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("photo.jpg\n")
    assert list_files(captions.folder) == before
    (cached,) = list_files(tmp_path / "cache" / "captions")
    assert cached.suffix == ".npy"


# === Where files are ===


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """This package as if it were installed; the current folder is below `project`."""
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "site-packages" / "utils" / "paths.py"))
    current = tmp_path / "project" / "photos"
    current.mkdir(parents=True)
    monkeypatch.chdir(current)
    return current


def make_repository(folder):
    """Make what a copy of the repository is recognized by."""
    (folder / "utils").mkdir(parents=True)
    (folder / "utils" / "artifacts.py").touch()
    (folder / "notebooks").mkdir()
    return folder


def test_repository_is_found_from_the_package():
    assert paths.find_repository() == REPOSITORY
    assert (REPOSITORY / "notebooks" / "01_features.ipynb").is_file()


def test_installed_package_uses_the_repository_around_the_current_folder(installed):
    make_repository(installed.parent)
    assert paths.find_repository() == installed.parent


def test_installed_package_uses_the_current_folder_outside_a_repository(installed):
    (installed.parent / "notebooks").mkdir()  # of something else
    assert paths.find_repository() == installed


def test_cache_is_in_the_working_folder_of_a_run_or_of_the_repository(installed, monkeypatch):
    config = Config("flickr8k", working=str(installed / "working"))
    monkeypatch.setattr(paths, "REPOSITORY", make_repository(installed / "clone"))
    assert paths.cache_folder(config) == installed / "working"
    monkeypatch.setattr(paths, "REPOSITORY", installed)
    (installed / "working").mkdir()
    assert paths.cache_folder(config) == installed / "working"


@pytest.mark.parametrize(
    ("platform", "folder"),
    [
        ("linux", "cache/captions"),
        ("darwin", "home/Library/Caches/captions"),
        ("win32", "local/captions"),
    ],
)
def test_cache_outside_a_repository_is_that_of_the_user(
    installed, monkeypatch, tmp_path, platform, folder
):
    config = Config("flickr8k", working=str(installed / "working"))
    monkeypatch.setattr(paths, "REPOSITORY", installed)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert paths.cache_folder(config) == tmp_path / folder
    captioner = tmp_path / "captioner.npz"
    captioner.write_bytes(b"weights")
    cache = feature_cache.cache_folder(config, captioner)
    assert cache.parent == tmp_path / folder / "feature_cache"


def test_relative_cache_folder_is_ignored(installed, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert paths.user_cache_folder() == tmp_path / "home" / ".cache"


# === Missing packages ===


@pytest.mark.parametrize(
    ("module", "arguments", "fix"),
    [
        ("utils.cli.run", ["run"], "pip install -r requirements.txt"),
        ("utils.cli.html", ["html"], 'pip install ".[html]"'),
        ("utils.cli.packing", ["kaggle", "pack"], 'pip install ".[notebooks,kaggle]"'),
    ],
)
def test_missing_package_names_what_to_install(monkeypatch, capsys, module, arguments, fix):
    from utils.cli.main import main

    monkeypatch.setitem(sys.modules, module, None)
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert fix in line


@pytest.mark.parametrize("command", ["push", "outputs"])
def test_missing_kaggle_client_names_what_to_install_before_packing(monkeypatch, capsys, command):
    from utils.cli import kaggle
    from utils.cli.main import main

    monkeypatch.setattr(kaggle, "find_spec", lambda name: None)
    monkeypatch.delattr(kaggle.packing, "pack")
    assert main(["kaggle", command, "--user", "ann"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith('there is no package kaggle: pip install ".[kaggle]" in the repository')
