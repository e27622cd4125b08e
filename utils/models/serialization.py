"""What was trained as one artifact, and back: its kind, its weights, and its top_blocks if it has any."""

from dataclasses import replace

import numpy as np

from utils.errors import CaptionsError
from utils.models.captioners import build_captioner
from utils.models.ensemble import Ensemble
from utils.models.fine_tuning import EndToEndCaptioner, build_top_blocks


def to_dict(captioner):
    """What was trained as plain data for the store: what it is, and its weights as arrays."""
    if isinstance(captioner, Ensemble):
        return {
            "members": [part for each in captioner.members for part in to_dict(each)["members"]]
        }
    top_blocks = {}
    if isinstance(captioner, EndToEndCaptioner):
        top_blocks = {
            "encoder": captioner.top_blocks.name,
            "top_blocks": captioner.top_blocks.get_weights(),
        }
        captioner = captioner.captioner
    weights = {weight.path: np.asarray(weight) for weight in captioner.trainable_weights}
    known = {"channels": captioner.channels, "vocabulary": captioner.vocabulary}
    return {"members": [known | {"weights": weights} | top_blocks]}


def from_dict(data, config):
    """The captioner, or the ensemble, that `to_dict` described; it writes with all the bits."""
    exact = replace(config, precision="float32")
    members = [member_from_dict(member, exact) for member in data.get("members", ())]
    if not members:
        raise CaptionsError("captioner.pkl: holds no captioner: run 03_train again")
    return members[0] if len(members) == 1 else Ensemble(members)


def member_from_dict(data, config):
    """One captioner, with its own top_blocks if it has any."""
    captioner = build_captioner(data["channels"], data["vocabulary"], config)
    for weight in captioner.trainable_weights:
        if np.shape(data["weights"].get(weight.path)) != tuple(weight.shape):
            raise CaptionsError(f"captioner.pkl: {weight.path} does not fit: run 03_train again")
        weight.assign(data["weights"][weight.path])
    top_blocks = (
        build_top_blocks(data, "captioner.pkl", "03_train") if "top_blocks" in data else None
    )
    return EndToEndCaptioner(top_blocks, captioner) if top_blocks else captioner
