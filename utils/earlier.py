"""An earlier run to go on from: its captioner has learnt from other data, with other words.

A captioner that has read a large set needs less of a small one. Which run is told by the setting
`start_from`: its folder, or that folder's name at any depth under the inputs.
"""

from pathlib import Path

import numpy as np

from utils import store
from utils.settings import CaptionsError, earlier_folders, input_folder, working_folder
from utils.text import SPECIAL


def earlier_run(settings):
    """The captioner that this run goes on from, as its artifact, and its words; or None, [].

    It is refused where it can't be gone on from with these settings.
    """
    if not settings.start_from:
        return None, []
    folder, *others = earlier_folders(settings) or [Path()]
    if others or not (folder / "captioner.pkl").is_file():
        what = f"no captioner.pkl, or not only one, in folders of that name under {input_folder()}"
        raise refusal(settings, what, "name the folder of an earlier run in full")
    if folder.resolve() == working_folder(settings).resolve():
        raise refusal(settings, "the files that this run writes anew", "move it elsewhere first")
    paths = {kind: folder / store.KINDS[kind].file for kind in ("captioner", "tokenizer")}
    captioner, tokenizer = (store.read_artifact(path, kind) for kind, path in paths.items())
    if captioner["parents"].get("tokenizer") != store.fingerprint(paths["tokenizer"]):
        raise CaptionsError(f"{paths['captioner']}: made from another tokenizer.pkl: bring its own")
    for name in ("captioner", "units", "embedding", "encoder"):
        made, now = captioner["settings"].get(name), getattr(settings, name)
        if str(made) != str(now) != "auto":
            raise refusal(settings, f"{name}={made} (now {now})", f"set {name} to that")
    tuned = any("eyes" in member for member in captioner["data"]["members"])
    if tuned and not settings.tuning_epochs:
        raise refusal(settings, "a tuned CNN", "set tuning_epochs to 1 or more")
    return captioner, tokenizer["data"]["words"]


def take_over(captioner, frozen, number, tokenizer, settings):
    """Give a new captioner what member `number` of the earlier run has learnt; returns its eyes.

    These are `frozen`, or where that run tuned the CNN, its last blocks in their place. A word
    that both know keeps its row in the table of words, a new one begins as it was built.
    """
    if not settings.start_from:
        return frozen
    artifact, words = earlier_run(store.settled(settings, "features"))  # by now auto is decided
    if missing := [word for word in words if word not in tokenizer.numbers]:
        raise refusal(settings, f"{len(missing)} words more", "run 02_text again")
    members = artifact["data"]["members"]
    member = members[number % len(members)]
    places = [*range(len(SPECIAL)), *(tokenizer.numbers[word] for word in words)]
    for weight in captioner.trainable_weights:
        known, array = member["weights"].get(weight.path), weight.numpy()
        by_word = weight is captioner.embed.embeddings or weight is captioner.bias
        rows = places if by_word else slice(None)
        if np.shape(known) != array[rows].shape:
            raise refusal(settings, f"another {weight.path}", "name another run")
        array[rows] = known
        weight.assign(array)
    return frozen | {"eyes": member["eyes"]} if "eyes" in member else frozen


def refusal(settings, what, mend):
    """An error that says what the earlier run has."""
    return CaptionsError(f"setting 'start_from={settings.start_from}': has {what}: {mend}")
