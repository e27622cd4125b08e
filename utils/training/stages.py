"""TODO"""

from dataclasses import replace

from utils import feature_grids
from utils.models.ensemble import Ensemble
from utils.models.fine_tuning import EndToEndCaptioner, attach_top_blocks
from utils.models.warm_start import load_matching_weights
from utils.training.loop import make_validator, train
from utils.training.scst import self_critical_sampler


def train_all(build, features, frozen, pairs, checked, config):
    """Train all that the settings ask for; returns the captioner, and the history of each stage.

    `build(settings)` gives a captioner that has learnt nothing, `frozen` is what 01_features made
    for tuning, `checked` what a `validator` compares with: rows, references and tokenizer. Of
    several members the first one's history is returned. Taught in 03_train.
    """
    members, histories = [], {}
    for number in range(config.ensemble_size):
        own = replace(config, seed=config.seed + number)
        captioner = build(own)
        top_blocks = load_matching_weights(captioner, frozen, number, checked[2], own)
        captioner, stages = train_member(captioner, features, top_blocks, pairs, checked, own)
        members.append(captioner)
        histories = histories or stages
    return Ensemble(members) if len(members) > 1 else members[0], histories


def train_member(captioner, features, frozen, pairs, checked, config):
    """Train one captioner in its stages, each from the best of those before it."""
    if config.fine_tune_epochs:
        captioner, pairs, grid = attach_top_blocks(captioner, frozen, pairs, config)
    else:
        grid = feature_grids.load_grid(features, config)
    validate, histories, best = make_validator(grid, *checked, config), {}, -1.0
    for stage, name in stages_of(config).items():
        before = captioner.get_weights()
        histories[name] = train_stage(stage, captioner, pairs, grid, validate, config)
        reached = max(row["CIDEr-D"] for row in histories[name])
        if reached < best:
            captioner.set_weights(before)
        best = max(best, reached)
    return captioner, histories


def stages_of(config):
    """The stages of a training, in order, with their names for people."""
    first = "warm_start" if config.start_from else "train"
    stages = {"train_end_to_end" if config.fine_tune_epochs else first: config.decoder}
    stages |= {"fine_tune": "tuned"} if config.fine_tune_epochs else {}
    return stages | ({"scst": "on the score"} if config.scst_epochs else {})


def train_stage(stage, captioner, pairs, grid, validate, config):
    """`train` with what is learned in a stage, for how long and how fast."""
    course, lesson = config, None
    if isinstance(captioner, EndToEndCaptioner):
        captioner.set_encoder_trainable(stage == "fine_tune")
    if stage == "fine_tune":
        course = {
            "epochs": config.fine_tune_epochs,
            "learning_rate": config.fine_tune_learning_rate,
        }
        course = replace(config, **course)
    if stage == "scst":
        course = {"epochs": config.scst_epochs, "learning_rate": config.scst_learning_rate}
        course = replace(config, label_smoothing=0.0, **course)
        lesson = self_critical_sampler(captioner, config, pairs[1])
    return train(captioner, pairs, grid, validate, config, stage, lesson, course)
