"""The table of minimum-Bayes-risk decoding for the page of results."""

from pathlib import Path

from tests.ablation.results import compare, interval, run_label
from tests.ablation.runs import PROTOCOL
from tests.json_lines import Row, read_rows
from tests.page import markdown_table

MBR_RESULTS = Path(__file__).with_name("mbr.jsonl")
COLUMNS = [
    "encoder",
    "run",
    "samples",
    "temperature",
    PROTOCOL,
    "MBR",
    "difference",
    "p",
    f"BLEU-4, {PROTOCOL}",
    "BLEU-4, MBR",
    "cost",
]


def mbr_table() -> str:
    """The measured runs, the last measurement of each, as a table."""
    rows = {(row["run"], row["seed"], row["encoder"]): row for row in read_rows(MBR_RESULTS)}
    if not rows:
        return "Not measured yet."
    return markdown_table(COLUMNS, [mbr_row(row) for row in rows.values()], 9)


def mbr_row(row: Row) -> list[str]:
    """A measurement as a row of the table, cell by cell."""
    beam_scores = row["scores"][PROTOCOL]
    mbr_scores = row["scores"]["MBR"]
    difference, p_value = compare(row["photos"], row["beam photos"])
    return [
        f"{row['encoder']}, {row['pixels']}",
        run_label(row),
        str(row["samples"]),
        f"{row['temperature']}",
        f"{beam_scores['CIDEr-D']:.3f}",
        f"**{mbr_scores['CIDEr-D']:.3f}** {interval(row['photos'])}",
        difference,
        p_value,
        f"{beam_scores['BLEU-4']:.3f}",
        f"{mbr_scores['BLEU-4']:.3f}",
        f"{row['cost']:.0f}",
    ]
