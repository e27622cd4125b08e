"""Minimum-Bayes-risk decoding: of many candidates, the caption that agrees most with the others.

The candidates of a photo are captions that are sampled from the captioner, and the beams of beam
search. The caption with the highest mean CIDEr-D to the other candidates is chosen. The number of
samples and their temperature are chosen on one half of the validation photos, and scored on the
other half.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tests.ablation.experiment import Experiment
from tests.ablation.results import rounded
from tests.ablation.runs import DECODING, PROTOCOL
from tests.json_lines import Row
from tests.page import describe_machine
from utils.config import Config
from utils.data.tokenizer import Tokenizer
from utils.decoding.beam_search import generate, search_beams
from utils.decoding.decoding_loop import compiled_decoder, decode_in_batches, is_finished
from utils.decoding.sampling import sample
from utils.evaluation.metrics import References, cider_d, score

SAMPLES = (20, 50)
TEMPERATURES = (0.5, 0.6, 0.7)
SEED = 1  # of the sampling
BATCH_SIZE = 16  # photos; all samples of a photo are decoded at the same time

Candidates = list[list[str]]  # the candidate captions of each photo


class TemperedCaptioner:
    """A captioner whose logits are divided by a temperature."""

    def __init__(self, captioner: Any, temperature: float):
        self.initial_state = captioner.initial_state
        self.captioner = captioner
        self.temperature = temperature

    def decode_step(self, token_ids: Any, state: Any) -> tuple[Any, Any, Any]:
        """Decode one more token, see `CaptionModel.decode_step`."""
        logits, state, attention_weights = self.captioner.decode_step(token_ids, state)
        return logits / self.temperature, state, attention_weights


class Decoder:
    """Decodes photos of a grid with one captioner.

    Args:
        captioner: The model.
        grid: Features `(photos, cells, channels)`.
        config: Gives beam width and length penalty.
        tokenizer: Decodes the captions.
    """

    def __init__(self, captioner: Any, grid: Any, config: Config, tokenizer: Tokenizer):
        self.captioner = captioner
        self.grid = grid
        self.config = config
        self.tokenizer = tokenizer
        self.tempered = {each: TemperedCaptioner(captioner, each) for each in TEMPERATURES}

    def best_beam(self, rows: np.ndarray) -> list[str]:
        """The caption of beam search for each photo."""
        output = generate(self.captioner, self.grid, self.config, rows=rows)
        return [self.tokenizer.decode(token_ids) for token_ids in output.token_ids]

    def all_beams(self, rows: np.ndarray) -> Candidates:
        """All beams of each photo at the end of the search."""
        graph = compiled_decoder(beam_sequences, self.captioner, self.config)
        return self.texts(decode_in_batches(graph, self.grid, rows).token_ids)

    def samples(self, rows: np.ndarray, count: int, temperature: float) -> Candidates:
        """Captions of each photo that are sampled at a temperature."""
        output = sample(
            self.tempered[temperature],
            self.grid,
            self.config,
            samples=count,
            seed=SEED,
            rows=rows,
            batch_size=BATCH_SIZE,
        )
        return self.texts(output.token_ids)

    def texts(self, token_ids: np.ndarray) -> Candidates:
        """The captions of token IDs `(photos, candidates, max_length)`."""
        texts = []
        for sequences in token_ids:
            texts.append([self.tokenizer.decode(sequence) for sequence in sequences])
        return texts


def beam_sequences(captioner: Any, config: Config, features: Any) -> tuple[Any, Any, Any, Any]:
    """All beams as the tensors of a `GenerationOutput`."""
    outputs = search_beams(captioner, config, features, config.beam_width)
    token_ids, log_probs, attention_weights = outputs
    return token_ids, log_probs, is_finished(token_ids), attention_weights


# === Choice of a caption ===


def choose_captions(beams: Candidates, samples: Candidates, corpus: References) -> list[str]:
    """Of each photo's beams and samples the caption that agrees most with the others.

    Args:
        beams: The beams of each photo.
        samples: The sampled captions of each photo.
        corpus: The captions from which document frequencies are counted.
    """
    chosen: list[str] = []
    for start in range(0, len(beams), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        candidates = [
            [*own, *others] for own, others in zip(beams[part], samples[part], strict=True)
        ]
        best = agreement(candidates, corpus).argmax(axis=1)
        chosen.extend(texts[index] for texts, index in zip(candidates, best, strict=True))
    return chosen


def agreement(candidates: Candidates, corpus: References) -> np.ndarray:
    """The mean CIDEr-D of each candidate, with the other candidates of its photo as references.

    Args:
        candidates: The same number of captions for each photo.
        corpus: The captions from which document frequencies are counted.

    Returns:
        `(photos, candidates)`.
    """
    count = len(candidates[0])
    captions = [caption for texts in candidates for caption in texts]
    photos = np.repeat(np.arange(len(candidates)), count)
    # The mean over all candidates contains the score of a candidate with itself, which is removed.
    _, with_itself = cider_d(captions, References(candidates, corpus), photos)
    _, itself = cider_d(captions, References([[caption] for caption in captions], corpus))
    means = (count * with_itself - itself) / (count - 1)
    return means.reshape(len(candidates), count)


# === Measurement ===


def measure_mbr(experiment: Experiment, name: str, seed: int) -> Row:
    """Choose the settings on half of the validation photos, and score them on the other half.

    Args:
        experiment: Has the photos and the trained run.
        name: The run.
        seed: Its seed.

    Returns:
        A line for the file of results.
    """
    captioner, config, _ = experiment.load_or_train(name, seed)
    config = replace(config, **DECODING[PROTOCOL])
    data = experiment.data
    decoder = Decoder(captioner, data.grid(config), config, data.tokenizer(config))
    corpus = References(data.captions("train"))
    references = data.captions("validation")
    validation = References(references)
    rows = data.rows("validation")
    halves = [slice(0, None, 2), slice(1, None, 2)]
    first, second = [References(references[half], validation) for half in halves]

    # 1. Choose the settings on the first half.
    tried = try_settings(decoder, rows[halves[0]], first, corpus)
    best = max(tried, key=lambda each: each["CIDEr-D"])
    count, temperature = best["samples"], best["temperature"]

    # 2. Score the second half, and compare the costs.
    def decode_mbr(some_rows: np.ndarray) -> list[str]:
        samples = decoder.samples(some_rows, count, temperature)
        return choose_captions(decoder.all_beams(some_rows), samples, corpus)

    beam_captions, beam_seconds = timed(decoder.best_beam, rows[halves[1]])
    mbr_captions, mbr_seconds = timed(decode_mbr, rows[halves[1]])
    return {
        "run": name,
        "seed": seed,
        "encoder": data.config.encoder,
        "pixels": data.encoder_input,
        "tried": tried,
        "samples": count,
        "temperature": temperature,
        "scores": {
            PROTOCOL: rounded(score(beam_captions, second)),
            "MBR": rounded(score(mbr_captions, second)),
        },
        "cost": round(mbr_seconds / beam_seconds, 1),
        "machine": describe_machine(),
        # CIDEr-D of each photo in thousandths
        "beam photos": thousandths(beam_captions, second),
        "photos": thousandths(mbr_captions, second),
    }


def try_settings(
    decoder: Decoder, rows: np.ndarray, references: References, corpus: References
) -> list[dict[str, float]]:
    """The CIDEr-D of beam search and of every combination of settings on some photos."""
    beams = decoder.all_beams(rows)
    tried = []
    for temperature in TEMPERATURES:
        samples = decoder.samples(rows, max(SAMPLES), temperature)
        for count in SAMPLES:
            captions = choose_captions(beams, [texts[:count] for texts in samples], corpus)
            value, _ = cider_d(captions, references)
            settings = {"samples": count, "temperature": temperature}
            tried.append({**settings, "CIDEr-D": round(float(value), 4)})
    return tried


def timed(decode: Callable[[np.ndarray], list[str]], rows: np.ndarray) -> tuple[list[str], float]:
    """Captions and the seconds of CPU time that they took, without compiling the graphs."""
    decode(rows[:1])
    start = time.process_time()
    captions = decode(rows)
    return captions, time.process_time() - start


def thousandths(captions: Sequence[str], references: References) -> list[int]:
    """The CIDEr-D of each photo as a whole number."""
    _, per_photo = cider_d(captions, references)
    return (1000 * per_photo).round().astype(int).tolist()
