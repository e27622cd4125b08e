"""Random crops are parts of photos, of the sizes and shapes that they should have."""

import numpy as np
import pytest

from utils.data.crops import random_box, random_crops


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


def test_crops_are_those_of_the_results_in_the_order_of_photos():
    """The boxes are those of the run "fine-tuned longer, 8 views" of the ablation."""
    crops = random_crops(["a.jpg", "b.jpg"], 2)
    assert [crop.photo for crop in crops] == ["a.jpg", "b.jpg", "a.jpg", "b.jpg"]
    assert crops[0].box == pytest.approx((0.0241, 0.1216, 0.9468, 0.8344), abs=1e-4)
    assert crops[1].box == pytest.approx((0.0330, 0.0003, 0.9730, 0.9907), abs=1e-4)
    assert crops[2].box == pytest.approx((0.0132, 0.0480, 0.9731, 0.9871), abs=1e-4)
    assert random_crops(["a.jpg", "b.jpg"], 0) == []
