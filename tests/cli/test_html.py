"""The notebooks as pages: nothing lost, nothing fetched, every link leads somewhere, for everybody.

What needs a browser is tested in one; without it these tests skip.
"""

import re

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.chromium import Page
from utils.__main__ import main
from utils.cli import html
from utils.cli.html import PAGES, formula, write_site
from utils.paths import REPOSITORY

DOCUMENTS = {page: REPOSITORY / document for document, (page, _) in PAGES.items()}
NOTEBOOKS = [page for page, path in DOCUMENTS.items() if path.suffix == ".ipynb"]
each_page = pytest.mark.parametrize("name", DOCUMENTS)
each_notebook = pytest.mark.parametrize("name", NOTEBOOKS)
SOME = ("index.html", "04_evaluate.html")  # the other pages are slow, all together
SPACE = '<mspace width=".17em"></mspace>'
LOADS = ("src", "srcset", "poster", "data", "background", "action", "formaction", "manifest")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The site."""
    folder = tmp_path_factory.mktemp("site")
    write_site(folder)
    return folder


@pytest.fixture(scope="module")
def pages(folder):
    """name -> the elements of a page."""
    return {path.name: parse(path) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """The browser for all tests of this file."""
    with Page(tmp_path_factory.mktemp("browser")) as page:
        page.call("Log.enable")
        yield page


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A repository of the same documents, each of one line, and what makes its site."""
    (tmp_path / "notebooks").mkdir()
    for document in PAGES:
        text = f"# Of {document}"
        if document.endswith(".ipynb"):
            cells = [new_markdown_cell(text, id="title"), new_code_cell("1 + 1", id="code")]
            text = nbformat.writes(new_notebook(cells=cells))
        (tmp_path / document).write_text(text)
    monkeypatch.setattr(html, "REPOSITORY", tmp_path)
    return tmp_path


def all_too(name):
    """A page that only `-m slow` looks at."""
    return pytest.param(name, marks=pytest.mark.slow)


def parse(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def cells_of(name, kind):
    """The cells of a kind of the notebook that a page shows."""
    notebook = nbformat.read(DOCUMENTS[name], as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def add_output(repository, markup, document="notebooks/02_text.ipynb"):
    """Let the only code cell of a small notebook have put out this markup."""
    notebook = nbformat.read(repository / document, as_version=4)
    output = new_output("execute_result", data={"text/html": markup, "text/plain": ""})
    notebook.cells[1].outputs = [output]
    nbformat.write(notebook, repository / document)


# --- what a page holds ---------------------------------------------------------------------------


def test_every_document_has_a_page_and_nothing_else_is_written(pages):
    assert set(pages) == set(DOCUMENTS)
    assert {path.stem for path in (REPOSITORY / "notebooks").glob("*.ipynb")} == {
        name.removesuffix(".html") for name in NOTEBOOKS
    }


@each_notebook
def test_no_code_and_no_output_is_lost(pages, name):
    cells, page = cells_of(name, "code"), pages[name]
    shown = [block.get_text().rstrip("\n") for block in page.select(".input_area pre")]
    assert shown == [cell.source for cell in cells]
    outputs = [output for cell in cells for output in cell.outputs]
    printed = [block.get_text().strip("\n") for block in page.select(".output_stdout pre")]
    assert printed == [each.text.strip("\n") for each in outputs if each.output_type == "stream"]
    figures = [image["src"].partition(",")[2] for image in page.select(".output img")]
    data = [each.data for each in outputs if "data" in each]
    assert figures == [each["image/png"].replace("\n", "") for each in data if "image/png" in each]
    tables = sum("<table" in each.get("text/html", "") for each in data)
    assert len(page.select("table.dataframe")) == tables


@each_notebook
def test_answers_are_folded_and_whole(pages, name):
    source = "\n".join(cell.source for cell in cells_of(name, "markdown"))
    answers = re.findall(r"<summary>.*?</summary>(.*?)</details>", source, re.DOTALL)
    folds = pages[name]("details")
    assert len(folds) == len(answers) > 0

    def words(text):
        return re.findall(r"\w+", text)

    for fold, answer in zip(folds, answers, strict=True):
        assert not fold.has_attr("open") and fold.summary.get_text() == "An answer"
        fenced = re.sub(r"^```\w*$", "", answer, flags=re.MULTILINE)
        assert words(fold.get_text().removeprefix("An answer")) == words(fenced)


@each_page
def test_a_page_says_what_it_is(pages, name):
    page = pages[name]
    assert page.html["lang"] == "en" and len(page("h1")) == 1
    assert page.title.get_text().startswith(page.h1.get_text())
    (here,) = page.select("header [aria-current=page]")
    assert here["href"] == name
    assert [link["href"] for link in page.select("header a")] == list(DOCUMENTS)
    listed = [(link["href"], link.get_text()) for link in page.select(".contents a")]
    assert listed == [(f"#{heading['id']}", heading.get_text()) for heading in page("h2")]


@each_page
def test_every_link_and_anchor_leads_somewhere(pages, name):
    page = pages[name]
    identities = [element["id"] for element in page.select("[id]")]
    assert len(identities) == len(set(identities))
    links = [link["href"] for link in page("a", href=True)]
    assert links
    for link in links:
        if not link.startswith("https://"):
            target, _, anchor = link.partition("#")
            assert target in {"", *pages}, link
            assert not anchor or pages[target or name].find(id=anchor), link


def test_links_between_documents_lead_to_their_pages(pages):
    def leads(name):
        return {link["href"] for link in pages[name].main("a")}

    assert set(NOTEBOOKS) | {"results.html", "notice.html", "licence.html"} <= leads("index.html")
    assert {"01_features.html", "02_text.html", "04_evaluate.html"} <= leads("03_train.html")


@each_page
def test_a_page_fetches_nothing_and_runs_nothing(pages, name):
    page = pages[name]
    assert page(["script", "link", "iframe", "object", "embed", "base"]) == []
    for element in page.find_all(True):
        assert not [key for key in element.attrs if key.startswith("on")]
        loads = [element[key] for key in LOADS if element.has_attr(key)]
        assert all(value.startswith("data:") for value in loads)
        assert "url(" not in element.get("style", "")
    assert not re.search(r"url\(|@import", page.style.string)
    assert "default-src 'none'" in page.find("meta", attrs={"http-equiv": True})["content"]


@each_page
def test_every_picture_is_part_of_the_page_and_described(pages, name):
    for image in pages[name]("img"):
        assert re.match("data:image/[a-z]+;base64,[A-Za-z0-9+/=]+$", image["src"])
        assert re.match(r"Figure \d+: \S" if name[0] == "0" else r"\w+ \w+ \w+", image["alt"])


def test_no_formula_is_left_to_a_program_that_is_not_there(pages):
    for page in pages.values():
        for code in page(["pre", "code"]):
            code.extract()
        assert not re.search(r"\$[^$]+\$", page.get_text())
    assert [each.get_text() for each in pages["03_train.html"]("math")] == ["p", "−logp"]


@pytest.mark.parametrize(
    ("tex", "shown"),
    [
        (r"-\log p", f"<math><mo>−</mo><mi>log</mi>{SPACE}<mi>p</mi></math>"),
        ("2.5 + x", "<math><mn>2.5</mn><mo>+</mo><mi>x</mi></math>"),
        (r"\frac{1}{2}", r"<code>\frac{1}{2}</code>"),
        (r"\logit x", r"<code>\logit x</code>"),
        ("a &lt; b", "<code>a &lt; b</code>"),
    ],
)
def test_a_formula_is_shown_as_such_or_as_its_tex(tex, shown):
    assert formula(tex) == shown


def test_the_same_notebooks_give_the_same_bytes(folder, tmp_path):
    write_site(tmp_path)
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_the_command_says_where_to_look(small, capsys):
    assert main(["html", str(small / "deep" / "pages")]) == 0
    index = small / "deep" / "pages" / "index.html"
    assert capsys.readouterr().out == f"open in a browser: {index}\n"
    assert parse(index).h1.get_text() == "Of README.md"


def test_headings_of_one_name_have_anchors_of_their_own(small):
    (small / "RESULTS.md").write_text("# Results\n\n## What & why?\n\n## What & why?\n\n## Content")
    write_site(small / "html")
    listed = [link["href"] for link in parse(small / "html" / "results.html").select(".contents a")]
    assert listed[0] == "#what--why" and len({*listed, "#content"}) == 4


def test_a_picture_with_a_link_keeps_it(small):
    source = REPOSITORY / "notebooks" / "images" / "best.png"
    (small / "best.png").write_bytes(source.read_bytes())
    (small / "README.md").write_text("# Title\n\n[![Scenes](best.png)](RESULTS.md)\n")
    write_site(small / "html")
    image = parse(small / "html" / "index.html").img
    assert image["alt"] == "Scenes" and image.find_parent("a")["href"] == "results.html"


# --- refusals ------------------------------------------------------------------------------------


def refused(repository, capsys):
    """The one line that the command says, having written nothing."""
    assert main(["html", str(repository / "html")]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and not (repository / "html").exists()
    return said.err


@pytest.mark.parametrize("document", ["notebooks/03_train.ipynb", "RESULTS.md"])
def test_a_document_that_is_missing_is_named(small, capsys, document):
    (small / document).unlink()
    said = refused(small, capsys)
    assert said.startswith(f"{small / document}: could not be read (No such file")
    assert said.endswith(": fetch it anew from the repository\n")


@pytest.mark.parametrize(
    "content",
    [b"", b"nul", b"[]", b"{}", b'{"cells": 3}', b"[" * 100_000, b"\xff\xfe", b'{"cells": ['],
)
def test_a_broken_notebook_is_named(small, capsys, content):
    path = small / "notebooks" / "04_evaluate.ipynb"
    path.write_bytes(content)
    said = refused(small, capsys)
    assert said.startswith(f"{path}: can't be understood (") and "fetch it anew" in said


def test_a_document_without_a_title_is_named(small, capsys):
    (small / "NOTICE.md").write_text("## No title")
    said = refused(small, capsys)
    assert said.startswith(f"{small / 'NOTICE.md'}: has no title: begin it with")


@pytest.mark.parametrize(
    ("source", "mend"),
    [
        ("gone.png", "put the picture there"),
        ("https://example.org/tracker.png", "put the picture there"),
        ("#", "leave it out"),
        ("../outside.png", "leave it out"),
        ("README.md", "leave it out"),
    ],
)
def test_a_picture_that_cannot_be_part_of_the_page_is_refused(small, capsys, source, mend):
    (small.parent / "outside.png").write_bytes(b"of others")
    (small / "README.md").write_text(f"# Title\n\n![words]({source})\n")
    said = refused(small, capsys)
    assert source.rpartition("/")[2] in said and mend in said


def test_a_picture_may_have_any_name(small):
    (small / "my bäd picture.png").write_bytes(b"a picture")
    (small / "README.md").write_text("# Title\n\n![words](my%20bäd%20picture.png)\n")
    write_site(small / "html")
    assert parse(small / "html" / "index.html").img["src"] == "data:image/png;base64,YSBwaWN0dXJl"


def test_what_acts_by_itself_is_left_out_of_an_output(small):
    acts = ["meta http-equiv=refresh", "base href=x", "form action=x", "iframe src=x", "script"]
    add_output(small, "".join(f"<{each}></{each.split()[0]}>" for each in acts) + "<i>stays</i>")
    write_site(small / "html")
    main_part = parse(small / "html" / "02_text.html").main
    assert main_part.i.get_text() == "stays"
    assert not main_part(["meta", "base", "form", "iframe", "script"])


@pytest.mark.parametrize("text", ["It costs $5 here and $6 there.", "US$ 3 and US$ 4", "$$a+b$$"])
def test_money_is_no_formula(small, text):
    (small / "README.md").write_text(f"# Title\n\n{text}\n")
    write_site(small / "html")
    assert text in parse(small / "html" / "index.html").main.get_text()


# --- in a browser --------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [390, 1400])
@each_page
def test_it_fits_the_window_and_nothing_goes_wrong(browser, folder, name, width):
    browser.open(folder / name, width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    broken = "[...document.images].filter(i => !(i.complete && i.naturalWidth)).length"
    assert browser.run(broken) == 0
    wrong = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    assert [event for event in browser.events if event["method"] in wrong] == []
    asked = [
        e["params"]["request"]["url"] for e in browser.events if "request" in e.get("params", {})
    ]
    assert [url for url in asked if not url.startswith("data:")] == [(folder / name).as_uri()]


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark")])
@pytest.mark.parametrize("name", [each if each in SOME else all_too(each) for each in DOCUMENTS])
def test_it_is_for_everybody(browser, folder, name, width, scheme):
    browser.open(folder / name, width, scheme)
    browser.run("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert browser.accessibility_violations() == []


def test_next_and_previous_lead_through_all_pages_and_back(browser, folder):
    order = list(DOCUMENTS)
    browser.open(folder / order[0])
    for relation, names in (("next", order[1:]), ("prev", order[-2::-1])):
        for name in names:
            browser.follow(f"[rel={relation}]")
            assert browser.run("location.pathname").endswith(f"/{name}")
        assert browser.run(f"document.querySelector('[rel={relation}]')") is None


def test_contents_stand_at_the_side_or_above(browser, folder):
    place = "[...document.querySelectorAll('.contents, h1')].map(e => e.getBoundingClientRect())"
    place += ".map(box => [box.left, box.right, box.top, box.bottom].map(Math.round))"
    browser.open(folder / "03_train.html", 1400)
    contents, title = browser.run(place)
    assert contents[0] >= title[1]
    browser.open(folder / "03_train.html", 390)
    contents, title = browser.run(place)
    assert contents[3] <= title[2]


def test_the_first_key_leads_past_the_links(browser, folder):
    browser.open(folder / "03_train.html")
    browser.press("Tab", 9)
    left = "document.querySelector('.skip:focus').getBoundingClientRect().left"
    assert browser.run(left) == 0
    browser.press("Enter", 13)
    assert browser.run("document.activeElement.id") == "content"


def test_an_answer_unfolds(browser, folder):
    browser.open(folder / "02_text.html")
    seen = "document.querySelector('details p').checkVisibility()"
    assert browser.run(seen) is False
    browser.run("document.querySelector('summary').click()")
    assert browser.run(seen) is True


def test_figures_have_a_white_ground_in_the_dark(browser, folder):
    browser.open(folder / "04_evaluate.html", scheme="dark")
    ground = "getComputedStyle(document.querySelector('{}')).backgroundColor"
    assert browser.run(ground.format(".output img")) == "rgb(255, 255, 255)"
    assert browser.run(ground.format("body")) == "rgb(20, 25, 30)"


def test_what_is_wide_scrolls_in_its_own_box(browser, small):
    cell = "<td>" + "wide" * 99 + "</td>"
    add_output(small, f"<table><tr>{cell}</tr></table>")
    write_site(small / "html")
    browser.open(small / "html" / "02_text.html", 390)
    sizes = "(box => [box.clientWidth, box.scrollWidth])(document.querySelector('.box'))"
    shown, whole = browser.run(sizes)
    assert shown < 390 < whole
    assert browser.run("document.documentElement.scrollWidth") <= 390


def test_scripts_of_an_output_do_not_run(browser, small):
    add_output(small, "<script>window.hacked = 1</script><p onclick='window.hacked = 1'>press</p>")
    write_site(small / "html")
    browser.open(small / "html" / "02_text.html")
    browser.run("document.querySelector('[onclick]').click()")
    assert browser.run("window.hacked") is None
