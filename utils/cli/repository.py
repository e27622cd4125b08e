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
ADDRESS = re.compile(r"(?:(?:https?|ssh)://)?(?:git@|www\.)?github\.com[/:](.+?)(?:\.git)?/?")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}/[A-Za-z0-9_.-]{1,100}")
PLACEHOLDERS = ("OWNER/", "INSERT_")  # what a name begins with that is still to be filled in


@os_errors_as_caption_errors()
def set_repository(name: str) -> None:
    """Replace the repository in all links to it.

    Args:
        name: The new owner and name, such as `somebody/image-captioning`, or the address.

    Raises:
        CaptionsError: The name is not valid, or a file cannot be read or written.
    """
    name = parse_repository(name)
    current = current_repository()
    # Colab's links have no `.com`; a name goes on after a dot, but `.git` only ends an address.
    end = r"(?![\w-]|\.(?!git(?![\w-]))\w)"
    link = re.compile(rf"(github(?:\.com)?/){re.escape(current)}{end}")
    # The folder that a clone creates has the name of the repository.
    folder = re.compile(rf"(git clone https://github\.com/{re.escape(name)} && cd )[\w.-]+")
    links = 0
    files = sorted({path for pattern in PATTERNS for path in REPOSITORY.glob(pattern)})
    for path in files:
        text, count = link.subn(rf"\g<1>{name}", path.read_text(encoding="utf-8"))
        if count:
            text = folder.sub(rf"\g<1>{name.partition('/')[2]}", text)
            write_text(path, text)
            links += count
    print(f"{links} links to {current} now lead to {name}")


def parse_repository(text: str) -> str:
    """The owner and name of a repository on GitHub, from these or from an address.

    Raises:
        CaptionsError: GitHub has no such names.
    """
    address = ADDRESS.fullmatch(text)
    name = address[1] if address else text
    repository = name.rpartition("/")[2]
    is_reserved = repository in (".", "..") or repository.endswith(".git")
    if not NAME.fullmatch(name) or is_reserved or name == "OWNER/NAME":
        raise CaptionsError(
            f"'{text}': is no repository on GitHub: write yours as OWNER/NAME, or its address"
        )
    return name


def find_repository_address(setup: str) -> str | None:
    """The address of the repository that a Setup cell clones; None for a placeholder."""
    found = CLONE.search(setup)
    if not found or found[1].startswith(PLACEHOLDERS):
        return None
    return f"https://github.com/{found[1]}"


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
