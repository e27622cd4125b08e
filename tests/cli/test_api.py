"""The reference of the modules: complete, offline, readable on a phone and in the dark.

Skipped where pdoc is not installed; tests in a browser also where there is none.
"""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tests.chromium import Page
from utils.__main__ import main
from utils.cli import html
from utils.cli.api import FIRST_PAGE, write_api_reference
from utils.errors import CaptionsError
from utils.paths import REPOSITORY

pytest.importorskip("pdoc", reason="pdoc is not installed")
FEW_MODULES = ("utils.errors", "utils.io")
# What a browser loads without a click.
LOADING = "script[src], link[href], img[src], iframe, object, embed"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The reference of two modules, below the folder of the other pages."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.html").touch()
    write_api_reference(folder / "api", FEW_MODULES)
    return folder / "api"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """The browser that all tests of this file share."""
    with Page(tmp_path_factory.mktemp("browser")) as page:
        page.call("Log.enable")
        yield page


def parse(path):
    """The elements of a page."""
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def dead_links(folder):
    """The links of all pages of a folder that lead to no file."""
    dead = []
    for path in folder.rglob("*.html"):
        for link in parse(path)("a", href=True):
            target = link["href"].partition("#")[0]
            if not re.match("https?:", target) and not (path.parent / target).exists():
                dead.append((path.name, target))
    return dead


def test_page_has_the_docstrings(folder):
    page = parse(folder / "utils" / "errors.html")
    assert page.h1.get_text(strip=True) == "utils.errors"
    summary = CaptionsError.__doc__.splitlines()[0]
    assert summary in page.find(id="CaptionsError").get_text()


def test_page_leads_back_to_the_other_pages(folder):
    page = parse(folder / "utils" / "errors.html")
    target = page.find("a", string="All pages")["href"]
    assert (folder / "utils" / target).resolve() == (folder.parent / "index.html").resolve()
    assert dead_links(folder) == []


def test_page_loads_nothing_from_the_network(folder):
    for path in folder.rglob("*.html"):
        for element in parse(path).select(LOADING):
            source = element.get("src") or element.get("href") or ""
            assert not re.match("(https?:)?//", source), element


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1400, "dark")])
def test_page_fits_the_window_and_follows_the_color_scheme(browser, folder, width, scheme):
    browser.open(folder / "utils" / "errors.html", width, scheme)
    assert browser.run("document.documentElement.scrollWidth") <= width
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 25, 30)"}[scheme]
    problems = ("Log.entryAdded", "Runtime.exceptionThrown")
    assert [event for event in browser.events if event["method"] in problems] == []


@pytest.mark.slow
def test_command_writes_a_page_for_every_module(tmp_path, capsys):
    assert main(["html", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"open in a browser: {tmp_path / 'index.html'}\n"
    link = parse(tmp_path / "index.html").find("a", string="API")["href"]
    assert link == f"{html.API_FOLDER}/{FIRST_PAGE}"
    written = {path.relative_to(tmp_path / "api") for path in (tmp_path / "api").rglob("*.html")}
    for path in (REPOSITORY / "utils").rglob("*.py"):
        module = path.relative_to(REPOSITORY).with_suffix(".html")
        if module.stem == "__init__":
            module = module.parent.with_suffix(".html")
        assert module in written or module == Path("utils/__main__.html")
    assert dead_links(tmp_path / "api") == []
