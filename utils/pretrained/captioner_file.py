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
from typing import Any, NamedTuple

import numpy as np

from utils import artifacts
from utils.artifact_specs import ARTIFACTS
from utils.config import Config, parse_value
from utils.data.tokenizer import Tokenizer
from utils.errors import CaptionsError, one_line, os_errors_as_caption_errors
from utils.io import write_atomically
from utils.pretrained.quantization import QuantizedArray, dequantize, quantize

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
    """

    config: Config
    tokenizer: Tokenizer
    captioner: dict[str, Any]
    confidence: dict[str, Any] | None
    path: Path


def load_run(config: Config) -> SavedCaptioner:
    """The captioner of a run; without a confidence if 04_evaluate has not run after 03_train.

    Raises:
        CaptionsError: An artifact is missing, or does not belong to the others.
    """
    tokenizer = Tokenizer.from_dict(artifacts.load("tokenizer", config))
    captioner = artifacts.load("captioner", config)
    confidence = None
    if artifacts.is_current("confidence", config):
        confidence = artifacts.load("confidence", config)
    path = artifacts.artifact_path("captioner", config)
    return SavedCaptioner(config, tokenizer, captioner, confidence, path)


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
        CaptionsError: It is damaged, no such file, or of another version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop(HEADER).tobytes())
        found_format = header["format"]
    except OSError:
        raise
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise CaptionsError(
            f"{path}: not a captioner's file ({one_line(error)}): write it anew with "
            "python -m utils export"
        ) from None
    if found_format != FORMAT:
        raise CaptionsError(
            f"{path}: has format {found_format}, but this is format {FORMAT}: write it anew with "
            "python -m utils export"
        )
    return build_saved(header, arrays, Path(path))


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
    return SavedCaptioner(
        Config(preset, **parsed),
        Tokenizer.from_dict(header["tokenizer"]),
        {"members": members},
        confidence,
        path,
    )


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
    if top_blocks:
        member["encoder"] = described["encoder"]
        member["top_blocks"] = [top_blocks[number] for number in sorted(top_blocks)]
    return member
