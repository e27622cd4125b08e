"""The captioner as one thing says of a photo what the notebooks' steps said of it."""

from dataclasses import replace

import numpy as np
import pytest

from utils import store
from utils.caption import Captioner
from utils.captioners import build_captioner, to_dict
from utils.features import build_encoder, extract
from utils.search import write_captions
from utils.settings import CaptionsError, Settings
from utils.text import Tokenizer
from world.paint import paint
from world.scenes import imagine
from world.voices import tell

SETTINGS = Settings(units=16, embedding=8, max_words=6)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Artifacts of an untrained captioner, and the photos that they were made from."""
    for name in ("WORKING", "INPUT"):
        monkeypatch.setenv(f"CAPTIONS_{name}", str(tmp_path))
    scenes = imagine(3, seed=1)
    paths = [tmp_path / scene.name for scene in scenes]
    for path, scene in zip(paths, scenes, strict=True):
        paint(scene).save(path)
    tokenizer = Tokenizer.fit([text for scene in scenes for text in tell(scene)], 1, 6)
    (grid,) = extract(paths, build_encoder("tiny"), "tiny")
    model = build_captioner(grid.shape[2], len(tokenizer), SETTINGS)
    store.save("features", {"names": [path.name for path in paths]}, SETTINGS)
    store.save("captions", {}, SETTINGS)
    store.save("tokenizer", tokenizer.to_dict(), SETTINGS)
    store.save("captioner", to_dict(model, grid.shape[2]), SETTINGS)
    return paths, tokenizer, write_captions(model, grid, SETTINGS, progress=False)


def test_captions_are_those_of_the_steps_apart(run):
    paths, tokenizer, written = run
    captions = Captioner(SETTINGS)(paths)
    assert [row["caption"] for row in captions] == [tokenizer.decode(row) for row in written.words]
    assert [row["photo"] for row in captions] == [str(path) for path in paths]
    np.testing.assert_allclose(
        [row["probability"] for row in captions], np.exp(written.log_probability), rtol=1e-3
    )


def test_no_photos_give_no_captions(run):
    assert Captioner(SETTINGS)([]) == []


def test_a_vocabulary_of_another_run_is_refused(run):
    other = Tokenizer.fit(["another world"], 1, 6)
    store.save("tokenizer", other.to_dict(), SETTINGS)
    with pytest.raises(CaptionsError, match=r"another tokenizer.pkl: run 03_train again"):
        Captioner(SETTINGS)


def test_without_artifacts_the_notebook_to_run_is_named(run):
    store.path_of("captioner", SETTINGS).unlink()
    with pytest.raises(CaptionsError, match="captioner.pkl: not there: run 03_train first"):
        Captioner(SETTINGS)
    with pytest.raises(CaptionsError, match="02_text"):
        Captioner(replace(SETTINGS, min_count=9))
