"""Trained captioners as plain data for an artifact, and back."""

from dataclasses import replace
from typing import Any

import numpy as np

from utils.config import Config
from utils.errors import CaptionsError
from utils.models.captioners import build_captioner
from utils.models.ensemble import Ensemble
from utils.models.fine_tuning import EndToEndCaptioner, build_top_blocks, load_top_blocks


def to_dict(captioner: Any) -> dict:
    """A captioner or an ensemble as plain data, with its weights as arrays."""
    members = captioner.members if isinstance(captioner, Ensemble) else [captioner]
    return {"members": [member_to_dict(member) for member in members]}


def from_dict(
    data: dict, config: Config, top_blocks: Any = None, file: str = "captioner.pkl"
) -> Any:
    """The captioner or the ensemble that `to_dict` described; it computes in full precision.

    Args:
        data: What `to_dict` returned.
        config: The configuration of the run.
        top_blocks: The model that gets the weights of the encoder's top blocks, instead of a new
            one.
        file: Where the data come from, for the error message.

    Raises:
        CaptionsError: There is no captioner in it, or one that does not fit the configuration.
    """
    full_precision = replace(config, precision="float32")
    members = []
    for member in data.get("members", ()):
        members.append(member_from_dict(member, full_precision, top_blocks, file))
    if not members:
        raise CaptionsError(f"{file}: holds no captioner: run 03_train again")
    return members[0] if len(members) == 1 else Ensemble(members)


def member_to_dict(captioner: Any) -> dict:
    """One captioner as plain data, with the encoder's top blocks if it has them."""
    if isinstance(captioner, EndToEndCaptioner):
        return {
            **member_to_dict(captioner.captioner),
            "encoder": captioner.top_blocks.name,
            "top_blocks": captioner.top_blocks.get_weights(),
        }
    return {
        "channels": captioner.channels,
        "vocab_size": captioner.vocab_size,
        "weights": {weight.path: np.asarray(weight) for weight in captioner.trainable_weights},
    }


def member_from_dict(
    data: dict, config: Config, top_blocks: Any = None, file: str = "captioner.pkl"
) -> Any:
    """One captioner, with the encoder's top blocks if it was saved with them."""
    captioner = build_captioner(data["channels"], data["vocab_size"], config)
    for weight in captioner.trainable_weights:
        saved = data["weights"].get(weight.path)
        if np.shape(saved) != tuple(weight.shape):
            raise CaptionsError(f"{file}: {weight.path} does not fit: run 03_train again")
        weight.assign(saved)
    if "top_blocks" not in data:
        return captioner
    if top_blocks is None:
        top_blocks = build_top_blocks(data, file, "03_train")
    else:
        load_top_blocks(top_blocks, data, file, "03_train")
    return EndToEndCaptioner(top_blocks, captioner)
