"""Run the scripts of the notebooks in the process of the tests, one after the other.

That takes seconds for a small data set, where five kernels would take a minute: functions run
without being compiled, and the two models that are the same for every data set are built once.
"""

import runpy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import matplotlib.pyplot as plt
import pytest
import tensorflow as tf

from utils.inference import Captioner
from utils.models import efficientnet_lite
from utils.paths import REPOSITORY

SCRIPTS = REPOSITORY / "notebooks" / "scripts"
NAMES = ("01_features", "02_text", "03_train", "04_evaluate", "05_visualize")

# A small model, which is trained for one epoch, and short captions.
TINY = (
    "encoder=sample_cnn,units=8,embedding_dim=8,epochs=1,fine_tune_epochs=0,min_count=1,"
    "beam_width=2,max_length=5"
)

build_model = efficientnet_lite.build_efficientnet_lite
build_classifier = cache(partial(build_model, head=True))
load_pretrained = cache(Captioner.pretrained)


def build_once(*arguments: Any, head: bool = False, **options: Any) -> Any:
    """Build a CNN of the EfficientNet-Lite family; the classifiers, which nobody changes, once."""
    if head:
        return build_classifier(*arguments, **options)
    return build_model(*arguments, **options)


@contextmanager
def fast_scripts() -> Iterator[pytest.MonkeyPatch]:
    """Until the end, functions run without being compiled, and two models are built only once.

    They are the classifier of notebook 1 and the pretrained captioner of notebook 5.
    """
    tf.config.run_functions_eagerly(True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(efficientnet_lite, "build_efficientnet_lite", build_once)
        patch.setattr(Captioner, "pretrained", load_pretrained)
        patch.delenv("CAPTIONS_PRESET", raising=False)
        patch.setenv("CAPTIONS_SET", TINY)
        patch.chdir(SCRIPTS.parent)
        yield patch
    tf.config.run_functions_eagerly(False)


def run_scripts(names: Iterable[str] = NAMES) -> None:
    """Run the scripts of some notebooks, within `fast_scripts`."""
    for name in names:
        runpy.run_path(str(SCRIPTS / f"{name}.py"))
        plt.close("all")
