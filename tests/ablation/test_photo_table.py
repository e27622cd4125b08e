"""The table of photos is chosen by rule and names no file."""

import re

import numpy as np
import pytest

from tests.ablation.photo_table import flickr_id, photo_rows
from tests.page import PAGE


def test_every_42nd_photo_by_score_is_linked_to_its_page():
    scores = np.random.RandomState(1).permutation(1000) / 1000
    names = [f"{10_000 + number}_0a1b2c3d4e.jpg" for number in range(1000)]
    captions = [f"caption {number}" for number in range(1000)]
    rows = photo_rows(names, captions, scores)
    assert len(rows) == 24
    for rank, (link, caption, score) in enumerate(rows):
        index = int(np.flatnonzero(scores == (999 - 42 * rank) / 1000)[0])
        photo_id = 10_000 + index
        assert link == f"[{photo_id}](https://www.flickr.com/photo.gne?id={photo_id})"
        assert caption == f"caption {index}"
        assert score == f"{scores[index]:.2f}"


def test_a_photo_that_is_not_of_flickr_is_refused():
    assert flickr_id("1234567890_0123456789.jpg") == "1234567890"
    for name in ("holiday.jpg", "12_dogs.jpg", "12.jpg"):
        with pytest.raises(SystemExit, match="is no photo of Flickr8k"):
            flickr_id(name)


def test_the_page_names_no_photo_file():
    page = PAGE.read_text(encoding="utf-8")
    assert not re.search(r"\d_[0-9a-f]{8,}|\.jpe?g", page)
