"""Features in 8 bits instead of float16: half the disk, and what it costs in CIDEr-D.

A captioner that was trained on float16 features captions the validation photos from these, and from
the same features rounded to 8 bits, with one scale for each channel, as the weights of the
pretrained captioner are stored.

`python -m tests.ablation.feature_bits RUN --input PHOTOS --working FOLDER` prints the scores.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np


def in_eight_bits(grid: np.ndarray) -> np.ndarray:
    """A grid `(photos, cells, channels)` after rounding to 8 bits, in float16.

    The scales are those of channels, so there must be more channels than photos or cells.
    """
    from utils.pretrained.quantization import dequantize, quantize

    quantized = quantize(grid)
    assert quantized.scales.shape == (1, 1, grid.shape[2])
    return dequantize(quantized).astype(np.float16)


def measure_bits(experiment: Any, name: str, seed: int) -> dict[str, Any]:
    """The scores of a trained run from float16 and from 8-bit features.

    Args:
        experiment: Has the photos and the trained run.
        name: The run.
        seed: Its seed.
    """
    from tests.ablation.results import rounded
    from utils.decoding.beam_search import generate
    from utils.evaluation.bootstrap import bootstrap_scores
    from utils.evaluation.metrics import References, score
    from utils.feature_grids import read_rows

    captioner, config, _ = experiment.load_or_train(name, seed)
    data = experiment.data
    tokenizer = data.tokenizer(config)
    references = References(data.captions("validation"))
    grid = read_rows(data.grid(config), data.rows("validation"))
    result: dict[str, Any] = {"run": name, "seed": seed}
    captions = {}
    samples = {}
    for label, features in {"float16": grid, "8 bits": in_eight_bits(grid)}.items():
        output = generate(captioner, features, config, progress=False)
        captions[label] = [tokenizer.decode(token_ids) for token_ids in output.token_ids]
        samples[label] = bootstrap_scores(captions[label], references.words)["CIDEr-D"]
        result[label] = rounded(score(captions[label], references))
    same = [first == second for first, second in zip(*captions.values(), strict=True)]
    result["same captions"] = round(float(np.mean(same)), 4)
    differences = samples["8 bits"] - samples["float16"]
    result["interval"] = np.percentile(differences, [2.5, 97.5]).round(4).tolist()
    return result


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.ablation.feature_bits")
    parser.add_argument("run", help="the name of a trained run")
    parser.add_argument("--input", default="data", help="the folder of photos and captions")
    parser.add_argument("--working", type=Path, help="the folder of artifacts")
    parser.add_argument("--encoder", default="")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ.update({"CAPTIONS_INPUT": options.input, "CAPTIONS_PRESET": "flickr8k"})
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    from tests.ablation.experiment import Experiment

    experiment = Experiment(options.working, options.encoder)
    experiment.require_trained(options.run, options.seed)
    print(json.dumps(measure_bits(experiment, options.run, options.seed)))


if __name__ == "__main__":
    main()
