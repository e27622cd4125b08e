"""The configurations: what each changes of the preset `flickr8k`, and after which it goes on.

A change of `beam_width` or `length_penalty` needs no training: every run is searched in all the ways
of `SEARCHES`. `after` names the run whose captioner it takes over, so that a lever that comes last
is not paid for with the stages before it. `members` names a run of which three, of this seed and
the next two, write together. Photos are shown both ways, unless `mirrored` is false.
"""

SEARCHES = {
    "greedy": {"beam_width": 1},
    "beam 3": {"beam_width": 3},
    "beam 5": {"beam_width": 5},
    "beam 3, length 0": {"beam_width": 3, "length_penalty": 0.0},
    "beam 3, length 1": {"beam_width": 3, "length_penalty": 1.0},
}
PROTOCOL = "beam 3"

SHORT = {"epochs": 6}  # enough to tell which of two learns better, not how far it comes
RUNS = {
    "frozen": {},
    "frozen, not mirrored": {"mirrored": False},
    "18 epochs": {"epochs": 18},
    "tuned": {"after": "frozen", "fine_tune_epochs": 4, "fine_tune_learning_rate": 3e-4},
    "tuned slowly": {"after": "frozen", "fine_tune_epochs": 4, "fine_tune_learning_rate": 1e-4},
    "tuned longer": {"after": "frozen", "fine_tune_epochs": 8, "fine_tune_learning_rate": 5e-4},
    "tuned, shorter average": {
        "after": "no average",
        "fine_tune_epochs": 5,
        "fine_tune_learning_rate": 5e-4,
        "ema_momentum": 0.99,
    },
    "tuned early": {
        "after": "no average",
        "fine_tune_epochs": 10,
        "fine_tune_learning_rate": 7e-4,
        "ema_momentum": 0.998,
    },
    "frozen, on the score": {"after": "frozen", "scst_epochs": 3},
    "tuned longer, on the score": {"after": "tuned longer", "scst_epochs": 3, "mirrored": False},
    "on the score, both ways": {"after": "tuned longer", "scst_epochs": 5},
    "frozen, ensemble of 3": {"members": "frozen"},
    "tuned longer, ensemble of 3": {"members": "tuned longer"},
    "on the score, ensemble of 3": {"members": "tuned longer, on the score"},
    "six epochs": SHORT,
    "merge": SHORT | {"captioner": "merge"},
    "inject": SHORT | {"captioner": "inject"},
    "transformer": SHORT | {"captioner": "transformer", "units": 256},
    "width 256": SHORT | {"units": 256},
    "width 384": SHORT | {"units": 384},
    "dropout 0.3": SHORT | {"dropout": 0.3},
    "dropout 0.6": SHORT | {"dropout": 0.6},
    "smoothing 0": SHORT | {"label_smoothing": 0.0},
    "smoothing 0.2": SHORT | {"label_smoothing": 0.2},
    "no average": SHORT | {"ema_momentum": 0.0},
    "shorter average": SHORT | {"ema_momentum": 0.99},
    "words seen twice": SHORT | {"min_count": 2},
    "words seen 8 times": SHORT | {"min_count": 8},
}
