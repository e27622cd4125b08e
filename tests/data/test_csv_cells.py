"""No cell is a formula, and every cell can be read back."""

from hypothesis import given
from hypothesis import strategies as st

from utils.data.csv_cells import escape_cell, unescape_cell


@given(st.text() | st.text(alphabet="'=+-@\t\ra1"))
def test_cell_is_no_formula_and_is_read_back(text):
    cell = escape_cell(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert unescape_cell(cell) == text


def test_cell_that_is_no_formula_stays_as_it_is():
    for text in ("a=b.jpg", "'a'", "", "photos/-1.jpg"):
        assert escape_cell(text) == unescape_cell(text) == text
    assert escape_cell("=1+1") == "'=1+1"
