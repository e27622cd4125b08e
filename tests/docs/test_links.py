"""Links in Markdown pages and notebooks lead somewhere: to files, headings and valid addresses."""

import re
from urllib.parse import unquote, urlsplit

import jupytext
import pytest

from utils.paths import REPOSITORY

# All Markdown files: at the top, in hidden folders such as .github, and in the package.
PAGES = sorted(REPOSITORY.glob("*.md"))
PAGES += sorted((REPOSITORY / ".github").rglob("*.md"))
PAGES += sorted((REPOSITORY / "utils").rglob("*.md"))
PAGES += sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
PAGES_WITHOUT_LINKS = ("NOTICE.md",)
# Folders that a new clone does not have: `/data/` is ignored at the top only.
GENERATED_FOLDERS = ("data", "working", "build")

FENCED_CODE = re.compile(r"^ *(```+|~~~+).*?^ *\1", re.DOTALL | re.MULTILINE)
INLINE_CODE = re.compile(r"(`+)[^`](?:.|\n(?!\n))*?\1")
TARGET_PATTERNS = (
    r"\]\(\s*((?:[^()\s]|\([^()\s]*\))*)",  # [text](target) and ![text](target "title")
    r"\b(?:src|href)=[\"']([^\"']*)",
    r"^ *\[[^\]]+\]:\s*(\S+)",  # [name]: target
    r"(?<![\w(\"'])(\w+://[^\s<>()\"'|]*[^\s<>()\"'|.,;:!?*_])",  # a bare address
)


def read_markdown(page):
    """The Markdown of a page; that of a notebook is read from its script."""
    if page.suffix != ".ipynb":
        return page.read_text(encoding="utf-8")
    cells = jupytext.read(page.parent / "scripts" / f"{page.stem}.py").cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def find_targets(text):
    """The targets of links and images, without those in code."""
    text = INLINE_CODE.sub("", FENCED_CODE.sub("", text))
    targets = []
    for pattern in TARGET_PATTERNS:
        targets.extend(re.findall(pattern, text, re.MULTILINE))
    return targets


def find_anchors(page):
    """The anchors of a page's headings: GitHub's for Markdown, Jupyter's for a notebook."""
    text = FENCED_CODE.sub("", read_markdown(page))
    anchors = re.findall(r"\bid=[\"']([^\"']+)", text)
    for heading in re.findall(r"^#{1,6} +(.+?)(?: +#+)? *$", text, re.MULTILINE):
        title = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        if page.suffix == ".ipynb":
            anchors.append(re.sub("[`*]", "", title).replace(" ", "-"))
            continue
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        count = anchors.count(anchor)
        anchors.append(f"{anchor}-{count}" if count else anchor)
    return anchors


def find_problems(page, repository=REPOSITORY):
    """What is wrong with the links and images of a page, one line each."""
    text = read_markdown(page)
    problems = []
    for target in dict.fromkeys(find_targets(text)):
        problem = check_target(target, page, repository)
        if problem:
            problems.append(f"{target}: {problem}")
    for image in re.findall(r"!\[\s*\]\([^)]*\)", text):
        problems.append(f"{image}: no alt text")
    return problems


def check_target(target, page, repository):
    """What is wrong with a target, or None."""
    if re.match(r"\w+:", target):
        return None if is_valid_address(target) else "not a valid https address"
    name, _, anchor = target.partition("#")
    path = (page.parent / unquote(name)).resolve() if name else page
    if not path.is_relative_to(repository):
        return "outside of the repository"
    if not path.exists() or is_generated(path, repository):
        return "does not exist"
    if anchor and unquote(anchor) not in find_anchors(path):
        return f"no heading '{anchor}'"
    return None


def is_generated(path, repository):
    """Whether a path is in a folder that only a run creates."""
    parts = path.relative_to(repository).parts
    return bool(parts) and parts[0] in GENERATED_FOLDERS


def is_valid_address(target):
    """Whether a target is an https address with a valid host and valid characters."""
    parts = urlsplit(target)
    host_is_valid = re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.netloc)
    characters_are_valid = re.fullmatch(r"[!-~]+", target)
    return bool(parts.scheme == "https" and host_is_valid and characters_are_valid)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    assert find_targets(read_markdown(page)) or page.name in PAGES_WITHOUT_LINKS
    assert find_problems(page) == []


# === The checks find problems ===


@pytest.fixture
def check_page(tmp_path):
    """Gives the problems of a page with some text, in a small repository."""
    (tmp_path / "more").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "my picture.png").touch()
    (tmp_path / "more" / "other.md").write_text(
        "# Über `uns`, really\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n"
    )
    (tmp_path / "more" / "scripts").mkdir()
    (tmp_path / "more" / "step.ipynb").touch()
    script = "# %% [markdown]\n# ## What *You* see?\n\n# %%\n# ## No heading\n"
    (tmp_path / "more" / "scripts" / "step.py").write_text(script)

    def check(text):
        (tmp_path / "page.md").write_text(text)
        return find_problems(tmp_path / "page.md", tmp_path)

    return check


VALID_PAGE = """
# Top
[a](more/other.md), [b](#top), [c](more/other.md#über-uns-really), [d](more/other.md#twice-1)
![a picture](my%20picture.png "with a title") <img src="my%20picture.png"> [folder](more)
[e](more/step.ipynb#What-You-see?), <https://example.org/a_(b)>, see https://example.org/x?y=1#z.
[f](https://en.example.org/wiki/A_(b)) and [the `code`][g] but not `[x](nowhere)` nor
`[y](over
two lines)`.

[g]: more/other.md
```
[x](nowhere)
```
"""


def test_valid_page_has_no_problem(check_page):
    assert len(find_targets(VALID_PAGE)) == 12
    assert check_page(VALID_PAGE) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](more/none.md)", "does not exist"),
        ("![a](none.png)", "does not exist"),
        ("<a href='none.md'>", "does not exist"),
        ("[a]\n\n[a]: none.md", "does not exist"),
        ("[a](data)", "does not exist"),
        ("[a](/etc/passwd)", "outside"),
        ("[a](../page.md)", "outside"),
        ("[a](#nowhere)", "no heading 'nowhere'"),
        ("[a](more/other.md#no-heading)", "no heading 'no-heading'"),
        ("[a](more/other.md#twice-2)", "no heading 'twice-2'"),
        ("[a](more/step.ipynb#what-you-see)", "no heading"),
        ("[a](more/step.ipynb#No-heading)", "no heading"),
        ("[a](http://example.org)", "https"),
        ("see http://example.org.", "https"),
        ("[a](https://example)", "https"),
        ("<https://ann@example.org>", "https"),
        ("[a](mailto:ann@example.org)", "https"),
        ("![](my%20picture.png)", "no alt text"),
    ],
)
def test_broken_link_is_found(check_page, text, problem):
    (line,) = check_page(text)
    assert problem in line
