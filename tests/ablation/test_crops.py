"""Random crops of the training photos are further views of the same photos."""

import numpy as np
import pytest
import tensorflow as tf

from tests.ablation import crops
from tests.ablation.crops import JoinedGrids, add_crops, load_or_extract_crops, random_box
from utils.data.images import Cropped, read_pixels
from utils.models.encoders import build_encoder
from utils.models.fine_tuning import split_encoder
from utils.training.batching import sample_views


def test_random_boxes_have_the_area_and_the_aspect_that_they_should():
    rng = np.random.default_rng(1)
    boxes = np.array([random_box(rng) for _ in range(2000)])
    assert boxes.min() >= 0 and boxes.max() <= 1
    width = boxes[:, 2] - boxes[:, 0]
    height = boxes[:, 3] - boxes[:, 1]
    area = width * height
    aspect = width / height
    assert 0.6 <= area.min() < 0.61 and area.max() > 0.95
    assert 3 / 4 <= aspect.min() < 0.77 and 1.3 < aspect.max() <= 4 / 3
    assert len(np.unique(boxes[:, 0])) == 2000


def test_joined_grids_are_read_like_one_array():
    rng = np.random.default_rng(1)
    first = rng.random((5, 2, 3)).astype(np.float16)
    second = rng.random((7, 2, 3)).astype(np.float16)
    joined = JoinedGrids(first, second)
    array = np.concatenate([first, second])
    assert joined.shape == array.shape and joined.nbytes == array.nbytes and len(joined) == 12
    for rows in ([11, 0, 4, 5, 5, 2], [0, 1], [6], []):
        rows = np.array(rows, int)
        np.testing.assert_array_equal(joined[rows], array[rows])
    np.testing.assert_array_equal(tf.convert_to_tensor(joined), array)


def test_every_view_of_a_photo_shows_that_photo():
    # Photo 0 is for validation; photo 2 is listed twice, with other captions each time.
    train_rows = np.array([3, 1, 2])
    grid = np.array([0, 1, 2, 3, 0, 1, 2, 3]).reshape(-1, 1, 1)  # as they are, then mirrored
    crop_grid = np.tile(train_rows, 4).reshape(-1, 1, 1)  # two crops, then mirrored
    rows = np.array([3, 1, 2, 2])
    views, joined = add_crops(np.stack([rows, rows + 4], axis=1), grid, crop_grid, train_rows)
    assert views.shape == (4, 6) and len(np.unique(views)) == 18
    for epoch in range(20):
        chosen = joined[sample_views(views, epoch)]
        np.testing.assert_array_equal(chosen.ravel(), rows)
    assert (joined[views.ravel()].reshape(4, 6) == rows[:, None]).all()


@pytest.mark.slow
def test_the_grid_of_crops_has_the_features_of_each_crop_and_can_be_resumed(
    small_experiment, monkeypatch
):
    data = small_experiment.data
    grid = np.array(load_or_extract_crops(data, 3))
    assert len(grid) == 2 * 3 * 12
    rng = np.random.default_rng(crops.SEED)
    boxes = [random_box(rng) for _ in range(36)]
    backbone, _ = split_encoder(build_encoder(data.config.encoder))
    for row in (0, 17, 35):
        path = data.photos.paths[data.names("train")[row % 12]]
        pixels = read_pixels(Cropped(path, boxes[row]), backbone.input_shape[1])
        both = np.stack([pixels, pixels[:, ::-1]]).astype(np.float32)
        np.testing.assert_allclose(grid[[row, 36 + row]], backbone(both), rtol=0.01, atol=0.01)

    (path,) = data.folder.glob("crop_features-*.npy")
    content = path.read_bytes()
    path.with_name(f"{path.name}.partial").write_bytes(content[: len(content) * 2 // 3])
    path.unlink()
    np.testing.assert_array_equal(load_or_extract_crops(data, 3), grid)
    monkeypatch.setattr(crops, "build_encoder", None)  # nothing is extracted again
    load_or_extract_crops(data, 3)
