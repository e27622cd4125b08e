"""The terms of the field: bold where the series uses them first, and in the glossary.

Only prose counts: headings, code, formulas, link targets, diagrams and folded answers do not. The
opening of a notebook and its glossary announce or repeat terms, so a term may be used there before
it is defined.
"""

import re

import jupytext
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from utils.paths import REPOSITORY

SCRIPTS = sorted((REPOSITORY / "notebooks" / "scripts").glob("[0-9][0-9]_*.py"))
MIN_TERMS = 28
# Each term, as a regular expression for the forms in which prose uses it.
TERMS = {
    "token": "tokens?",
    "vocabulary": "vocabular(?:y|ies)",
    "embedding": "embeddings?",
    "mask": "masks?",
    "padding": "padding",
    "BOS": "BOS",
    "EOS": "EOS",
    "encoder": "encoders?",
    "decoder": "decoders?",
    "feature map": "feature maps?",
    "channel": "channels?",
    "receptive field": "receptive fields?",
    "transfer learning": "transfer learning",
    "fine-tuning": "fine-tuning",
    "logits": "logits?",
    "softmax": "softmax",
    "cross-entropy": "cross-entropy",
    "perplexity": "perplexity",
    "gradient": "gradients?",
    "teacher forcing": "teacher forcing",
    "overfitting": "overfit(?:s|ting)?",
    "dropout": "dropout",
    "label smoothing": "label smoothing",
    "exponential moving average": "exponential moving averages?",
    "query": "quer(?:y|ies)",
    "key": "keys?",
    "value": "values?",
    "context vector": "context vectors?",
    "beam search": "beam search",
    "TF-IDF": "TF-IDF",
}
# Words of everyday language, too: pixels have values before attention has any. They must be bold
# somewhere, but not where they occur first.
ORDINARY = {"key", "value", "query", "mask"}
# Abbreviations are not the same words in lower case.
CASE_SENSITIVE = {"BOS", "EOS", "TF-IDF"}
GLOSSARY_HEADING = "## Glossary"
OPENING_HEADING = "# "  # of the first level: the title


def prose(markdown):
    """The running text of a markdown cell, with its bold markers."""
    text = re.sub(r"^(```|~~~).*?^\1", "", markdown, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)
    text = re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL)
    text = re.sub(r"^#+ .*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\[[^\]]+\]: .*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]*`", "", text)
    text = re.sub(r"\$[^$\n]+\$", "", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return " ".join(text.split())


def bold_ranges(text):
    """Where a text is bold, as pairs of first and last position."""
    return [match.span() for match in re.finditer(r"\*\*.+?\*\*", text)]


def occurrences(text, term):
    """For each occurrence of a term in prose, whether it is bold."""
    flags = 0 if term in CASE_SENSITIVE else re.IGNORECASE
    pattern = re.compile(rf"(?<![\w-]){TERMS[term]}(?![\w-])", flags)
    ranges = bold_ranges(text)
    found = []
    for match in pattern.finditer(text):
        found.append(any(start <= match.start() < end for start, end in ranges))
    return found


def markdown_cells(notebook):
    """The markdown cells of a notebook, the opening first, without the glossary."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and not cell.source.startswith(GLOSSARY_HEADING):
            yield cell.source


def glossary_of(notebooks):
    """The terms of the glossary, in lower case, with the notebook that each names."""
    entries = {}
    for notebook in notebooks:
        for cell in notebook.cells:
            if cell.cell_type == "markdown" and cell.source.startswith(GLOSSARY_HEADING):
                for term, number in re.findall(r"^- \*\*(.+?)\*\* \((\d)\): ", cell.source, re.M):
                    entries[term.lower()] = int(number)
    return entries


def bold_terms(markdown):
    """The terms that a cell has in bold, in lower case; of "average (EMA)", both names."""
    terms = set()
    text = prose(markdown)
    for start, end in bold_ranges(text):
        term, _, abbreviation = text[start:end].strip("*[].").lower().partition(" (")
        terms |= {term, abbreviation.strip("])")}
    return terms - {""}


def find_glossary_problems(notebooks):
    """Entries of the glossary that are not bold first in the notebook that they name."""
    first = {}
    for number, notebook in enumerate(notebooks, start=1):
        for source in markdown_cells(notebook):
            for term in bold_terms(source):
                first.setdefault(term, number)
    problems = []
    for term, number in glossary_of(notebooks).items():
        introduced = first.get(term, first.get(f"{term}s"))
        if introduced != number:
            problems.append(f"{term}: the glossary says {number}, bold first in {introduced}")
    return problems


def find_first_uses(notebooks):
    """For each term that occurs in prose, the notebook (from 1) and whether its use is bold.

    It is the first use; before it, those in the opening of a notebook are skipped that are not
    bold. Of an ordinary word it is the first bold use, if there is one.
    """
    first_uses = {}
    for number, notebook in enumerate(notebooks, start=1):
        for source in markdown_cells(notebook):
            text = prose(source)
            opening = source.startswith(OPENING_HEADING)
            for term in TERMS:
                for bold in occurrences(text, term):
                    known = first_uses.get(term)
                    first = known is None and (bold or not opening)
                    defines = known and term in ORDINARY and bold and not known[1]
                    if first or defines:
                        first_uses[term] = (number, bold)
    return first_uses


def find_problems(notebooks, min_terms=MIN_TERMS):
    """What is wrong with the terms of a series of notebooks."""
    first_uses = find_first_uses(notebooks)
    glossary = glossary_of(notebooks)
    problems = []
    if len(first_uses) < min_terms:
        problems.append(f"only {len(first_uses)} of {len(TERMS)} terms occur in prose")
    for term, (number, bold) in first_uses.items():
        entry = glossary.get(term.lower())
        if not bold:
            problems.append(f"{term}: not bold where notebook {number} uses it first")
        if entry is None:
            problems.append(f"{term}: missing in the glossary")
        elif bold and entry != number:
            problems.append(f"{term}: introduced in notebook {number}, the glossary says {entry}")
    return problems


def test_terms_are_bold_at_first_use_and_in_the_glossary():
    assert find_problems([jupytext.read(script) for script in SCRIPTS]) == []


def test_entries_of_the_glossary_are_bold_in_the_notebook_that_they_name():
    assert find_glossary_problems([jupytext.read(script) for script in SCRIPTS]) == []


def test_glossary_has_an_order_and_no_term_twice():
    source = SCRIPTS[-1].read_text(encoding="utf-8").partition(GLOSSARY_HEADING)[2]
    entries = re.findall(r"^# - \*\*(.+?)\*\* \((\d)\): (.)", source, re.MULTILINE)
    names = [name.lower() for name, _, _ in entries]
    assert names == sorted(set(names))
    assert {int(number) for _, number, _ in entries} == {1, 2, 3, 4, 5}


# === The check itself ===

OPENING = "# Title\n\n**You will learn** about tokens.\n\n```text\ntoken -> mask\n```"
DEFINITION = "A **token** is a word. Tokens are counted.\n\n$$\\text{mask}$$"
GLOSSARY = "## Glossary\n\n- **mask** (2): ones and zeros.\n- **token** (1): a word."


def make_series(first=DEFINITION, second="A **mask** hides PAD tokens.", glossary=GLOSSARY):
    """Two notebooks with two of the terms."""
    return [
        new_notebook(
            cells=[
                new_markdown_cell(OPENING),
                new_code_cell("gradient = 1  # beam search"),
                new_markdown_cell(first),
            ]
        ),
        new_notebook(cells=[new_markdown_cell(second), new_markdown_cell(glossary)]),
    ]


def test_series_without_problems():
    assert find_problems(make_series(), min_terms=2) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"first": "Tokens are words. A **token** is one."}, "token: not bold where notebook 1"),
        ({"first": "## A **token**\n\nA token is a word."}, "token: not bold where notebook 1"),
        ({"second": "A mask hides tokens."}, "mask: not bold where notebook 2"),
        ({"second": "A **mask**. The gradient is 0."}, "gradient: not bold where notebook 2"),
        ({"glossary": "## Glossary\n\n- **token** (1): a word."}, "mask: missing in the glossary"),
        ({"glossary": GLOSSARY.replace("(2)", "(3)")}, "in notebook 2, the glossary says 3"),
        ({"first": "`token`", "second": "A **mask**."}, "only 1 of 30 terms"),
    ],
)
def test_problem_is_found(changes, problem):
    assert problem in " ".join(find_problems(make_series(**changes), min_terms=2))


def test_wrong_entry_of_the_glossary_is_found():
    assert find_glossary_problems(make_series()) == []
    both_names = make_series(second="the [**token mask (mask)**](https://example.org)")
    assert find_glossary_problems(both_names) == []
    assert find_glossary_problems(make_series(second="No mask.")) == [
        "mask: the glossary says 2, bold first in None"
    ]
    assert find_glossary_problems(make_series(glossary=GLOSSARY.replace("(1)", "(2)"))) == [
        "token: the glossary says 2, bold first in 1"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Text\n\n```python\nmask = 1\n```\n\nafter",
        "`mask` and $mask$",
        "[here](https://example.org/mask)",
        "<details><summary>Hint</summary>\n\nA mask.\n</details>",
        "### A mask",
        "unmasked, mask-like and gas-mask",
    ],
)
def test_what_is_not_prose_is_no_use_of_a_term(text):
    assert occurrences(prose(text), "mask") == []


def test_link_text_and_bold_links_are_prose():
    text = prose("the [**mask**](https://example.org) and **padding\nmasks**, a mask")
    assert occurrences(text, "mask") == [True, True, False]
