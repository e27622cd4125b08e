"""`python -m tests.ablation.pretrained RUN`: make the pretrained captioner from a trained run.

It fits the confidence on the validation photos, writes `utils/pretrained/captioner.npz`, reads it
back, and measures on the validation photos what the model card states: `scores.json` beside it.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.ablation.__main__ import prepare
from tests.ablation.runs import DECODING, PROTOCOL, RUNS
from utils.config import ENCODER_NAMES
from utils.data.open_photos import find_open_photos
from utils.data.tokenizer import Tokenizer
from utils.decoding.beam_search import generate
from utils.decoding.decoding_loop import GenerationOutput
from utils.evaluation.bootstrap import bootstrap_scores
from utils.evaluation.calibration import expected_calibration_error, roc_auc
from utils.evaluation.confidence import (
    caption_confidence,
    describe_confidence,
    fit_confidence,
)
from utils.evaluation.metrics import References, cider_d, score
from utils.inference import Captioner
from utils.io import write_text
from utils.models.serialization import from_dict, to_dict
from utils.pretrained import PRETRAINED_FILE
from utils.pretrained.captioner_file import SavedCaptioner, read_captioner, save_captioner

SCORES_FILE = PRETRAINED_FILE.with_name("scores.json")
METRICS = ("BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr-D")


class ValidationPhotos:
    """The validation photos, and how a captioner does on them.

    Args:
        experiment: Has the photos and their features.
        config: The configuration of the run.
    """

    def __init__(self, experiment: Any, config: Any):
        data = experiment.data
        self.config = replace(config, **DECODING[PROTOCOL])
        self.grid = data.grid(config)
        self.train_rows = data.rows("train")
        self.rows = data.rows("validation")
        self.references = References(data.captions("validation"))

    def generate(self, model: Any, no_repetition: bool) -> GenerationOutput:
        """The captions of the validation photos."""
        return generate(model, self.grid, self.config, no_repetition=no_repetition, rows=self.rows)

    def score(self, captions: list[str]) -> dict[str, Any]:
        """The scores of captions, with the interval of CIDEr-D."""
        samples = bootstrap_scores(captions, self.references.words)["CIDEr-D"]
        scores = score(captions, self.references)
        result: dict[str, Any] = {name: round(float(scores[name]), 4) for name in METRICS}
        result["interval"] = np.percentile(samples, [2.5, 97.5]).round(4).tolist()
        return result

    def fit(self, model: Any, output: GenerationOutput, scores: np.ndarray) -> dict[str, Any]:
        """The confidence of a captioner."""
        return fit_confidence(model, self.grid, self.train_rows, self.rows, output, scores)


def main() -> None:
    """Read the command line, write the file, and measure."""
    options = parse_options()
    experiment = prepare(options)
    model, config, _ = experiment.load_or_train(options.run, options.seed)
    tokenizer = experiment.data.tokenizer(config)
    photos = ValidationPhotos(experiment, config)

    output = photos.generate(model, no_repetition=True)
    captions = decode(tokenizer, output)
    _, per_photo = cider_d(captions, photos.references)
    confidence = photos.fit(model, output, per_photo)
    saved = SavedCaptioner(photos.config, tokenizer, to_dict(model), confidence, PRETRAINED_FILE)
    save_captioner(PRETRAINED_FILE, saved)

    results = {
        "run": options.run,
        "seed": options.seed,
        "encoder": config.encoder,
        "photos": len(per_photo),
        "bytes": PRETRAINED_FILE.stat().st_size,
        "32 bits": photos.score(decode(tokenizer, photos.generate(model, no_repetition=False))),
        "32 bits, no repetition": photos.score(captions),
        **measure_file(photos),
        "confidence": measure_confidence(photos, model, output, per_photo),
        "open photos": verdicts_on_open_photos(),
    }
    text = json.dumps(results, indent=1)
    write_text(SCORES_FILE, text + "\n")
    print(text)


def parse_options() -> argparse.Namespace:
    """The options of the command line, with those that `prepare` takes."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.ablation.pretrained", description=__doc__
    )
    parser.add_argument("run", choices=RUNS, help="a run; it is trained if it has not been")
    parser.add_argument("--input", default="data", help="the folder of photos and captions")
    parser.add_argument("--working", type=Path, help="the folder of artifacts")
    parser.add_argument("--encoder", default="", choices=ENCODER_NAMES)
    parser.add_argument("--seed", type=int, default=1)
    parser.set_defaults(threads=0, pixels=0)
    return parser.parse_args()


def decode(tokenizer: Tokenizer, output: GenerationOutput) -> list[str]:
    """The texts of generated captions."""
    return [tokenizer.decode(token_ids) for token_ids in output.token_ids]


def measure_file(photos: ValidationPhotos) -> dict[str, Any]:
    """The scores of the captioner in the file, whose weights have 8 bits."""
    saved = read_captioner(PRETRAINED_FILE)
    model = from_dict(saved.captioner, saved.config)
    results = {}
    for name, no_repetition in (("8 bits", False), ("8 bits, no repetition", True)):
        output = photos.generate(model, no_repetition)
        results[name] = photos.score(decode(saved.tokenizer, output))
    return results


def measure_confidence(
    photos: ValidationPhotos, model: Any, output: GenerationOutput, per_photo: np.ndarray
) -> dict[str, Any]:
    """How good the confidence is on photos that it was not fitted on.

    It is fitted on one half of the validation photos and measured on the other, and the other way
    round.
    """
    values = np.zeros(len(per_photo))
    halves = (np.arange(0, len(per_photo), 2), np.arange(1, len(per_photo), 2))
    rows = photos.rows
    for fitted, measured in (halves, halves[::-1]):
        photos.rows = rows[fitted]
        confidence = photos.fit(model, select(output, fitted), per_photo[fitted])
        values[measured] = caption_confidence(
            model, confidence, photos.grid, select(output, measured), rows[measured]
        )
    photos.rows = rows
    good = per_photo >= confidence["good_score"]
    verdicts = [describe_confidence(value) for value in values]
    return {
        "good": round(float(good.mean()), 4),
        "ROC AUC": round(roc_auc(values, good), 4),
        "expected calibration error": round(expected_calibration_error(values, good), 4),
        **{name: verdicts.count(name) / len(verdicts) for name in ("assert", "hedge", "none")},
    }


def select(output: GenerationOutput, rows: np.ndarray) -> GenerationOutput:
    """The captions of some photos."""
    arrays = {name: array[rows] for name, array in vars(output).items()}
    return GenerationOutput(**arrays)


def verdicts_on_open_photos() -> dict[str, str]:
    """What the captioner in the file makes of the photographs with open licenses."""
    found = find_open_photos()
    paths = [photo.path for photo in found]
    rows = Captioner.pretrained().stream(paths, no_repetition=True)
    verdicts = {}
    for photo, row in zip(found, rows, strict=True):
        verdict = describe_confidence(row["confidence"])
        verdicts[photo.name] = f"{verdict} {row['confidence']:.2f}: {row['caption']}"
    return verdicts


if __name__ == "__main__":
    main()
