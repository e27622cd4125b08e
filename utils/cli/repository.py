"""Let the badges and the Setup cells name the GitHub repository of a clone or fork."""

import re

from utils.errors import CaptionsError, os_errors_as_caption_errors
from utils.io import write_text
from utils.paths import REPOSITORY

PATTERNS = (
    "*.md",
    "*.cff",
    "pyproject.toml",
    "notebooks/*.ipynb",
    "notebooks/scripts/*.py",
    "utils/cli/kernel.ipynb",
)
CLONE = re.compile(r'url = "https://github\.com/([\w.-]+/[\w.-]+)"\n.*git clone .*\{url\}')
NAME = re.compile(r"[\w-]+/[\w.-]+")


@os_errors_as_caption_errors()
def set_repository(name: str) -> None:
    """Replace the repository in all links to it.

    Args:
        name: The new owner and name, such as `somebody/image-captioning`.

    Raises:
        CaptionsError: The name is not valid, or a file cannot be read or written.
    """
    if not NAME.fullmatch(name):
        raise CaptionsError(f"'{name}': is no repository: write it as OWNER/NAME")
    current = current_repository()
    # Colab's links have no `.com`; a name goes on after a dot, but `.git` only ends an address.
    end = r"(?![\w-]|\.(?!git(?![\w-]))\w)"
    link = re.compile(rf"(github(?:\.com)?/){re.escape(current)}{end}")
    links = 0
    files = sorted({path for pattern in PATTERNS for path in REPOSITORY.glob(pattern)})
    for path in files:
        text, count = link.subn(rf"\g<1>{name}", path.read_text(encoding="utf-8"))
        if count:
            write_text(path, text)
            links += count
    print(f"{links} links to {current} now lead to {name}")


def current_repository() -> str:
    """The repository that the notebooks name now, from the first script's Setup cell.

    Raises:
        CaptionsError: It names none.
    """
    script = REPOSITORY / "notebooks" / "scripts" / "01_features.py"
    found = CLONE.search(script.read_text(encoding="utf-8"))
    if not found:
        raise CaptionsError(f"{script}: clones no repository: restore its Setup cell")
    return found[1]
