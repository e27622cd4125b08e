"""The pages' links lead somewhere: files, headings and addresses, in Markdown and in notebooks.

`faults` lists what is wrong with a page, so that made-up pages can show that it does notice.
"""

import re
from urllib.parse import unquote, urlsplit

import jupytext
import pytest

from utils.paths import REPOSITORY

PAGES = [REPOSITORY / name for name in ("README.md", "RESULTS.md", "NOTICE.md")]
PAGES += sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
# Folders that only a run makes: a new clone has nothing there to link to.
IGNORED = (REPOSITORY / ".gitignore").read_text(encoding="utf-8").splitlines()
MADE = {line.rstrip("/") for line in IGNORED if line.endswith("/")}

FENCE = re.compile(r"^ *(```+|~~~+).*?^ *\1", re.DOTALL | re.MULTILINE)
TARGETS = (
    r"\]\(\s*((?:[^()\s]|\([^()\s]*\))*)",  # [words](target) and ![words](target "title")
    r"\b(?:src|href)=[\"']([^\"']*)",
    r"^ *\[[^\]]+\]:\s*(\S+)",  # [name]: target
    r"(?<![\w(\"'])(\w+://[^\s<>()\"'|]*[^\s<>()\"'|.,;:!?*_])",  # an address among the words
)


def prose(page):
    """A page's Markdown. A notebook's is read in its script, which a diff is read in, too."""
    if page.suffix != ".ipynb":
        return page.read_text(encoding="utf-8")
    cells = jupytext.read(page.parent / "scripts" / f"{page.stem}.py").cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def targets(text):
    """What the links and images of a text point to; code shows links and has none."""
    text = re.sub(r"(`+)[^`](?:.|\n(?!\n))*?\1", "", FENCE.sub("", text))
    return [found for kind in TARGETS for found in re.findall(kind, text, re.MULTILINE)]


def anchors(page):
    """The names of a page's headings: GitHub's of Markdown, Jupyter's of a notebook."""
    text = FENCE.sub("", prose(page))
    names = re.findall(r"\bid=[\"']([^\"']+)", text)
    for heading in re.findall(r"^#{1,6} +(.+?)(?: +#+)? *$", text, re.MULTILINE):
        words = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        if page.suffix == ".ipynb":
            names.append(re.sub("[`*]", "", words).replace(" ", "-"))
            continue
        name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        names.append(f"{name}-{names.count(name)}" if name in names else name)
    return names


def faults(page, repository=REPOSITORY):
    """What is wrong with a page's links and images, a line each."""
    text = prose(page)
    found = {target: fault(target, page, repository) for target in targets(text)}
    lines = [f"{target}: {reason}" for target, reason in found.items() if reason]
    return lines + [f"{image}: no words" for image in re.findall(r"!\[\s*\]\([^)]*\)", text)]


def fault(target, page, repository):
    """Why a target leads nowhere, or None."""
    if re.match(r"\w+:", target):
        return None if is_address(target) else "not a good https address"
    name, _, anchor = target.partition("#")
    path = (page.parent / unquote(name)).resolve() if name else page
    if not path.is_relative_to(repository):
        return "outside of the repository"
    if not path.exists() or MADE & {*path.relative_to(repository).parts}:
        return "not there"
    return f"no heading '{anchor}'" if anchor and unquote(anchor) not in anchors(path) else None


def is_address(target):
    """Whether it is an https address with a host that can be, and nothing that can't be sent."""
    parts = urlsplit(target)
    host = re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.netloc)
    return bool(parts.scheme == "https" and host and re.fullmatch(r"[!-~]+", target))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    assert targets(prose(page)) or page.name in ("RESULTS.md", "NOTICE.md")
    assert faults(page) == []


def test_the_readme_is_read_in_minutes():
    assert len(prose(PAGES[0]).split()) <= 500


# --- the check notices ---------------------------------------------------------------------------


@pytest.fixture
def check(tmp_path):
    """The faults of a page with that text, in a small repository with a page to link to."""
    (tmp_path / "more").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "my picture.png").touch()
    (tmp_path / "more" / "other.md").write_text(
        "# Über `uns`, really\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n"
    )
    (tmp_path / "more" / "scripts").mkdir()
    (tmp_path / "more" / "step.ipynb").touch()
    script = "# %% [markdown]\n# ## What *You* see?\n\n# %%\n# ## No prose\n"
    (tmp_path / "more" / "scripts" / "step.py").write_text(script)

    def of(text):
        (tmp_path / "page.md").write_text(text)
        return faults(tmp_path / "page.md", tmp_path)

    return of


GOOD = """
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


def test_a_good_page_has_no_fault(check):
    assert len(targets(GOOD)) == 12
    assert check(GOOD) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[a](more/none.md)", "not there"),
        ("![a](none.png)", "not there"),
        ("<a href='none.md'>", "not there"),
        ("[a]\n\n[a]: none.md", "not there"),
        ("[a](data)", "not there"),
        ("[a](/etc/passwd)", "outside"),
        ("[a](../page.md)", "outside"),
        ("[a](#nowhere)", "no heading 'nowhere'"),
        ("[a](more/other.md#no-heading)", "no heading 'no-heading'"),
        ("[a](more/other.md#twice-2)", "no heading 'twice-2'"),
        ("[a](more/step.ipynb#what-you-see)", "no heading"),
        ("[a](more/step.ipynb#No-prose)", "no heading"),
        ("[a](http://example.org)", "https"),
        ("see http://example.org.", "https"),
        ("[a](https://example)", "https"),
        ("<https://ann@example.org>", "https"),
        ("[a](mailto:ann@example.org)", "https"),
        ("![](my%20picture.png)", "no words"),
    ],
)
def test_a_broken_link_is_noticed(check, text, reason):
    (line,) = check(text)
    assert reason in line
