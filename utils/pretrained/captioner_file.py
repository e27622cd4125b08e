"""A captioner with all that it needs in one `.npz` file, without pickle.

The file has the weights of the decoder and of the encoder's fine-tuned top blocks, the vocabulary,
the configuration, and what the confidence of a caption is computed from. It does not have the
pretrained encoder below the top blocks, which is loaded as in training. The weights are stored in
8 bits, so that the file has a quarter of the size of `captioner.pkl`.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from utils import artifacts
from utils.artifact_specs import ARTIFACTS
from utils.config import Config, parse_value
from utils.data.tokenizer import Tokenizer
from utils.errors import CaptionsError, one_line, os_errors_as_caption_errors, program_name
from utils.io import write_atomically
from utils.paths import find_input, require_identical
from utils.pretrained import PRETRAINED, PRETRAINED_FILE
from utils.pretrained.quantization import QuantizedArray, dequantize, quantize

PRETRAINED_FIX = (
    "restore it from the repository, or on Kaggle attach what `python -m utils kaggle dataset` "
    "has written"
)
FORMAT = 1
HEADER = "header"  # JSON: all that is no array
SCALES = ":scales"  # the suffix of the scales of a quantized array


class SavedCaptioner(NamedTuple):
    """The contents of a captioner's file.

    Attributes:
        config: The configuration of the run.
        tokenizer: Its tokenizer.
        captioner: What `serialization.to_dict` returns.
        confidence: The artifact `confidence`, or None.
        path: The file of the model.
        confidence_problem: Why there is none, or only that of the pretrained captioner.
    """

    config: Config
    tokenizer: Tokenizer
    captioner: dict[str, Any]
    confidence: dict[str, Any] | None
    path: Path
    confidence_problem: str = ""


def load_run(config: Config) -> SavedCaptioner:
    """The captioner of a run, with its confidence if that can be used.

    Raises:
        CaptionsError: An artifact is missing, or does not belong to the others.
    """
    tokenizer = Tokenizer.from_dict(artifacts.load("tokenizer", config))
    captioner = artifacts.load("captioner", config)
    confidence, problem = load_confidence(config, "top_blocks" in captioner["members"][0])
    path = artifacts.artifact_path("captioner", config)
    return SavedCaptioner(config, tokenizer, captioner, confidence, path, problem)


def load_confidence(config: Config, is_fine_tuned: bool) -> tuple[dict[str, Any] | None, str]:
    """The confidence of a run's captioner, or None; and what is the matter with it, if anything.

    A captioner that was trained further from the pretrained one, and whose own confidence has a
    problem (`find_problem`), keeps that of the pretrained one. It is not calibrated for the new
    captioner, but it still says which photos are unlike those that the pretrained one has seen.

    Args:
        config: The configuration of the run.
        is_fine_tuned: Whether its captioner takes backbone features, as the pretrained one does.
    """
    path = artifacts.find("confidence", config)
    if not path:
        return None, "run 04_evaluate first"
    if not artifacts.is_current("confidence", config):
        return None, f"{path}: of another captioner or damaged: run 04_evaluate again"
    confidence = artifacts.load("confidence", config)
    problem = confidence.get("problem")
    if not problem:
        return confidence, ""
    if config.start_from == PRETRAINED and is_fine_tuned and PRETRAINED_FILE.is_file():
        confidence = read_captioner(PRETRAINED_FILE).confidence
        note = "the confidence is that of the pretrained captioner, not the run's own"
        return confidence, f"{note} ({path.name}: {problem})"
    return None, f"{path}: {problem}"


def save_captioner(path: Path | str, saved: SavedCaptioner, bits: int = 8) -> None:
    """Write a captioner's file; the same contents give the same bytes.

    Args:
        path: The file.
        saved: Its contents.
        bits: Of the weights: 8, or 32 for full precision.
    """
    arrays: dict[str, Any] = {}
    members = []
    for number, member in enumerate(saved.captioner["members"]):
        members.append({key: member[key] for key in ("channels", "vocab_size")})
        members[-1]["encoder"] = member.get("encoder")
        for name, weight in member_weights(member).items():
            add_weight(arrays, f"members/{number}/{name}", weight, bits)
    header = {
        "format": FORMAT,
        "config": settings_to_save(saved.config),
        "tokenizer": saved.tokenizer.to_dict(),
        "members": members,
        "confidence": None,
    }
    if saved.confidence:
        scalars = {}
        for name, value in saved.confidence.items():
            if isinstance(value, np.ndarray):
                add_weight(arrays, f"confidence/{name}", value, bits)
            else:
                scalars[name] = value
        header["confidence"] = scalars
    text = json.dumps(header, ensure_ascii=False)
    arrays[HEADER] = np.frombuffer(text.encode(), np.uint8)
    write_atomically(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def settings_to_save(config: Config) -> dict[str, Any]:
    """The settings that affect a captioner and its captions; paths of this machine stay here."""
    settings: dict[str, Any] = {}
    for kind in artifacts.ancestors("predictions"):
        for name in ARTIFACTS[kind].config_fields:
            settings[name] = getattr(config, name)
    del settings["start_from"]
    return settings


def member_weights(member: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The weights of one captioner and of its top blocks, by name."""
    named = {f"weights/{path}": weight for path, weight in member["weights"].items()}
    for number, weight in enumerate(member.get("top_blocks", ())):
        named[f"top_blocks/{number}"] = weight
    return named


def add_weight(arrays: dict[str, Any], name: str, weight: np.ndarray, bits: int) -> None:
    """Add an array to those of a file; one with a single axis, such as a bias, stays exact."""
    if bits == 8 and np.ndim(weight) > 1:
        arrays[name], arrays[name + SCALES] = quantize(weight)
    else:
        arrays[name] = np.asarray(weight)


@os_errors_as_caption_errors()
def read_captioner(path: Path | str) -> SavedCaptioner:
    """Read a captioner's file.

    Raises:
        CaptionsError: It is missing, damaged, no such file, or of another version.
    """
    path = Path(path)
    fix = f"write it anew with {program_name()} export"
    if path == PRETRAINED_FILE:
        fix = PRETRAINED_FIX
    if path == PRETRAINED_FILE and not path.is_file():
        attached = find_attached()
        if not attached:
            raise CaptionsError(f"{path}: not found: {fix}")
        path = attached
    try:
        with open(path, "rb") as file:
            arrays = read_arrays(file)
        header = json.loads(arrays.pop(HEADER).tobytes())
        if header["format"] == FORMAT:
            return build_saved(header, arrays, path)
    except (OSError, CaptionsError):
        raise
    except Exception as error:  # a damaged file, or another one, can fail in any way
        problem = f"{type(error).__name__}: {one_line(error)}"
        raise CaptionsError(f"{path}: not a captioner's file ({problem}): {fix}") from None
    raise CaptionsError(
        f"{path}: has format {header['format']}, but this is format {FORMAT}: {fix}"
    )


def find_attached() -> Path | None:
    """The pretrained captioner among the inputs, for notebooks that do not contain it."""
    folder, name = PRETRAINED_FILE.parts[-2:]
    return require_identical([path for path in find_input(name) if path.parent.name == folder])


def read_arrays(file: IO[bytes]) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file.

    Raises:
        ValueError: It is no such file.
    """
    if not zipfile.is_zipfile(file):
        raise ValueError("no .npz archive")
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def build_saved(
    header: dict[str, Any], arrays: dict[str, np.ndarray], path: Path
) -> SavedCaptioner:
    """The contents of a file from its header and its arrays."""
    settings = dict(header["config"])
    preset = str(settings.pop("preset"))
    parsed = {name: parse_value(name, value) for name, value in settings.items()}
    members = []
    for number, described in enumerate(header["members"]):
        members.append(build_member(described, restore_weights(arrays, f"members/{number}/")))
    confidence = header["confidence"]
    if confidence is not None:
        confidence.update(restore_weights(arrays, "confidence/"))
        check_confidence(confidence)
    return SavedCaptioner(
        Config(preset, **parsed),
        Tokenizer.from_dict(header["tokenizer"]),
        {"members": members},
        confidence,
        path,
        "" if confidence else "saved without one",
    )


def check_confidence(confidence: dict[str, Any]) -> None:
    """Raise a ValueError if parts of the data of a confidence are missing, or do not fit."""
    expected = {"coefficients": (3,), "signal_means": (2,), "signal_stds": (2,)}
    for name, shape in expected.items():
        if confidence[name].shape != shape:
            raise ValueError(f"confidence/{name} has shape {confidence[name].shape}, not {shape}")
    if confidence["reference_features"].ndim != 2 or confidence["mean_input"].ndim != 2:
        raise ValueError("confidence/reference_features or confidence/mean_input has no axes")
    if confidence["validation_distances"].ndim != 1:
        raise ValueError("confidence/validation_distances has no axes")


def restore_weights(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with a prefix."""
    weights = {}
    for name, array in arrays.items():
        if not name.startswith(prefix) or name.endswith(SCALES):
            continue
        if name + SCALES in arrays:
            array = dequantize(QuantizedArray(array, arrays[name + SCALES]))
        weights[name.removeprefix(prefix)] = array
    return weights


def build_member(described: dict[str, Any], weights: dict[str, np.ndarray]) -> dict[str, Any]:
    """One captioner as `serialization.member_from_dict` takes it."""
    member: dict[str, Any] = {
        "channels": described["channels"],
        "vocab_size": described["vocab_size"],
        "weights": {},
    }
    top_blocks = {}
    for name, weight in weights.items():
        kind, _, path = name.partition("/")
        if kind == "weights":
            member["weights"][path] = weight
        else:
            top_blocks[int(path)] = weight
    if described["encoder"]:
        member["encoder"] = described["encoder"]
        member["top_blocks"] = [top_blocks[number] for number in sorted(top_blocks)]
    return member
