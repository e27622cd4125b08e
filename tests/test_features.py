"""Features: pictures are cut and resized as said, the head is off, files come in their order."""

import keras
import numpy as np
import pytest
from PIL import Image

from utils.features import ENCODERS, build_encoder, extract, find_encoder, read_pixels
from utils.settings import CaptionsError
from utils.tiny import WEIGHTS, build_tiny


@pytest.fixture(scope="module")
def tiny():
    return build_encoder("tiny")


def save(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


def test_the_middle_square_is_kept_and_not_squeezed(tmp_path):
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = 255  # the middle square is white, all around it is black
    pixels = read_pixels(str(save(tmp_path / "wide.png", wide)), 20).numpy()
    assert pixels.shape == (20, 20, 3) and (pixels > 254).all()


def test_a_picture_of_the_right_size_is_left_as_it_is(tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_allclose(
        read_pixels(str(save(tmp_path / "as_is.png", pixels)), 32), pixels, atol=1e-3
    )


def test_the_grid_has_cells_and_every_cell_looks_at_its_own_part(tiny):
    _, cells, channels = tiny.output_shape
    side = int(cells**0.5)
    assert side**2 == cells and side >= 6 and channels >= 64
    pixels = np.full((2, 224, 224, 3), 128, np.float32)
    pixels[1, :30, :30] = 255  # a change in the upper left corner
    before, after = tiny(pixels).numpy().reshape(2, side, side, channels)
    changed = np.abs(before - after).sum(axis=-1)
    assert changed[0, 0] > 0 and changed[-1, -1] == pytest.approx(0, abs=1e-3)


def test_the_tiny_encoder_is_tiny_and_frozen(tiny):
    assert tiny.count_params() <= 500_000
    assert WEIGHTS.stat().st_size <= 1_000_000
    assert not tiny.trainable_weights


def test_the_tiny_encoders_file_is_what_it_computes_with():
    model = build_tiny()
    with np.load(WEIGHTS) as arrays:
        assert {variable.path for variable in model.variables} == set(arrays.files)
        for variable in model.variables:
            np.testing.assert_array_equal(np.asarray(variable), arrays[variable.path])


def test_chunks_come_in_order_and_do_not_depend_on_their_size(tmp_path, tiny):
    chance = np.random.RandomState(0)
    paths = [
        save(tmp_path / f"{n}.png", chance.randint(0, 256, (60, 60, 3), np.uint8)) for n in range(5)
    ]
    (whole,) = extract(paths, tiny, "tiny", batch=5)
    parts = list(extract(paths, tiny, "tiny", batch=2))
    assert [len(rows) for rows in parts] == [2, 2, 1]
    assert whole.dtype == np.float16 and whole.shape == (5, *tiny.output_shape[1:])
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=0.02)
    one = tiny(read_pixels(str(paths[3]), 224)[None])
    np.testing.assert_allclose(whole[3], one[0], atol=0.02)


@pytest.mark.parametrize("name", sorted(set(ENCODERS) - {"tiny"}))
def test_encoders_prepare_pixels_as_keras_says(name):
    pixels = np.random.RandomState(0).uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)
    module = getattr(keras.applications, name)
    np.testing.assert_allclose(
        find_encoder(name).prepare(pixels.copy()), module.preprocess_input(pixels.copy())
    )


def test_an_unknown_encoder_is_refused_with_those_there_are():
    with pytest.raises(CaptionsError, match="encoder=alexnet.*tiny, mobilenet_v2"):
        find_encoder("alexnet")


def test_missing_weights_say_where_weights_may_come_from(monkeypatch):
    def offline():
        raise OSError("no network")

    broken = find_encoder("tiny").__class__(offline, None, 224)
    monkeypatch.setitem(ENCODERS, "vgg16", broken)
    with pytest.raises(CaptionsError, match=r"vgg16.*no network.*KERAS_HOME"):
        build_encoder("vgg16")
