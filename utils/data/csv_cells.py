"""Cells of a CSV file that a spreadsheet must not take for a formula.

A spreadsheet runs a cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return, and a
file may have any name. An apostrophe before it makes the cell text.
"""

import re

FORMULA = r"[=+\-@\t\r]"


def escape_cell(text: str) -> str:
    """The content of a cell, with an apostrophe before what would be a formula."""
    # Text that begins with an apostrophe and a formula gets a second one: `unescape_cell` removes
    # exactly one.
    return f"'{text}" if re.match(f"'*{FORMULA}", text) else text


def unescape_cell(text: str) -> str:
    """What `escape_cell` was given."""
    return text[1:] if re.match(f"'+{FORMULA}", text) else text
