"""The notebooks, and the documents beside them, as pages that need a browser and nothing else.

A page holds all that it shows: pictures are part of it, it asks nothing of the network, and there
is no script in it. nbconvert renders; what stays to do is what it leaves to a theme's own scripts:
links between the pages, contents, boxes for what is wide, words for pictures, short formulas.
Nothing is executed, and the same notebooks give the same bytes.
"""

import base64
import mimetypes
import posixpath
import re
from html import escape
from itertools import count
from pathlib import Path
from string import Template
from urllib.parse import unquote

import nbformat
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter
from nbformat.v4 import new_markdown_cell, new_notebook

from utils.errors import CaptionsError, os_errors_as_caption_errors
from utils.io import write_text
from utils.paths import REPOSITORY

PAGE = Path(__file__).with_name("page.html")
PAGES = {  # in the order of reading: document -> its page, and what the bar on each page calls it
    "README.md": ("index.html", "Image captions"),
    "notebooks/01_features.ipynb": ("01_features.html", "1 Features"),
    "notebooks/02_text.ipynb": ("02_text.html", "2 Text"),
    "notebooks/03_train.ipynb": ("03_train.html", "3 Train"),
    "notebooks/04_evaluate.ipynb": ("04_evaluate.html", "4 Evaluate"),
    "notebooks/05_visualize.ipynb": ("05_visualize.html", "5 Visualize"),
    "RESULTS.md": ("results.html", "Results"),
    "NOTICE.md": ("notice.html", "Notice"),
    "LICENSE": ("licence.html", "Licence"),
}
# What an output may hold that acts by itself, or looks elsewhere.
FOREIGN = ["style", "script", "meta", "base", "link", "iframe", "object", "embed", "form"]
# What a formula that needs no layout is made of; a group is named as the element it becomes.
TEX = re.compile(r"(?<![\\$\w])\$(?=\S)([^$\n]+?)(?<=\S)\$(?![\d$])")  # and not $5 and $6
SIGN = re.compile(
    r"\\?(?P<mi>(?<=\\)(?:exp|log|max|min)(?![a-z])|(?<!\\)[a-zA-Z])"
    r"|(?P<mn>\d+(?:\.\d+)?)|(?P<mo>[-+=/(),])"
)


def write_site(folder):
    """Render all pages into `folder`; one that can't be read ends it before any is written."""
    bodies = {document: render(document) for document in PAGES}
    template = Template(PAGE.read_text(encoding="utf-8"))
    for document, body in bodies.items():
        title = body.h1.get_text()
        name = "" if document == "README.md" else f" · {PAGES['README.md'][1]}"
        parts = {"title": escape(title + name), "bar": navigation_bar(document), "body": body}
        parts |= {"contents": contents(body), "neighbours": neighbours(document, bodies)}
        write_text(folder / PAGES[document][0], template.substitute(parts))
    print(f"open in a browser: {folder / 'index.html'}")


def render(document):
    """The body of a document's page, as a tree of elements."""
    path = REPOSITORY / document
    notebook = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":  # or it takes a fold for a part of the list above it
            cell.source = re.sub("^<details>", "\n<details>", cell.source, flags=re.M)
    exporter = HTMLExporter(
        template_name="basic",
        exclude_anchor_links=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    body = BeautifulSoup(exporter.from_notebook_node(notebook)[0], "html.parser")
    if not body.h1:
        raise CaptionsError(f"{path}: has no title: begin it with a line like '# What it does'")
    for part in body(FOREIGN):
        part.decompose()
    for link in body("a", href=True):
        link["href"] = resolve_link(link["href"], document)
    for picture in body("img"):
        picture["src"] = embed_image(picture.get("src", ""), path.parent)
    label_elements(body)
    write_formulas(body)
    return body


@os_errors_as_caption_errors(fix="fetch it anew from the repository")
def read(path):
    """A notebook; a document in plain text becomes one of a single cell."""
    content = path.read_bytes()
    try:
        text = content.decode()
        if path.suffix == ".ipynb":
            notebook = nbformat.reads(text, as_version=4)
            nbformat.validate(notebook)
            return notebook
    except Exception as error:  # nbformat fails in as many ways as a file can be broken
        reason = f"can't be understood ({type(error).__name__})"
        raise CaptionsError(f"{path}: {reason}: fetch it anew from the repository") from None
    text = text if path.suffix else f"# Licence\n\n{text}"
    return new_notebook(cells=[new_markdown_cell(text, id="text")])


def resolve_link(href, document):
    """Where a link of a document leads on the site; what has no page stays as it is."""
    target, mark, anchor = href.partition("#")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(document), target))
    return PAGES[target][0] + mark + anchor if target in PAGES else href


@os_errors_as_caption_errors(fix="put the picture there, or leave it out")
def embed_image(source, folder):
    """A picture as a part of the page. (nbconvert can do that, too, but then unfolds answers.)"""
    if source.startswith("data:"):
        return source
    path = (folder / unquote(source)).resolve()
    kind = mimetypes.guess_type(path.name)[0] or "nothing known"
    if not path.is_relative_to(REPOSITORY) or not kind.startswith("image/"):
        raise CaptionsError(f"{path}: no picture of the repository ({kind}): leave it out")
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def label_elements(body):
    """Name headings, pictures and tables, for links and for who can't see them."""
    section, figures, tables, names = "", count(1), count(1), {"content"}  # that is the page's own
    for element in body.find_all(["h1", "h2", "h3", "img", "table", "pre"]):
        if element.name == "pre":
            element["tabindex"] = "0"  # what scrolls must be in reach of the keys
        elif element.name == "table":
            for empty in [head for head in element("th") if not head.get_text(strip=True)]:
                empty.name = "td"
            del element["border"]
            table = f"Table {next(tables)}: {section}"
            element.wrap(body.new_tag("div")).attrs = scroll_box(table)
        elif element.name == "img":
            figure = f"Figure {next(figures)}: {section}"
            if element.find_parent(class_="output"):
                element["alt"] = figure
            element.wrap(body.new_tag("span")).attrs = scroll_box(figure)
        else:
            section = element.get_text()
            name = re.sub(r"[^\w -]", "", section.lower()).replace(" ", "-")
            element["id"] = name if name not in names else f"{name}-{len(names)}"
            names.add(element["id"])


def scroll_box(label):
    """The attributes of an element in which something wide scrolls."""
    return {"class": "box", "role": "group", "aria-label": label, "tabindex": "0"}


def write_formulas(body):
    """Turn $...$ into MathML, which browsers show by themselves; what it can't do stays TeX."""
    for text in body.find_all(string=TEX):
        if not text.find_parent(["pre", "code"]) and not text.find_parent(class_="output"):
            found = TEX.sub(lambda found: formula(found[1]), escape(text))
            text.replace_with(BeautifulSoup(found, "html.parser"))


def formula(tex):
    """A formula in one line as MathML, or its TeX, as code."""
    signs = list(SIGN.finditer(tex))
    if "".join(sign[0] for sign in signs) != "".join(tex.split()):
        return f"<code>{tex}</code>"
    names = [(sign.lastgroup, sign[sign.lastgroup].replace("-", "−")) for sign in signs]
    shown = "".join(f"<{name}>{text}</{name}>" for name, text in names)
    shown = re.sub("(<mi>[a-z]{2,}</mi>)(?=<m[in])", r'\1<mspace width=".17em"></mspace>', shown)
    return f"<math>{shown}</math>"


def navigation_bar(document):
    """The list of all pages, as links."""
    here = {document: ' aria-current="page"'}
    rows = [(*names, here.get(each, "")) for each, names in PAGES.items()]
    return "\n".join(f'<li><a href="{to}"{now}>{name}</a></li>' for to, name, now in rows)


def contents(body):
    """The headings of a page, as links."""
    rows = [(heading["id"], escape(heading.get_text())) for heading in body("h2")]
    items = "".join(f'\n<li><a href="#{name}">{text}</a></li>' for name, text in rows)
    return f'<nav class="contents" aria-label="On this page"><ol>{items}\n</ol></nav>' * bool(rows)


def neighbours(document, bodies):
    """Links to the page before and the page after."""
    order = list(PAGES)
    place, links = order.index(document), []
    for step, relation, name in ((-1, "prev", "Previous"), (1, "next", "Next")):
        if 0 <= place + step < len(order):
            other = order[place + step]
            title = escape(bodies[other].h1.get_text())
            links.append(
                f'<a rel="{relation}" href="{PAGES[other][0]}"><span>{name}</span> {title}</a>'
            )
    return "\n".join(links)
