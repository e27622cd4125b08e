"""An earlier run to go on from: its captioner has learnt from other data, with other words.

A captioner that has read a large set needs less of a small one. Which run is told by the setting
`start_from`: its folder, or that folder's name at any depth under the inputs.
"""

import os
from pathlib import Path

import numpy as np

from utils import store
from utils.settings import CaptionsError, find_input


def earlier_run(settings):
    """The captioner that this run goes on from, as its artifact, and its words; or None, []."""
    if not settings.start_from:
        return None, []
    folder = folder_of(settings.start_from)
    paths = {kind: folder / store.KINDS[kind].file for kind in ("captioner", "tokenizer")}
    captioner, tokenizer = (store.read_artifact(path, kind) for kind, path in paths.items())
    if captioner["parents"].get("tokenizer") != store.fingerprint(paths["tokenizer"]):
        raise CaptionsError(f"{paths['captioner']}: made from another tokenizer.pkl: bring its own")
    return captioner, tokenizer["data"]["words"]


def folder_of(name):
    """The folder that `start_from` names."""
    path = Path(os.path.expanduser(name))
    found = [file.parent for file in find_input("captioner.pkl") if file.parent.match(name)]
    if path.is_absolute() or not found:
        found = [path]
    if not (found[0] / "captioner.pkl").is_file():
        raise CaptionsError(
            f"setting 'start_from={name}': holds no captioner.pkl: name the folder of an earlier "
            "run, in full or as it is called under the inputs"
        )
    return found[0]


def take_over(captioner, frozen, number, tokenizer, settings):
    """Give a new captioner what member `number` of the earlier run has learnt; returns its eyes.

    These are `frozen`, or where that run tuned the CNN, its last blocks in their place. A word
    that both know keeps its row in the table of words, a new one begins as it was built.
    """
    artifact, words = earlier_run(settings)
    if not artifact:
        return frozen
    now, made = store.settled(settings, "features"), artifact["settings"]
    for name in store.KINDS["features"].settings:
        if str(made.get(name)) != str(getattr(now, name)):
            raise refusal(settings, f"{name}={made.get(name)}", f"set {name} to that")
    if missing := [word for word in words if word not in tokenizer.numbers]:
        raise refusal(settings, f"{len(missing)} words more", "run 02_text again")
    members = artifact["data"]["members"]
    member = members[number % len(members)]
    if "eyes" in member and not frozen:
        raise refusal(settings, "a tuned CNN", "set tuning_epochs to 1 or more")
    places = [*range(4), *(tokenizer.numbers[word] for word in words)]
    for weight in captioner.trainable_weights:
        known, array = member["weights"].get(weight.path), weight.numpy()
        by_word = weight is captioner.embed.embeddings or weight is captioner.bias
        rows = places if by_word else slice(None)
        if np.shape(known) != array[rows].shape:
            raise refusal(settings, f"another {weight.path}", "set captioner, units, embedding")
        array[rows] = known
        weight.assign(array)
    return frozen | {"eyes": member["eyes"]} if "eyes" in member else frozen


def refusal(settings, what, mend):
    """An error that says what the earlier run has."""
    return CaptionsError(f"setting 'start_from={settings.start_from}': has {what}: {mend}")
