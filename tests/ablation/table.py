"""The tables of all runs and their figure, for the page of results."""

import hashlib
from itertools import groupby

from tests.ablation.results import (
    RESULTS,
    Key,
    Row,
    compare,
    find_baseline,
    in_page_order,
    is_short,
    read_results,
    run_label,
)
from tests.ablation.runs import PROTOCOL, RUNS
from tests.page import markdown_table
from utils.plotting.charts import plot_bars

FIGURE = RESULTS.with_suffix(".png")
COLUMNS = [
    "run",
    "what is different",
    "CIDEr-D",
    "compared with",
    "difference",
    "p",
    "BLEU-4",
    "ROUGE-L",
    "greedy",
    "beam 5",
    "CPU minutes",
]
NUMBER_COLUMNS = 9


def table_row(row: Row, results: dict[Key, Row]) -> list[str]:
    """A run as a row of the table, cell by cell."""
    scores = row["scores"]
    best = scores[PROTOCOL]
    low, high = row["interval"]
    changes = ", ".join(f"{key} {value}" for key, value in RUNS[row["run"]].items())
    baseline = find_baseline(row, results)
    baseline_name = difference = p_value = ""
    if baseline:
        baseline_name = baseline["run"]
        if baseline["pixels"] != row["pixels"]:
            baseline_name += f", {baseline['pixels']}"
        difference, p_value = compare(row["photos"], baseline["photos"])
    return [
        run_label(row),
        changes or "the preset's first stage",
        f"**{best['CIDEr-D']:.3f}** ({low:.3f} to {high:.3f})",
        baseline_name,
        difference,
        p_value,
        f"{best['BLEU-4']:.3f}",
        f"{best['ROUGE-L']:.3f}",
        f"{scores['greedy']['CIDEr-D']:.3f}",
        f"{scores['beam 5']['CIDEr-D']:.3f}",
        cpu_minutes(row),
    ]


def cpu_minutes(row: Row) -> str:
    """The CPU minutes of a run's last stage, or a bound where some epochs were not measured."""
    if not row.get("CPU minutes"):
        return ""
    bound = "" if row.get("complete", True) else "> "
    return f"{bound}{row['CPU minutes']:.0f}"


def run_table() -> str:
    """All runs that have a result: a section per encoder, and a table per input of the encoder."""
    results = read_results()
    sections = []
    for encoder, rows in groupby(in_page_order(results), lambda row: row["encoder"]):
        parts = [f"### Encoder {encoder}"]
        for pixels, rows_of_input in groupby(rows, lambda row: row["pixels"]):
            lines = [table_row(row, results) for row in rows_of_input]
            parts.append(f"Input of the CNN: {pixels} pixels per side.")
            parts.append(markdown_table(COLUMNS, lines, NUMBER_COLUMNS))
        sections.append("\n\n".join(parts))
    return "\n\n".join(sections)


def draw() -> None:
    """Draw a bar with its interval for each run, with each encoder's input that has most runs.

    The file carries a fingerprint of the results, so that a test can tell whether it is up to date
    without drawing it again, which differs between releases of Matplotlib.
    """
    rows = []
    for _, rows_of_encoder in groupby(in_page_order(read_results()), lambda row: row["encoder"]):
        of_encoder = list(rows_of_encoder)
        rows += [row for row in of_encoder if row["pixels"] == of_encoder[0]["pixels"]]
    rows.sort(key=lambda row: row["scores"][PROTOCOL]["CIDEr-D"], reverse=True)
    encoders = {row["encoder"] for row in rows}
    scores = {}
    intervals = {}
    for row in rows:
        label = run_label(row)
        if is_short(row["run"]) and row["run"] != "six epochs":
            label += ", six epochs"
        if len(encoders) > 1:
            label += f", {row['encoder']}"
        scores[label] = row["scores"][PROTOCOL]["CIDEr-D"]
        intervals[label] = row["interval"]
    best = next(iter(scores))
    figure = plot_bars(scores, f"CIDEr-D, {PROTOCOL}, 1,000 photos", intervals, best)
    figure.set_size_inches(9, 0.28 * len(scores) + 0.9)  # many bars with long names
    figure.axes[0].margins(y=0.01)
    figure.savefig(FIGURE, dpi=120, metadata={"Description": results_fingerprint()})


def results_fingerprint() -> str:
    """A fingerprint of all results."""
    return hashlib.sha256(RESULTS.read_bytes()).hexdigest()
