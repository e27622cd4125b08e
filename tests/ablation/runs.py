"""The runs: what each changes in the preset `flickr8k`, and which run it continues.

A change of `beam_width` or `length_penalty` needs no training: every run is decoded with all
entries of `DECODING`. `after` names the run whose captioner a run starts from, so that a stage
that comes last does not repeat the stages before it. `ensemble_of` names a run of which three, with
this seed and the next two, form an ensemble. Training photos are also shown mirrored, unless
`mirrored` is false. With `views: 8` every epoch shows one of eight views of each photo: the whole
photo, one of three random crops, or the mirror image of one of these four: the setting `crops`
is 3.
"""

from typing import Any

DECODING: dict[str, dict[str, Any]] = {
    "greedy": {"beam_width": 1},
    "beam 3": {"beam_width": 3},
    "beam 5": {"beam_width": 5},
    "beam 3, length 0": {"beam_width": 3, "length_penalty": 0.0},
    "beam 3, length 1": {"beam_width": 3, "length_penalty": 1.0},
}
PROTOCOL = "beam 3"

# Enough epochs to compare how fast two configurations learn, not how far they get.
SHORT: dict[str, Any] = {"epochs": 6}
# As many epochs of fine-tuning as the preset has.
LONG: dict[str, Any] = {"fine_tune_epochs": 8, "fine_tune_learning_rate": 5e-4}
RUNS: dict[str, dict[str, Any]] = {
    "frozen": {},
    "frozen, not mirrored": {"mirrored": False},
    "18 epochs": {"epochs": 18},
    "frozen, dropout 0.3": {"dropout": 0.3},
    "frozen, dropout 0.4": {"dropout": 0.4},
    "frozen, EMA 0.99": {"ema_momentum": 0.99},
    "frozen, EMA 0.995": {"ema_momentum": 0.995},
    "fine-tuned": {
        "after": "frozen",
        "fine_tune_epochs": 4,
        "fine_tune_learning_rate": 3e-4,
    },
    "fine-tuned, lower rate": {
        "after": "frozen",
        "fine_tune_epochs": 4,
        "fine_tune_learning_rate": 1e-4,
    },
    "fine-tuned longer": {"after": "frozen", **LONG},
    "fine-tuned longer, rate 0.0003": {
        "after": "frozen",
        **LONG,
        "fine_tune_learning_rate": 3e-4,
    },
    "fine-tuned longer, rate 0.0008": {
        "after": "frozen",
        **LONG,
        "fine_tune_learning_rate": 8e-4,
    },
    "fine-tuned longer, dropout 0.3": {"after": "frozen, dropout 0.3", **LONG},
    "fine-tuned longer, dropout 0.4": {"after": "frozen, dropout 0.4", **LONG},
    "fine-tuned longer, EMA 0.99": {"after": "frozen, EMA 0.99", **LONG},
    "fine-tuned longer, 8 views": {"after": "frozen", **LONG, "views": 8},
    "fine-tuned longer, 8 views, 16 epochs": {
        "after": "frozen",
        **LONG,
        "fine_tune_epochs": 16,
        "views": 8,
    },
    "4 epochs, EMA 0.99": {"epochs": 4, "ema_momentum": 0.99},
    "fine-tuned longer after 4 epochs": {"after": "4 epochs, EMA 0.99", **LONG},
    "fine-tuned 4 after 4 epochs": {
        "after": "4 epochs, EMA 0.99",
        **LONG,
        "fine_tune_epochs": 4,
    },
    "fine-tuned, shorter EMA": {
        "after": "no EMA",
        "fine_tune_epochs": 5,
        "fine_tune_learning_rate": 5e-4,
        "ema_momentum": 0.99,
    },
    "fine-tuned early": {
        "after": "no EMA",
        "fine_tune_epochs": 10,
        "fine_tune_learning_rate": 7e-4,
        "ema_momentum": 0.998,
    },
    "frozen, SCST": {"after": "frozen", "scst_epochs": 3},
    "fine-tuned longer, SCST": {
        "after": "fine-tuned longer",
        "scst_epochs": 3,
        "mirrored": False,
    },
    "no EMA, SCST": {"after": "no EMA", "scst_epochs": 3, "mirrored": False},
    "SCST, mirrored": {"after": "fine-tuned longer", "scst_epochs": 5},
    "frozen, ensemble of 3": {"ensemble_of": "frozen"},
    "fine-tuned longer, ensemble of 3": {"ensemble_of": "fine-tuned longer"},
    "SCST, ensemble of 3": {"ensemble_of": "fine-tuned longer, SCST"},
    "six epochs": SHORT,
    "merge": {**SHORT, "decoder": "merge"},
    "merge, 12 epochs": {"decoder": "merge"},
    "inject": {**SHORT, "decoder": "inject"},
    "transformer": {**SHORT, "decoder": "transformer", "units": 256},
    "width 256": {**SHORT, "units": 256},
    "width 384": {**SHORT, "units": 384},
    "dropout 0.3": {**SHORT, "dropout": 0.3},
    "dropout 0.6": {**SHORT, "dropout": 0.6},
    "label smoothing 0": {**SHORT, "label_smoothing": 0.0},
    "label smoothing 0.2": {**SHORT, "label_smoothing": 0.2},
    "no EMA": {**SHORT, "ema_momentum": 0.0},
    "shorter EMA": {**SHORT, "ema_momentum": 0.99},
    "min_count 2": {**SHORT, "min_count": 2},
    "min_count 8": {**SHORT, "min_count": 8},
}
