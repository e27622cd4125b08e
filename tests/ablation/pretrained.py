"""`python -m tests.ablation.pretrained RUN`: make the pretrained captioner from a trained run.

It fits the confidence on the validation photos, writes `utils/pretrained/captioner.npz`, reads it
back, and measures on the validation photos what the tables of the model card state.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.ablation.__main__ import prepare
from tests.ablation.runs import DECODING, PROTOCOL, RUNS
from tests.page import markdown_table, replace_section
from utils.config import ENCODER_NAMES, Config
from utils.data.open_photos import find_open_photos
from utils.data.tokenizer import Tokenizer
from utils.decoding.beam_search import generate
from utils.decoding.decoding_loop import GenerationOutput
from utils.evaluation.bootstrap import bootstrap_scores
from utils.evaluation.calibration import expected_calibration_error, roc_auc
from utils.evaluation.confidence import (
    describe_confidence,
    fit_confidence,
)
from utils.evaluation.metrics import References, cider_d, score
from utils.inference import Captioner
from utils.models.serialization import from_dict, to_dict
from utils.pretrained import MODEL_CARD, PRETRAINED_FILE
from utils.pretrained.captioner_file import SavedCaptioner, read_captioner, save_captioner

VERDICTS = {"assert": "stated", "hedge": "*Possibly*", "none": "no confident description"}


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

    def score_row(self, model: Any, tokenizer: Tokenizer, no_repetition: bool = True) -> list[str]:
        """The scores of a captioner as cells of a table, CIDEr-D with its interval."""
        captions = decode(tokenizer, self.generate(model, no_repetition))
        samples = bootstrap_scores(captions, self.references.words)["CIDEr-D"]
        low, high = np.percentile(samples, [2.5, 97.5])
        scores = score(captions, self.references)
        interval = f"{scores['CIDEr-D']:.3f} ({low:.3f} to {high:.3f})"
        return [interval, *(f"{scores[name]:.3f}" for name in ("BLEU-4", "BLEU-1", "ROUGE-L"))]

    def fit(self, model: Any, output: GenerationOutput, scores: np.ndarray) -> dict[str, Any]:
        """The confidence of a captioner."""
        bound = Config("flickr8k").good_score
        good = scores >= bound
        fitted = fit_confidence(model, self.grid, self.train_rows, self.rows, output, good)
        return {**fitted, "good_score": bound}


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

    score_rows = [
        ["weights of 32 bits", *photos.score_row(model, tokenizer, no_repetition=False)],
        ["weights of 32 bits, no repetition", *photos.score_row(model, tokenizer)],
        *score_file(photos),
    ]
    size = f"{PRETRAINED_FILE.stat().st_size / 1e6:.1f} MB, {len(tokenizer):,} tokens"
    print(f"{PRETRAINED_FILE}: {size}", file=sys.stderr)
    header = ["", "CIDEr-D", "BLEU-4", "BLEU-1", "ROUGE-L"]
    replace_section("scores", markdown_table(header, score_rows, 4), MODEL_CARD)
    confidence_rows = measure_confidence(confidence)
    replace_section("confidence", markdown_table(["", ""], confidence_rows, 1), MODEL_CARD)
    header = ["photograph", "caption", "confidence", ""]
    replace_section("photos", markdown_table(header, describe_open_photos()), MODEL_CARD)


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


def score_file(photos: ValidationPhotos) -> list[list[str]]:
    """The scores of the captioner in the file, whose weights have 8 bits."""
    saved = read_captioner(PRETRAINED_FILE)
    model = from_dict(saved.captioner, saved.config)
    return [
        ["this file, 8 bits", *photos.score_row(model, saved.tokenizer, no_repetition=False)],
        ["**this file, no repetition** (`caption`)", *photos.score_row(model, saved.tokenizer)],
    ]


def measure_confidence(confidence: dict[str, Any]) -> list[list[str]]:
    """How good the confidence is, on validation photos that it was not fitted on."""
    values = confidence["validation_confidence"]
    good = confidence["validation_good"]
    error = expected_calibration_error(values, good)
    rows = [
        ["captions that are good", f"{good.mean():.1%}"],
        ["area under the ROC curve", f"{roc_auc(values, good):.3f}"],
        ["expected calibration error", f"{error:.3f}"],
    ]
    verdicts = np.array([describe_confidence(value) for value in values])
    for verdict, text in VERDICTS.items():
        chosen = verdicts == verdict
        rows.append([f"{text}: captions", f"{chosen.mean():.1%}"])
        rows.append([f"{text}: good ones among them", f"{good[chosen].mean():.1%}"])
    return rows


def describe_open_photos() -> list[list[str]]:
    """What the captioner in the file makes of the photographs with open licenses."""
    found = find_open_photos()
    rows = Captioner.pretrained().stream([photo.path for photo in found], no_repetition=True)
    table = []
    for photo, row in zip(found, rows, strict=True):
        verdict = VERDICTS[describe_confidence(row["confidence"])]
        table.append([photo.title, row["caption"], f"{row['confidence']:.2f}", verdict])
    return table


if __name__ == "__main__":
    main()
