"""Tests of the web pages: complete, self-contained, without dead links, and accessible.

Tests in a browser are skipped where there is none.
"""

import base64
import io
import re
import shutil
from html import escape

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from tests.chromium import Page
from utils.__main__ import main
from utils.cli import html
from utils.cli.html import PAGES, formula_to_mathml, write_site
from utils.paths import REPOSITORY

DOCUMENTS = {page.file: REPOSITORY / document for document, page in PAGES.items()}
NOTEBOOKS = [page for page, path in DOCUMENTS.items() if path.suffix == ".ipynb"]
each_page = pytest.mark.parametrize("name", DOCUMENTS)
each_notebook = pytest.mark.parametrize("name", NOTEBOOKS)
FAST_PAGES = ("index.html", "04_evaluate.html")  # all pages together take long
LOADING_ATTRIBUTES = (
    "src",
    "srcset",
    "poster",
    "data",
    "background",
    "action",
    "formaction",
    "manifest",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of the rendered pages."""
    folder = tmp_path_factory.mktemp("site")
    write_site(folder)
    return folder


@pytest.fixture(scope="module")
def pages(folder):
    """The parsed pages by file name."""
    return {path.name: parse(path) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """The browser that all tests of this file share."""
    with Page(tmp_path_factory.mktemp("browser")) as page:
        page.call("Log.enable")
        yield page


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A repository with the same documents, each of a single line."""
    for document in PAGES:
        (tmp_path / document).parent.mkdir(parents=True, exist_ok=True)
        text = f"# Title of {document}"
        if document.endswith(".ipynb"):
            cells = [new_markdown_cell(text, id="title"), new_code_cell("1 + 1", id="code")]
            text = nbformat.writes(new_notebook(cells=cells))
        (tmp_path / document).write_text(text)
    monkeypatch.setattr(html, "REPOSITORY", tmp_path)
    monkeypatch.setattr(html, "has_pdoc", lambda: False)  # the reference has its own tests
    return tmp_path


def mark_slow(name):
    """A parameter that is tested only with `-m slow`."""
    return pytest.param(name, marks=pytest.mark.slow)


def parse(path):
    """The elements of a page."""
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def read_cells(name, kind):
    """The cells of one kind in the notebook of a page."""
    notebook = nbformat.read(DOCUMENTS[name], as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def add_output(repository, markup, document="notebooks/02_text.ipynb"):
    """Give the only code cell of a small notebook an HTML output."""
    notebook = nbformat.read(repository / document, as_version=4)
    output = new_output("execute_result", data={"text/html": markup, "text/plain": ""})
    notebook.cells[1].outputs = [output]
    nbformat.write(notebook, repository / document)


# --- contents of the pages -----------------------------------------------------------------------


def test_every_document_has_a_page(pages):
    assert set(pages) == set(DOCUMENTS)
    assert {path.stem for path in (REPOSITORY / "notebooks").glob("*.ipynb")} == {
        name.removesuffix(".html") for name in NOTEBOOKS
    }


@each_notebook
def test_page_shows_all_code_and_all_outputs(pages, name):
    cells = read_cells(name, "code")
    page = pages[name]
    shown = [block.get_text().rstrip("\n") for block in page.select(".input_area pre")]
    assert shown == [cell.source for cell in cells]
    outputs = [output for cell in cells for output in cell.outputs]
    printed = [block.get_text().strip("\n") for block in page.select(".output_stdout pre")]
    streams = [output for output in outputs if output.output_type == "stream"]
    assert printed == [stream.text.strip("\n") for stream in streams]
    displayed = [output.data for output in outputs if "data" in output]
    figures = [image["src"].partition(",")[2] for image in page.select(".output img")]
    images = []
    for data in displayed:
        images += [data[kind] for kind in ("image/png", "image/jpeg") if kind in data]
    assert figures == [image.replace("\n", "") for image in images]
    table_count = sum("<table" in data.get("text/html", "") for data in displayed)
    assert len(page.select("table.dataframe")) == table_count


@each_notebook
def test_hints_and_answers_are_folded_and_complete(pages, name):
    source = "\n".join(cell.source for cell in read_cells(name, "markdown"))
    written = re.findall(r"<summary>(.*?)</summary>(.*?)</details>", source, re.DOTALL)
    folds = pages[name]("details")
    assert len(folds) == len(written) > 0

    def words(text):
        return re.findall(r"\w+", text)

    for fold, (summary, text) in zip(folds, written, strict=True):
        assert not fold.has_attr("open")
        assert fold.summary.get_text() == summary
        for formula in fold("math"):
            formula.extract()
        fenced = re.sub(r"^```\w*$", "", text, flags=re.MULTILINE)
        fenced = re.sub(r"\$[^$]+\$", "", fenced.replace("$$", "$"))
        assert words(fold.get_text().removeprefix(summary)) == words(fenced)
    summaries = [summary for summary, _ in written]
    assert {"Hint", "An answer"} <= set(summaries)


@each_page
def test_page_has_title_navigation_and_contents(pages, name):
    page = pages[name]
    assert page.html["lang"] == "en"
    assert len(page("h1")) == 1
    assert page.title.get_text().startswith(page.h1.get_text())
    (current,) = page.select("header [aria-current=page]")
    assert current["href"] == name
    assert [link["href"] for link in page.select("header a")] == list(DOCUMENTS)
    listed = [(link["href"], link.get_text()) for link in page.select(".contents a")]
    assert listed == [(f"#{heading['id']}", heading.get_text()) for heading in page("h2")]


@each_page
def test_no_link_or_anchor_is_dead(pages, name):
    page = pages[name]
    anchors = [element["id"] for element in page.select("[id]")]
    assert len(anchors) == len(set(anchors))
    links = [link["href"] for link in page("a", href=True)]
    assert links
    for link in links:
        if not link.startswith("https://"):
            target, _, anchor = link.partition("#")
            assert target in {"", *pages}, link
            assert not anchor or pages[target or name].find(id=anchor), link


def test_links_between_documents_lead_to_their_pages(pages):
    def targets(name):
        return {link["href"] for link in pages[name].main("a")}

    assert set(NOTEBOOKS) | {"results.html", "notice.html", "license.html"} <= targets("index.html")
    assert {"01_features.html", "02_text.html", "04_evaluate.html"} <= targets("03_train.html")


@each_page
def test_page_loads_nothing_and_runs_no_script(pages, name):
    page = pages[name]
    assert page(["script", "link", "iframe", "object", "embed", "base"]) == []
    for element in page.find_all(True):
        assert not [key for key in element.attrs if key.startswith("on")]
        sources = [element[key] for key in LOADING_ATTRIBUTES if element.has_attr(key)]
        assert all(source.startswith("data:") for source in sources)
        assert "url(" not in element.get("style", "")
    assert not re.search(r"url\(|@import", page.style.string)
    assert "default-src 'none'" in page.find("meta", attrs={"http-equiv": True})["content"]


@each_page
def test_every_image_is_embedded_and_described(pages, name):
    for image in pages[name]("img"):
        assert re.match("data:image/[a-z]+;base64,[A-Za-z0-9+/=]+$", image["src"])
        assert re.match(r"Figure \d+: \S" if name[0] == "0" else r"\w+ \w+ \w+", image["alt"])


def test_no_formula_is_left_as_tex_source(pages):
    for page in pages.values():
        for code in page(["pre", "code"]):
            code.extract()
        assert not re.search(r"\$[^$]+\$", page.get_text())


@each_notebook
def test_every_formula_of_a_notebook_is_converted(name):
    notebook = nbformat.read(DOCUMENTS[name], as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for match in html.FORMULA.finditer(cell.source):
                tex = match["display"] or match["inline"]
                assert "<math" in formula_to_mathml(tex), tex


def test_inline_formula_becomes_mathml(small):
    (small / "README.md").write_text("# Title\n\nThe loss is $-\\log p$ for `$p$` and $p$.\n")
    write_site(small / "html")
    page = parse(small / "html" / "index.html")
    assert [formula.get_text() for formula in page("math")] == ["−logp", "p"]
    assert page.code.get_text() == "$p$"


@pytest.mark.parametrize(
    ("tex", "html"),
    [
        (r"-\log p", "<mo>−</mo><mi>log</mi><mi>p</mi>"),
        ("2.5 + x", "<mn>2.5</mn><mo>+</mo><mi>x</mi>"),
        (r"\frac{1}{2}", "<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>"),
        ("a < b", "<mi>a</mi><mo>&lt;</mo><mi>b</mi>"),
    ],
)
def test_formula_becomes_mathml(tex, html):
    formula = BeautifulSoup(formula_to_mathml(tex), "html.parser").math
    assert formula.mrow.decode_contents() == html


@pytest.mark.parametrize(
    "tex", [r"\frac{1}{", r"\unknowncommand x", r"\begin{aligned} a &= b \end{aligned}"]
)
def test_formula_that_cannot_be_converted_is_shown_as_code(tex):
    assert formula_to_mathml(tex) == f"<code>{escape(tex)}</code>"


def test_display_formula_becomes_a_block(small):
    (small / "README.md").write_text("# Title\n\n$$\\frac{a}{b} < 1$$\n")
    write_site(small / "html")
    formula = parse(small / "html" / "index.html").math
    assert formula["display"] == "block"
    assert formula.mfrac


def test_link_to_a_file_without_a_page_becomes_text(small):
    (small / "README.md").write_text("# Title\n\nSee [the settings](utils/config.py).\n")
    write_site(small / "html")
    page = parse(small / "html" / "index.html")
    assert "See the settings." in page.main.get_text()
    assert not page.find("a", string="the settings")


@pytest.mark.parametrize("document", ["README.md", "notebooks/02_text.ipynb"])
def test_the_same_document_gives_the_same_page(small, document):
    shutil.copy(REPOSITORY / document, small / document)
    shutil.copytree(REPOSITORY / "notebooks" / "images", small / "notebooks" / "images")
    for name in ("first", "second"):
        write_site(small / name)
    for path in (small / "first").iterdir():
        assert (small / "second" / path.name).read_bytes() == path.read_bytes()


def test_command_prints_where_the_pages_are(small, capsys):
    assert main(["html", str(small / "deep" / "pages")]) == 0
    index = small / "deep" / "pages" / "index.html"
    assert capsys.readouterr().out.splitlines() == [
        "without the API reference, which needs pdoc: pip install pdoc",
        f"open in a browser: {index}",
    ]
    assert not parse(index).find("a", string="API")
    assert parse(index).h1.get_text() == "Title of README.md"


def test_equal_headings_get_different_anchors(small):
    (small / "RESULTS.md").write_text("# Results\n\n## What & why?\n\n## What & why?\n\n## Content")
    write_site(small / "html")
    links = parse(small / "html" / "results.html").select(".contents a")
    anchors = [link["href"] for link in links]
    assert anchors[0] == "#what--why"
    assert len({*anchors, "#content"}) == 4


def test_image_in_a_link_keeps_the_link(small):
    source = REPOSITORY / "notebooks" / "images" / "overview.png"
    (small / "overview.png").write_bytes(source.read_bytes())
    (small / "README.md").write_text("# Title\n\n[![Scenes](overview.png)](RESULTS.md)\n")
    write_site(small / "html")
    image = parse(small / "html" / "index.html").img
    assert image["alt"] == "Scenes"
    assert image.find_parent("a")["href"] == "results.html"


# --- errors --------------------------------------------------------------------------------------


def error_line(repository, capsys):
    """The one line that the command prints when it fails; it must not have written anything."""
    assert main(["html", str(repository / "html")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert not (repository / "html").exists()
    return err


@pytest.mark.parametrize("document", ["notebooks/03_train.ipynb", "RESULTS.md"])
def test_missing_document_is_an_error(small, capsys, document):
    (small / document).unlink()
    line = error_line(small, capsys)
    assert line.startswith(f"{small / document}: could not be read (No such file")
    assert line.endswith(": restore it from the repository\n")


@pytest.mark.parametrize(
    "content",
    [b"", b"nul", b"[]", b"{}", b'{"cells": 3}', b"[" * 100_000, b"\xff\xfe", b'{"cells": ['],
)
def test_damaged_notebook_is_an_error(small, capsys, content):
    path = small / "notebooks" / "04_evaluate.ipynb"
    path.write_bytes(content)
    line = error_line(small, capsys)
    assert line.startswith(f"{path}: is damaged (")
    assert line.endswith(": restore it from the repository\n")


def test_document_without_a_title_is_an_error(small, capsys):
    (small / "NOTICE.md").write_text("## No title")
    line = error_line(small, capsys)
    assert line.startswith(f"{small / 'NOTICE.md'}: has no title: begin it with")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("gone.png", "could not be read (No such file or directory): add the image"),
        ("https://example.org/tracker.png", "add the image"),
        ("#", "is not an image"),
        ("../outside.png", "is outside the repository"),
        ("README.md", "is not an image (text/markdown): remove the reference"),
    ],
)
def test_image_that_cannot_be_embedded_is_an_error(small, capsys, source, expected):
    (small.parent / "outside.png").write_bytes(b"private")
    (small / "README.md").write_text(f"# Title\n\n![words]({source})\n")
    line = error_line(small, capsys)
    assert source.rpartition("/")[2] in line
    assert expected in line


def test_badge_becomes_a_link_with_its_alternative_text(small):
    badge = "[![Open it](https://example.org/badge.svg)](https://example.org/page)"
    (small / "README.md").write_text(f"# Title\n\n{badge}\n")
    write_site(small / "html")
    page = parse(small / "html" / "index.html")
    (link,) = page("a", href="https://example.org/page")
    assert link.get_text() == "Open it"
    assert not page("img")


def test_image_may_have_any_name(small):
    (small / "my bäd image.png").write_bytes(b"a picture")
    (small / "README.md").write_text("# Title\n\n![words](my%20bäd%20image.png)\n")
    write_site(small / "html")
    assert parse(small / "html" / "index.html").img["src"] == "data:image/png;base64,YSBwaWN0dXJl"


def test_unsafe_elements_of_an_output_are_removed(small):
    unsafe = ["meta http-equiv=refresh", "base href=x", "form action=x", "iframe src=x", "script"]
    markup = "".join(f"<{element}></{element.split()[0]}>" for element in unsafe)
    add_output(small, markup + "<i>stays</i>")
    write_site(small / "html")
    main_part = parse(small / "html" / "02_text.html").main
    assert main_part.i.get_text() == "stays"
    assert not main_part(["meta", "base", "form", "iframe", "script"])


@pytest.mark.parametrize("text", ["It costs $5 here and $6 there.", "US$ 3 and US$ 4"])
def test_amounts_of_money_are_not_formulas(small, text):
    (small / "README.md").write_text(f"# Title\n\n{text}\n")
    write_site(small / "html")
    assert text in parse(small / "html" / "index.html").main.get_text()


# --- in a browser --------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [390, 1400])
@each_page
def test_page_fits_the_window_and_loads_without_errors(browser, folder, name, width):
    browser.open(folder / name, width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    broken = "[...document.images].filter(i => !(i.complete && i.naturalWidth)).length"
    assert browser.run(broken) == 0
    problems = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    assert [event for event in browser.events if event["method"] in problems] == []
    requests = [
        event["params"]["request"]["url"]
        for event in browser.events
        if "request" in event.get("params", {})
    ]
    loaded = [url for url in requests if not url.startswith("data:")]
    assert loaded == [(folder / name).as_uri()]


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark")])
@pytest.mark.parametrize(
    "name", [page if page in FAST_PAGES else mark_slow(page) for page in DOCUMENTS]
)
def test_page_is_accessible(browser, folder, name, width, scheme):
    browser.open(folder / name, width, scheme)
    browser.run("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert browser.accessibility_violations() == []


def test_next_and_previous_links_lead_through_all_pages(browser, small):
    order = list(DOCUMENTS)
    folder = small / "site"
    write_site(folder)
    browser.open(folder / order[0])
    for relation, names in (("next", order[1:]), ("prev", order[-2::-1])):
        for name in names:
            browser.follow(f"[rel={relation}]")
            assert browser.run("location.pathname").endswith(f"/{name}")
        assert browser.run(f"document.querySelector('[rel={relation}]')") is None


def test_contents_are_at_the_side_or_above(browser, folder):
    boxes = (
        "[...document.querySelectorAll('.contents, h1')].map(e => e.getBoundingClientRect())"
        ".map(box => [box.left, box.right, box.top, box.bottom].map(Math.round))"
    )
    browser.open(folder / "03_train.html", 1400)
    contents, title = browser.run(boxes)
    assert contents[0] >= title[1]
    browser.open(folder / "03_train.html", 390)
    contents, title = browser.run(boxes)
    assert contents[3] <= title[2]


def test_first_tab_stop_skips_the_navigation(browser, folder):
    browser.open(folder / "03_train.html")
    browser.press("Tab", 9)
    left = "document.querySelector('.skip:focus').getBoundingClientRect().left"
    assert browser.run(left) == 0
    browser.press("Enter", 13)
    assert browser.run("document.activeElement.id") == "content"


def test_answer_unfolds_on_click(browser, folder):
    browser.open(folder / "02_text.html")
    is_visible = "document.querySelector('details p').checkVisibility()"
    assert browser.run(is_visible) is False
    browser.run("document.querySelector('summary').click()")
    assert browser.run(is_visible) is True


def test_figures_have_a_white_background_in_dark_mode(browser, folder):
    browser.open(folder / "04_evaluate.html", scheme="dark")
    background = "getComputedStyle(document.querySelector('{}')).backgroundColor"
    assert browser.run(background.format(".output img")) == "rgb(255, 255, 255)"
    assert browser.run(background.format("body")) == "rgb(20, 25, 30)"


def test_wide_elements_scroll_in_their_own_box(browser, small):
    cell = "<td>" + "wide" * 99 + "</td>"
    add_output(small, f"<table><tr>{cell}</tr></table>")
    write_site(small / "html")
    browser.open(small / "html" / "02_text.html", 390)
    sizes = "(box => [box.clientWidth, box.scrollWidth])(document.querySelector('.box'))"
    visible_width, full_width = browser.run(sizes)
    assert visible_width < 390 < full_width
    assert browser.run("document.documentElement.scrollWidth") <= 390


def test_wide_figure_is_as_wide_as_a_telephone(browser, small):
    figure = io.BytesIO()
    Image.new("RGB", (648, 200)).save(figure, format="png")
    encoded = base64.b64encode(figure.getvalue()).decode()
    add_output(small, f"<img src='data:image/png;base64,{encoded}'>")
    write_site(small / "html")
    browser.open(small / "html" / "02_text.html", 390)
    sizes = "(i => [i.naturalWidth, i.clientWidth, i.closest('.box').scrollWidth])"
    size_of_image = f"{sizes}(document.querySelector('.output img'))"
    natural_width, width, box_width = browser.run(size_of_image)
    assert natural_width == 648
    assert 300 < width <= box_width < 390


def test_scripts_of_an_output_do_not_run(browser, small):
    add_output(small, "<script>window.hacked = 1</script><p onclick='window.hacked = 1'>press</p>")
    write_site(small / "html")
    browser.open(small / "html" / "02_text.html")
    browser.run("document.querySelector('[onclick]').click()")
    assert browser.run("window.hacked") is None
