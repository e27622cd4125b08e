"""An earlier run to go on from: its captioner has learnt from other data, with other words.

A captioner that has read a large set needs less of a small one. Which run is told by the setting
`start_from`: its folder, or that folder's name at any depth under the inputs.
"""

from pathlib import Path

import numpy as np

from utils import artifacts
from utils.data.tokenizer import SPECIAL_TOKENS
from utils.errors import CaptionsError
from utils.paths import find_pretrained_folders, input_folder, working_folder


def load_pretrained(config):
    """The captioner that this run goes on from, as its artifact, and its words; or None, [].

    It is refused where it can't be gone on from with these settings.
    """
    if not config.start_from:
        return None, []
    folder, *others = find_pretrained_folders(config) or [Path()]
    if others or not (folder / "captioner.pkl").is_file():
        what = f"no captioner.pkl, or not only one, in folders of that name under {input_folder()}"
        raise warm_start_error(config, what, "name the folder of an earlier run in full")
    if folder.resolve() == working_folder(config).resolve():
        raise warm_start_error(
            config, "the files that this run writes anew", "move it elsewhere first"
        )
    paths = {kind: folder / artifacts.ARTIFACTS[kind].file for kind in ("captioner", "tokenizer")}
    captioner, tokenizer = (artifacts.read_artifact(path, kind) for kind, path in paths.items())
    if captioner["parents"].get("tokenizer") != artifacts.fingerprint(paths["tokenizer"]):
        raise CaptionsError(f"{paths['captioner']}: made from another tokenizer.pkl: bring its own")
    for name in ("decoder", "units", "embedding_dim", "encoder"):
        made, now = captioner["config"].get(name), getattr(config, name)
        if str(made) != str(now) != "auto":
            raise warm_start_error(config, f"{name}={made} (now {now})", f"set {name} to that")
    tuned = any("top_blocks" in member for member in captioner["data"]["members"])
    if tuned and not config.fine_tune_epochs:
        raise warm_start_error(config, "a tuned CNN", "set fine_tune_epochs to 1 or more")
    return captioner, tokenizer["data"]["words"]


def load_matching_weights(captioner, frozen, number, tokenizer, config):
    """Give a new captioner what member `number` of the earlier run has learnt; returns its top_blocks.

    These are `frozen`, or where that run tuned the CNN, its last blocks in their place. A word
    that both know keeps its row in the table of words, a new one begins as it was built.
    """
    if not config.start_from:
        return frozen
    artifact, words = load_pretrained(
        artifacts.resolve_auto(config, "features")
    )  # by now auto is decided
    if missing := [word for word in words if word not in tokenizer.word_to_id]:
        raise warm_start_error(config, f"{len(missing)} words more", "run 02_text again")
    members = artifact["data"]["members"]
    member = members[number % len(members)]
    places = [*range(len(SPECIAL_TOKENS)), *(tokenizer.word_to_id[word] for word in words)]
    for weight in captioner.trainable_weights:
        known, array = member["weights"].get(weight.path), weight.numpy()
        by_word = weight is captioner.embed.embeddings or weight is captioner.bias
        rows = places if by_word else slice(None)
        if np.shape(known) != array[rows].shape:
            raise warm_start_error(config, f"another {weight.path}", "name another run")
        array[rows] = known
        weight.assign(array)
    return frozen | {"top_blocks": member["top_blocks"]} if "top_blocks" in member else frozen


def warm_start_error(config, what, mend):
    """An error that says what the earlier run has."""
    return CaptionsError(f"setting 'start_from={config.start_from}': has {what}: {mend}")
