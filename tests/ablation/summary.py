"""The first table of the page of results: this project's captioners among others."""

from itertools import groupby
from typing import NamedTuple

import numpy as np

from tests.ablation.baselines import BASELINES, CONVENTIONS, read_scores
from tests.ablation.results import in_page_order, read_results
from tests.ablation.runs import PROTOCOL
from tests.json_lines import Row
from tests.page import markdown_table

PRESET_RUN = "fine-tuned longer"
PRETRAINED_RUN = "fine-tuned longer, 8 views"  # of the captioner that is part of the project
OWN = "this project"
KERAS = "[danieljl/keras-image-captioning](https://github.com/danieljl/keras-image-captioning)"
KERAS_NAME = "InceptionV3 and LSTM, without its end token"
ADAPTIVE = "[sulabhkatiyar/Adaptive_Att](https://github.com/sulabhkatiyar/Adaptive_Att)"
SPATIAL = "[sulabhkatiyar/Spatial_Att](https://github.com/sulabhkatiyar/Spatial_Att)"
WHERE_IMAGE = (
    "[Tanti, Gatt, Camilleri 2018](https://arxiv.org/abs/1703.09137), "
    "mean of three runs in [its code](https://github.com/mtanti/where-image2)"
)
TOOLKIT = "reference captions, scored with pycocoevalcap"


class System(NamedTuple):
    """A row of the table; `scores` are those of `SUMMARY_METRICS`."""

    name: str
    source: str
    scores: tuple[float, ...]


SUMMARY_METRICS = ("CIDEr-D", "BLEU-4", "ROUGE-L", "BLEU-1")
COLUMNS = ["captioner", *SUMMARY_METRICS, "source"]
# Scores on the 1,000 test photos; training on Flickr8k alone, encoders pretrained on ImageNet.
TEST = (
    System("one human caption against the other four", TOOLKIT, (0.820, 0.214, 0.495, 0.647)),
    System("ResNet-152 fine-tuned, adaptive attention", ADAPTIVE, (0.589, 0.235, 0.476, 0.659)),
    System(
        "**MobileNetV2 fine-tuned, an earlier default**",
        f"{OWN}, measured once",
        (0.582, 0.227, 0.479, 0.648),
    ),
    System("ResNet-152 fine-tuned, spatial attention", SPATIAL, (0.568, 0.234, 0.483, 0.665)),
    System("VGG16, adaptive attention", ADAPTIVE, (0.524, 0.205, 0.457, 0.624)),
    System("VGG16, spatial attention", SPATIAL, (0.497, 0.197, 0.450, 0.622)),
    System("VGG16, init-inject", WHERE_IMAGE, (0.481, 0.191, 0.445, 0.611)),
    System(KERAS_NAME, KERAS, (0.402, 0.183, 0.426, 0.575)),
    System("a constant caption", TOOLKIT, (0.097, 0.088, 0.336, 0.423)),
)


def summary_table() -> str:
    """The tables of both splits, each with the best captioner first."""
    parts = ["Validation photos, on which epochs and settings were chosen:"]
    parts.append(markdown_table(COLUMNS, system_rows(validation_systems())))
    parts.append("Test photos, which no choice has seen:")
    parts.append(markdown_table(COLUMNS, system_rows(list(TEST))))
    return "\n\n".join(parts)


def readme_table() -> str:
    """The short table of the README: a few systems of both splits, the default among them."""
    test = [system for system in TEST if system.source not in (SPATIAL, WHERE_IMAGE)]
    validation = []
    for system in validation_systems():
        if system.name.startswith("**") or not system.source.startswith(OWN):
            validation.append(system)
    rows = [*system_rows(test, "test"), *system_rows(validation, "validation")]
    return markdown_table([COLUMNS[0], "photos", *COLUMNS[1:]], rows)


def system_rows(systems: list[System], *cells: str) -> list[list[str]]:
    """Systems as rows, those with a higher CIDEr-D first; `cells` stand after the name."""
    rows = []
    for system in sorted(systems, key=lambda each: -each.scores[0]):
        scores = [f"{value:.3f}" for value in system.scores]
        rows.append([system.name, *cells, *scores, system.source])
    return rows


def validation_systems() -> list[System]:
    """This project's captioners and the baselines."""
    systems = own_systems(in_page_order(read_results()))
    keras_scores = next(iter(read_scores(CONVENTIONS).values()))
    systems.append(System(KERAS_NAME, f"{KERAS}, scored here", pick(keras_scores)))
    for name, scores in read_scores(BASELINES).items():
        systems.append(System(name, "reference captions, scored here", pick(scores)))
    return systems


def own_systems(rows: list[Row]) -> list[System]:
    """The default, the same with each other encoder, and the run of the pretrained captioner.

    Args:
        rows: Results in the order of the page, which begins with the default encoder.
    """
    groups = []
    for _, group in groupby(rows, lambda row: (row["encoder"], row["pixels"], row["run"])):
        groups.append(list(group))
    presets = {}
    for group in groups:
        if group[0]["run"] == PRESET_RUN:
            presets.setdefault(group[0]["encoder"], group)  # the input with the most runs
    chosen = list(presets.values())
    systems = [own_system(chosen[0], " (the default)")]
    systems += [own_system(group, "") for group in chosen[1:]]
    for group in groups:
        if group[0]["run"] == PRETRAINED_RUN:
            systems.append(own_system(group, " (seed 1 is the pretrained captioner)"))
    return systems


def own_system(rows: list[Row], role: str) -> System:
    """One run with all its seeds; in bold if it has a role."""
    seeds = "seed" if len(rows) == 1 else f"mean of {len(rows)} seeds,"
    seeds = f"{seeds} {', '.join(str(row['seed']) for row in rows)}"
    name = f"{rows[0]['encoder']}, {rows[0]['run']}{role}"
    if role:
        name = f"**{name}**"
    return System(name, f"{OWN}, {seeds}", mean_scores(rows))


def mean_scores(rows: list[Row]) -> tuple[float, ...]:
    """The scores of several seeds of a run, averaged."""
    scores = [pick(row["scores"][PROTOCOL]) for row in rows]
    return tuple(float(value) for value in np.mean(scores, axis=0))


def pick(scores: dict[str, float]) -> tuple[float, ...]:
    """The scores that the table shows."""
    return tuple(scores[metric] for metric in SUMMARY_METRICS)
