"""What was trained as one artifact, and back: its kind, its weights, and its eyes if it has any."""

from dataclasses import replace

import numpy as np

from utils.captioners import Ensemble, Sighted, build_captioner
from utils.encoders import open_eyes
from utils.settings import CaptionsError


def to_dict(captioner):
    """What was trained as plain data for the store: what it is, and its weights as arrays."""
    if isinstance(captioner, Ensemble):
        return {
            "members": [part for each in captioner.members for part in to_dict(each)["members"]]
        }
    eyes = {}
    if isinstance(captioner, Sighted):
        eyes = {"encoder": captioner.eyes.name, "eyes": captioner.eyes.get_weights()}
        captioner = captioner.captioner
    weights = {weight.path: np.asarray(weight) for weight in captioner.trainable_weights}
    known = {"channels": captioner.channels, "vocabulary": captioner.vocabulary}
    return {"members": [known | {"weights": weights} | eyes]}


def from_dict(data, settings):
    """The captioner, or the ensemble, that `to_dict` described; it writes with all the bits."""
    exact = replace(settings, precision="float32")
    members = [revived(member, exact) for member in data.get("members", ())]
    if not members:
        raise CaptionsError("captioner.pkl: holds no captioner: run 03_train again")
    return members[0] if len(members) == 1 else Ensemble(members)


def revived(data, settings):
    """One captioner, with its own eyes if it has any."""
    captioner = build_captioner(data["channels"], data["vocabulary"], settings)
    for weight in captioner.trainable_weights:
        if np.shape(data["weights"].get(weight.path)) != tuple(weight.shape):
            raise CaptionsError(f"captioner.pkl: {weight.path} does not fit: run 03_train again")
        weight.assign(data["weights"][weight.path])
    eyes = open_eyes(data, "captioner.pkl", "03_train") if "eyes" in data else None
    return Sighted(eyes, captioner) if eyes else captioner
