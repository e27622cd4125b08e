"""The text of a notebook as it reads on Kaggle: no badges, and links that lead somewhere."""

import re

BADGES = re.compile(r"(?:\[!\[Open in [^\n]*\n)+\n")
BADGE_TARGETS = re.compile(r"(?:\[(?:kaggle|colab)\]: [^\n]*\n)+\n")
NOTEBOOK_LINK = re.compile(r"\[([^\]]+)\]\((\d\d_\w+)\.ipynb\)")
FILE_LINK = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")
SETUP_TEXT = re.compile(r"^(## Setup\n\n).*", re.MULTILINE | re.DOTALL)
PACKED_SETUP_TEXT = (
    "All five notebooks start with such a cell: it unpacks the modules of the package `utils` that "
    "the notebook imports into the folder `utils`, where you can read them."
)


def adapt_text(text: str, notebook_addresses: dict[str, str], repository: str | None) -> str:
    """Adapt a Markdown cell to a notebook that is alone on Kaggle.

    Args:
        text: The source of the cell.
        notebook_addresses: The address of each notebook that can be linked to, by name.
        repository: The address of the repository on GitHub, if it is known.

    Returns:
        The text without badges, with a description of the packed Setup cell, and without relative
        links: links to notebooks and files whose address is unknown become plain text.
    """

    def link_notebook(link: re.Match) -> str:
        label, name = link.groups()
        address = notebook_addresses.get(name)
        return f"[{label}]({address})" if address else label

    def link_file(link: re.Match) -> str:
        label, path = link.groups()
        return f"[{label}]({repository}/blob/main/{path})" if repository else label

    text = BADGES.sub("", text, count=1)
    text = BADGE_TARGETS.sub("", text, count=1)
    text = SETUP_TEXT.sub(rf"\g<1>{PACKED_SETUP_TEXT}", text)
    text = NOTEBOOK_LINK.sub(link_notebook, text)
    return FILE_LINK.sub(link_file, text)


def name_source(text: str, repository: str) -> str:
    """Add a paragraph below the title that links to the repository, its README and its license.

    Args:
        text: The source of the first cell, which begins with the title.
        repository: The address of the repository on GitHub.
    """
    files = f"{repository}/blob/main"
    source = (
        f"*From the repository [{repository.rpartition('/')[2]}]({repository}): "
        f"[README]({files}/README.md), [license]({files}/LICENSE) (MIT)*"
    )
    title, _, rest = text.partition("\n")
    return f"{title}\n\n{source}\n{rest}"
