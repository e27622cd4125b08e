"""The package that the five notebooks, the commands and the tests share.

In the order in which modules may import each other:

* `errors`, `config`, `paths`, `io`: the error type, the settings, the folders, atomic writes
* `safe_pickle`, `artifacts`, `feature_grids`: files that one notebook saves and a later one loads
* `devices`: accelerators and number formats
* `data`: photos, captions files, splits and the tokenizer
* `sample`: the drawn sample, scenes whose content is known exactly
* `models`: encoders, captioners, ensembles, fine-tuning
* `features`: run an encoder over all photos
* `decoding`: greedy search, beam search and sampling
* `evaluation`: metrics, baselines, confidence intervals, retrieval
* `training`: batches, loss, training step, loop and stages
* `plotting`: figures and the gallery page
* `inference`: photos in, captions out
* `cli`: the commands of `python -m utils`
"""
