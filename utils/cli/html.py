"""Render the notebooks, and the documents beside them, as self-contained web pages.

A page contains everything that it shows: images are embedded, nothing is loaded from the network,
and there are no scripts. nbconvert renders the cells. This module adds what nbconvert leaves to the
scripts of a theme: links between the pages, a table of contents, boxes in which wide elements
scroll, descriptions of images, and short formulas. Nothing is executed, and the same notebooks give
the same bytes.
"""

import base64
import mimetypes
import posixpath
import re
from functools import cache
from html import escape
from itertools import count
from pathlib import Path
from string import Template
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import nbformat
from bs4 import BeautifulSoup
from latex2mathml.converter import convert as latex_to_mathml
from nbconvert import HTMLExporter
from nbformat.v4 import new_markdown_cell, new_notebook

from utils.cli.api import FIRST_PAGE, has_pdoc, write_api_reference
from utils.errors import CaptionsError, os_errors_as_caption_errors
from utils.io import write_text
from utils.paths import REPOSITORY


class Page(NamedTuple):
    """The page of a document."""

    file: str
    label: str  # in the navigation bar


PAGE_TEMPLATE = Path(__file__).with_name("page.html")
HOME = "README.md"
PAGES = {  # document -> page, in reading order
    HOME: Page("index.html", "Image captions"),
    "notebooks/01_features.ipynb": Page("01_features.html", "1 Features"),
    "notebooks/02_text.ipynb": Page("02_text.html", "2 Text"),
    "notebooks/03_train.ipynb": Page("03_train.html", "3 Train"),
    "notebooks/04_evaluate.ipynb": Page("04_evaluate.html", "4 Evaluate"),
    "notebooks/05_visualize.ipynb": Page("05_visualize.html", "5 Visualize"),
    "RESULTS.md": Page("results.html", "Results"),
    "SPEED.md": Page("speed.html", "Speed"),
    "utils/pretrained/MODEL_CARD.md": Page("model_card.html", "Model card"),
    "CHANGELOG.md": Page("changelog.html", "Changelog"),
    "CONTRIBUTING.md": Page("contributing.html", "Contributing"),
    "SECURITY.md": Page("security.html", "Security"),
    "NOTICE.md": Page("notice.html", "Notice"),
    "LICENSE": Page("license.html", "License"),
}
API_FOLDER = "api"
RESTORE_HINT = "restore it from the repository"
# Elements of a cell's output that run code, load something, or change the page around them.
UNSAFE_ELEMENTS = [
    "style",
    "script",
    "meta",
    "base",
    "link",
    "iframe",
    "object",
    "embed",
    "form",
]
LINK_SCHEMES = ("http", "https", "mailto")
CONTENT_ID = "content"  # of the <main> element in the template

# $$...$$, or $...$ in one line, but neither an escaped dollar nor amounts such as "$5 and $6".
FORMULA = re.compile(
    r"\$\$(?P<display>[^$]+)\$\$"
    r"|(?<![\\$\w])\$(?=\S)(?P<inline>[^$\n]+?)(?<=\S)\$(?![\d$])"
)


def write_pages(folder: Path) -> None:
    """Render all pages into a folder, and the reference of the modules where pdoc is installed.

    Raises:
        CaptionsError: A document or one of its images cannot be used.
    """
    write_site(folder, with_api=has_pdoc())
    if has_pdoc():
        write_api_reference(folder / API_FOLDER)
    else:
        print("without the API reference, which needs pdoc: pip install pdoc")
    print(f"open in a browser: {folder / 'index.html'}")


def write_site(folder: Path, with_api: bool = False) -> None:
    """Render the page of each document into a folder.

    All documents are read before the first page is written.

    Args:
        folder: Where the pages are written.
        with_api: Whether the pages link to the reference of the modules.

    Raises:
        CaptionsError: A document or one of its images cannot be used.
    """
    bodies = {document: render_document(document) for document in PAGES}
    template = Template(PAGE_TEMPLATE.read_text(encoding="utf-8"))
    for document, page in PAGES.items():
        body = bodies[document]
        title = body.h1.get_text()
        if document != HOME:
            title = f"{title} · {PAGES[HOME].label}"
        text = template.substitute(
            title=escape(title),
            bar=navigation_bar(document, with_api),
            contents=table_of_contents(body),
            body=body,
            neighbors=neighbor_links(document, bodies),
        )
        write_text(folder / page.file, text)


# === From a document to the body of its page ===


def render_document(document: str) -> BeautifulSoup:
    """The body of a document's page, as a tree of elements."""
    path = REPOSITORY / document
    notebook = read_document(path)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            # Without an empty line, <details> would become a part of the list above it.
            cell.source = re.sub("^<details>", "\n<details>", cell.source, flags=re.MULTILINE)
    html, _ = cell_exporter().from_notebook_node(notebook)
    body = BeautifulSoup(html, "html.parser")
    if not body.h1:
        raise CaptionsError(f"{path}: has no title: begin it with a line like '# What it does'")

    for element in body(UNSAFE_ELEMENTS):
        element.decompose()
    for link in body("a", href=True):
        href = resolve_link(link["href"], document)
        if href:
            link["href"] = href
        else:
            link.unwrap()
    for image in body("img"):
        if image.find_parent("a") and urlsplit(image.get("src", "")).scheme == "https":
            image.replace_with(image.get("alt", ""))  # a badge, which would need the network
            continue
        image["src"] = embed_image(image.get("src", ""), path.parent)
    label_elements(body)
    convert_formulas(body)
    return body


@cache
def cell_exporter() -> HTMLExporter:
    """The exporter that renders the cells; all pages share it, and so its compiled templates."""
    return HTMLExporter(
        template_name="basic",
        exclude_anchor_links=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )


@os_errors_as_caption_errors(fix=RESTORE_HINT)
def read_document(path: Path) -> Any:
    """Read a notebook; a text document becomes a notebook with a single cell."""
    content = path.read_bytes()
    try:
        text = content.decode()
        if path.suffix == ".ipynb":
            notebook = nbformat.reads(text, as_version=4)
            nbformat.validate(notebook)
            return notebook
    except Exception as error:  # nbformat fails in as many ways as a file can be damaged
        problem = f"is damaged ({type(error).__name__})"
        raise CaptionsError(f"{path}: {problem}: {RESTORE_HINT}") from None
    if not path.suffix:  # LICENSE has no Markdown title
        text = f"# {PAGES[path.name].label}\n\n{text}"
    return new_notebook(cells=[new_markdown_cell(text, id="text")])


def resolve_link(href: str, document: str) -> str | None:
    """Replace a link to a document by one to its page.

    Links within a page, to the web and to mail addresses stay as they are. A link to a file that
    has no page, such as a module, gives None; so does one that runs code, such as `javascript:`.
    """
    target, mark, anchor = href.partition("#")
    scheme = urlsplit(href).scheme
    if not target or scheme:
        return href if not target or scheme in LINK_SCHEMES else None
    folder = posixpath.dirname(document)
    target_document = posixpath.normpath(posixpath.join(folder, target))
    if target_document not in PAGES:
        return None
    return PAGES[target_document].file + mark + anchor


@os_errors_as_caption_errors(fix="add the image, or remove the reference to it")
def embed_image(source: str, folder: Path) -> str:
    """The `src` of an image as a data URL.

    nbconvert can embed images, too, but then renders the <details> of answers wrongly.
    """
    if source.startswith("data:"):
        return source
    path = (folder / unquote(source)).resolve()
    media_type = mimetypes.guess_type(path.name)[0] or "unknown type"
    if not path.is_relative_to(REPOSITORY):
        raise CaptionsError(f"{path}: is outside the repository: remove the reference to it")
    if not media_type.startswith("image/"):
        raise CaptionsError(f"{path}: is not an image ({media_type}): remove the reference to it")
    data = base64.b64encode(path.read_bytes()).decode()
    return f"data:{media_type};base64,{data}"


# === Accessibility: anchors, captions, boxes that scroll ===


def label_elements(body: BeautifulSoup) -> None:
    """Give headings an anchor, and images and tables a label for screen readers."""
    section = ""
    figure_numbers = count(1)
    table_numbers = count(1)
    anchors = {CONTENT_ID}
    for element in body.find_all(["h1", "h2", "h3", "img", "table", "pre"]):
        if element.name == "pre":
            element["tabindex"] = "0"  # what scrolls must be reachable with the keyboard
        elif element.name == "table":
            label_table(body, element, f"Table {next(table_numbers)}: {section}")
        elif element.name == "img":
            label_image(body, element, f"Figure {next(figure_numbers)}: {section}")
        else:
            section = element.get_text()
            element["id"] = unique_anchor(section, anchors)


def label_table(body: BeautifulSoup, table: Any, label: str) -> None:
    """Put a table into a labeled box that scrolls."""
    for header_cell in table("th"):
        if not header_cell.get_text(strip=True):
            header_cell.name = "td"  # screen readers would announce an empty header
    del table["border"]
    table.wrap(body.new_tag("div")).attrs = scroll_box(label)


def label_image(body: BeautifulSoup, image: Any, label: str) -> None:
    """Put an image into a labeled box that scrolls; one from an output gets the label as text."""
    if image.find_parent(class_="output"):
        image["alt"] = label
    image.wrap(body.new_tag("span")).attrs = scroll_box(label)


def unique_anchor(heading: str, anchors: set[str]) -> str:
    """An anchor for a heading, as GitHub makes it; it is added to the anchors of the page."""
    anchor = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
    if anchor in anchors:
        anchor = f"{anchor}-{len(anchors)}"
    anchors.add(anchor)
    return anchor


def scroll_box(label: str) -> dict[str, str]:
    """The attributes of an element in which something wide scrolls."""
    return {"class": "box", "role": "group", "aria-label": label, "tabindex": "0"}


# === Formulas ===


def convert_formulas(body: BeautifulSoup) -> None:
    """Convert $...$ and $$...$$ to MathML, which browsers show without a script."""
    for text in body.find_all(string=FORMULA):
        if text.find_parent(["pre", "code"]) or text.find_parent(class_="output"):
            continue
        parts = []
        end = 0
        for match in FORMULA.finditer(text):
            parts.append(escape(text[end : match.start()]))
            display = "block" if match["display"] else "inline"
            parts.append(formula_to_mathml(match["display"] or match["inline"], display))
            end = match.end()
        parts.append(escape(text[end:]))
        if "block" in "".join(parts) and text.parent.name == "p":
            text.parent["tabindex"] = "0"  # a wide formula scrolls
        text.replace_with(BeautifulSoup("".join(parts), "html.parser"))


def formula_to_mathml(tex: str, display: str = "inline") -> str:
    """The MathML of a formula; one that cannot be converted is shown as its TeX, as code."""
    as_code = f"<code>{escape(tex)}</code>"
    try:
        mathml = latex_to_mathml(tex, display=display)
    except Exception:  # the converter raises many kinds of errors
        return as_code
    has_unknown_command = "\\" in mathml or "<mi>&</mi>" in mathml  # of an unknown environment
    return as_code if has_unknown_command else mathml


# === Navigation ===


def navigation_bar(document: str, with_api: bool) -> str:
    """The list of links to all pages, and to the reference of the modules."""
    items = []
    for other, page in PAGES.items():
        current = ' aria-current="page"' if other == document else ""
        items.append(f'<li><a href="{page.file}"{current}>{page.label}</a></li>')
    if with_api:
        items.append(f'<li><a href="{API_FOLDER}/{FIRST_PAGE}">API</a></li>')
    return "\n".join(items)


def table_of_contents(body: BeautifulSoup) -> str:
    """The list of links to the sections of a page."""
    items = []
    for heading in body("h2"):
        items.append(f'<li><a href="#{heading["id"]}">{escape(heading.get_text())}</a></li>')
    if not items:
        return ""
    links = "\n".join(items)
    return f'<nav class="contents" aria-label="On this page"><ol>\n{links}\n</ol></nav>'


def neighbor_links(document: str, bodies: dict[str, BeautifulSoup]) -> str:
    """The links to the previous and the next page."""
    documents = list(PAGES)
    position = documents.index(document)
    links = []
    if position > 0:
        links.append(neighbor_link("prev", "Previous", documents[position - 1], bodies))
    if position + 1 < len(documents):
        links.append(neighbor_link("next", "Next", documents[position + 1], bodies))
    return "\n".join(links)


def neighbor_link(
    relation: str, label: str, document: str, bodies: dict[str, BeautifulSoup]
) -> str:
    """The link to the previous or the next page."""
    title = escape(bodies[document].h1.get_text())
    return f'<a rel="{relation}" href="{PAGES[document].file}"><span>{label}</span> {title}</a>'
