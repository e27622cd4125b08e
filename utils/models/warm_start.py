"""Warm start: begin training with the weights of an earlier run.

That run may have other data and another vocabulary: a captioner trained on a large data set needs
less of a small one. The setting `start_from` names it: its folder, or the end of that folder's
path under the inputs. With `start_from=pretrained` it is the captioner that is part of this
project; it can also be a file that `python -m utils export` has written.
"""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from utils import artifacts
from utils.config import Config
from utils.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from utils.errors import CaptionsError
from utils.paths import find_pretrained_folders, input_folder, working_folder
from utils.pretrained import PRETRAINED, PRETRAINED_FILE
from utils.pretrained.captioner_file import read_captioner

# Settings that must be those of the earlier run.
SHARED_FIELDS = ("decoder", "units", "embedding_dim", "encoder")


def load_pretrained(config: Config) -> tuple[dict | None, list[str]]:
    """Load the earlier run that `start_from` names.

    Returns:
        The artifact of its captioner and its words; None and no words without `start_from`.

    Raises:
        CaptionsError: There is no such run, or these settings cannot start from it.
    """
    if not config.start_from:
        return None, []
    return read_pretrained(config)


def read_pretrained(config: Config) -> tuple[dict, list[str]]:
    """The captioner's artifact and the words of the run that `start_from` names, once checked."""
    if config.start_from == PRETRAINED or config.start_from.endswith(".npz"):
        is_pretrained = config.start_from == PRETRAINED
        path = PRETRAINED_FILE if is_pretrained else os.path.expanduser(config.start_from)
        saved = read_captioner(path)
        captioner = {"config": vars(saved.config), "data": saved.captioner}
        check_pretrained_config(captioner, config)
        return captioner, saved.tokenizer.to_dict()["vocabulary"]
    folder = find_pretrained_folder(config)
    captioner_path = folder / artifacts.ARTIFACTS["captioner"].file
    tokenizer_path = folder / artifacts.ARTIFACTS["tokenizer"].file
    captioner = artifacts.read_artifact(captioner_path, "captioner")
    tokenizer = artifacts.read_artifact(tokenizer_path, "tokenizer")
    if captioner["parents"].get("tokenizer") != artifacts.fingerprint(tokenizer_path):
        raise CaptionsError(
            f"{captioner_path}: made with another tokenizer.pkl: copy its own into that folder"
        )
    check_pretrained_config(captioner, config)
    return captioner, tokenizer["data"]["vocabulary"]


def find_pretrained_folder(config: Config) -> Path:
    """The one folder that `start_from` names, with a captioner in it."""
    folders = find_pretrained_folders(config)
    if not folders and get_close_matches(config.start_from, [PRETRAINED]):
        raise warm_start_error(
            config, "no folder of that name", f"for the pretrained captioner set it to {PRETRAINED}"
        )
    if len(folders) != 1 or not (folders[0] / "captioner.pkl").is_file():
        raise warm_start_error(
            config,
            f"no captioner.pkl, or several, in folders of that name under {input_folder()}",
            "give the full path of an earlier run's folder",
        )
    folder = folders[0]
    if folder.resolve() == working_folder(config).resolve():
        raise warm_start_error(
            config, "it is the folder that this run writes to", "move the earlier run elsewhere"
        )
    return folder


def check_pretrained_config(captioner: dict, config: Config) -> None:
    """Raise an error if a captioner's artifact was made with settings that do not fit."""
    for name in SHARED_FIELDS:
        saved = str(captioner["config"].get(name))
        current = str(getattr(config, name))
        if current not in (saved, "auto"):
            raise warm_start_error(
                config, f"it has {name}={saved} (now {current})", f"set {name} to {saved}"
            )
    is_fine_tuned = any("top_blocks" in member for member in captioner["data"]["members"])
    if is_fine_tuned and not config.fine_tune_epochs:
        raise warm_start_error(
            config, "its encoder is fine-tuned", "set fine_tune_epochs to 1 or more"
        )


def load_matching_weights(
    captioner: Any,
    backbone_features: dict | None,
    number: int,
    tokenizer: Tokenizer,
    config: Config,
) -> dict | None:
    """Copy the weights of an earlier run into a new captioner, if `start_from` names one.

    A word of both vocabularies keeps its embedding and its bias; a new word keeps those that the
    captioner was built with.

    Args:
        captioner: The captioner that is about to be trained; its weights are changed.
        backbone_features: That artifact's data, or None without fine-tuning.
        number: Which member of an ensemble this is: members start from different members.
        tokenizer: The tokenizer of this run.
        config: The configuration.

    Returns:
        The backbone features, whose top blocks are the earlier run's if it fine-tuned its encoder.

    Raises:
        CaptionsError: The earlier run does not fit.
    """
    if not config.start_from:
        return backbone_features
    artifact, words = read_pretrained(artifacts.resolve_auto(config, "features"))
    members = artifact["data"]["members"]
    member = members[number % len(members)]
    assign_weights(captioner, member["weights"], token_rows(words, tokenizer, config), config)
    if backbone_features is None or "top_blocks" not in member:
        return backbone_features
    return {**backbone_features, "top_blocks": member["top_blocks"]}


def token_rows(words: list[str], tokenizer: Tokenizer, config: Config) -> list[int]:
    """The ID in this run of every token of the earlier one, in its order."""
    missing = [word for word in words if word not in tokenizer.word_to_id]
    if missing:
        raise warm_start_error(
            config, f"it knows {len(missing)} words more than tokenizer.pkl", "run 02_text again"
        )
    special_ids = list(range(len(SPECIAL_TOKENS)))
    return special_ids + [tokenizer.word_to_id[word] for word in words]


def assign_weights(
    captioner: Any, saved_weights: dict[str, Any], rows: list[int], config: Config
) -> None:
    """Assign saved weights by path; those with a row per token only in the given `rows`."""
    for weight in captioner.trainable_weights:
        has_token_rows = weight is captioner.embedding.embeddings or weight is captioner.bias
        saved = saved_weights.get(weight.path)
        array = weight.numpy()
        selected = rows if has_token_rows else slice(None)
        if saved is None or np.shape(saved) != array[selected].shape:
            raise warm_start_error(
                config, f"its {weight.path} has another shape", "name another run"
            )
        array[selected] = saved
        weight.assign(array)


def warm_start_error(config: Config, problem: str, fix: str) -> CaptionsError:
    """An error about the run that `start_from` names."""
    return CaptionsError(f"setting 'start_from={config.start_from}': {problem}: {fix}")
