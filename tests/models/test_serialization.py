"""Captioners and ensembles survive the way through plain data; what does not fit is refused."""

from dataclasses import replace

import numpy as np
import pytest

from tests.models.small_captioner import CONFIG, build, random_inputs
from utils.errors import CaptionsError
from utils.models.captioners import CAPTIONERS
from utils.models.ensemble import Ensemble
from utils.models.serialization import from_dict, to_dict

ATTENTION = replace(CONFIG, decoder="attention")


@pytest.mark.parametrize("decoder", CAPTIONERS)
def test_restored_captioner_gives_the_same_logits(decoder):
    config = replace(CONFIG, decoder=decoder)
    captioner = build(decoder)
    inputs = random_inputs()
    data = to_dict(captioner)
    build(decoder, seed=5)  # building another model must not change the paths of weights
    restored = from_dict(data, config)
    np.testing.assert_allclose(restored(inputs), captioner(inputs), atol=1e-6)


def test_restored_ensemble_gives_the_same_log_probabilities():
    ensemble = Ensemble([build("attention", seed=seed) for seed in (1, 2, 3)])
    inputs = random_inputs()
    data = to_dict(ensemble)
    assert len(data["members"]) == 3
    restored = from_dict(data, ATTENTION)
    np.testing.assert_allclose(restored(inputs), ensemble(inputs), atol=1e-5)


def test_weights_of_another_shape_are_refused():
    data = to_dict(build("attention"))
    wider = replace(ATTENTION, units=ATTENTION.units + 1)
    message = r"captioner.pkl: .*/image_projection/kernel does not fit: run 03_train again"
    with pytest.raises(CaptionsError, match=message):
        from_dict(data, wider)


def test_artifact_without_captioner_is_refused():
    with pytest.raises(CaptionsError, match="captioner.pkl: holds no captioner: run 03_train"):
        from_dict({"weights": {}}, CONFIG)
