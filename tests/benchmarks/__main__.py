"""`python -m tests.benchmarks [TOPIC ...]`: a table of the measurements of all or some topics."""

import argparse
import importlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.page import SPEED_PAGE, describe_machine, markdown_table, replace_section

# The topics, one module each, in the order of the page, and their headings.
TITLES = {
    "features": "Feature extraction",
    "training": "Training",
    "decoding": "Decoding",
    "caption": "Captioning photos, and the gallery",
    "metrics": "Metrics",
    "growth": "How cost and memory grow with the photos",
}
TOPICS = list(TITLES)


def main() -> None:
    """Measure, and print each row as soon as it is known."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"of {', '.join(TOPICS)}")
    parser.add_argument("--page", action="store_true", help="write the table into SPEED.md, too")
    options = parser.parse_args()
    topics = options.topics or TOPICS
    if unknown := set(topics) - set(TOPICS):
        parser.error(f"unknown topic: {', '.join(sorted(unknown))}")
    print(describe_machine())
    parts = [f"Measured on {describe_machine()}."]
    for topic in topics:
        module = importlib.import_module(f"tests.benchmarks.{topic}")
        rows = []
        for what, value, goal in module.measure():
            print(f"{topic:10} {what:62} {value:>12}   goal: {goal}", flush=True)
            rows.append([what, value, goal])
        parts.append(f"### {TITLES[topic]}")
        parts.append(markdown_table(["what", "measured", "goal"], rows, 2))
    if options.page:
        replace_section("bench", "\n\n".join(parts), SPEED_PAGE)


if __name__ == "__main__":
    main()
