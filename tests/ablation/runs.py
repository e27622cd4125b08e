"""The configurations: what each changes of the preset `flickr8k`, and after which it goes on.

A change of `beam_width` or `length_power` needs no training: every run is searched in all the ways
of `SEARCHES`. `after` names the run whose captioner it takes over, so that a lever that comes last
is not paid for with the stages before it. `members` names a run of which three, of this seed and
the next two, write together. Photos are shown both ways, unless `mirrored` is false.
"""

SEARCHES = {
    "greedy": {"beam_width": 1},
    "beam 3": {"beam_width": 3},
    "beam 5": {"beam_width": 5},
    "beam 3, length 0": {"beam_width": 3, "length_power": 0.0},
    "beam 3, length 1": {"beam_width": 3, "length_power": 1.0},
}
PROTOCOL = "beam 3"

SHORT = {"epochs": 6}  # enough to tell which of two learns better, not how far it comes
RUNS = {
    "frozen": {},
    "frozen, not mirrored": {"mirrored": False},
    "18 epochs": {"epochs": 18},
    "tuned": {"after": "frozen", "tuning_epochs": 4, "tuning_rate": 3e-4},
    "tuned slowly": {"after": "frozen", "tuning_epochs": 4, "tuning_rate": 1e-4},
    "tuned longer": {"after": "frozen", "tuning_epochs": 8, "tuning_rate": 5e-4},
    "tuned, shorter average": {
        "after": "no average",
        "tuning_epochs": 5,
        "tuning_rate": 5e-4,
        "averaging": 0.99,
    },
    "tuned early": {
        "after": "no average",
        "tuning_epochs": 10,
        "tuning_rate": 7e-4,
        "averaging": 0.998,
    },
    "frozen, on the score": {"after": "frozen", "score_epochs": 3},
    "tuned longer, on the score": {"after": "tuned longer", "score_epochs": 3, "mirrored": False},
    "on the score, both ways": {"after": "tuned longer", "score_epochs": 5},
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
    "smoothing 0": SHORT | {"smoothing": 0.0},
    "smoothing 0.2": SHORT | {"smoothing": 0.2},
    "no average": SHORT | {"averaging": 0.0},
    "shorter average": SHORT | {"averaging": 0.99},
    "words seen twice": SHORT | {"min_count": 2},
    "words seen 8 times": SHORT | {"min_count": 8},
}
