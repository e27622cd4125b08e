"""The captioner as one thing says of a photo what the notebooks' steps said of it."""

import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from utils import artifacts
from utils.config import Config
from utils.data.tokenizer import EOS_ID, Tokenizer
from utils.decoding.beam_search import generate
from utils.decoding.sampling import sample
from utils.errors import CaptionsError
from utils.features import extract_features
from utils.inference import Captioner
from utils.models.captioners import build_captioner
from utils.models.encoders import build_encoder
from utils.models.serialization import to_dict
from utils.sample.caption_writer import write_captions
from utils.sample.painter import paint
from utils.sample.scenes import sample_scenes

SETTINGS = Config(units=16, embedding_dim=8, max_length=6, min_count=1)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Artifacts of an untrained captioner, and the photos that they were made from."""
    for name in ("WORKING", "INPUT"):
        monkeypatch.setenv(f"CAPTIONS_{name}", str(tmp_path))
    scenes = sample_scenes(3, seed=1)
    paths = [tmp_path / scene.name for scene in scenes]
    for path, scene in zip(paths, scenes, strict=True):
        paint(scene).save(path)
    tokenizer = Tokenizer.fit([text for scene in scenes for text in write_captions(scene)], 1, 6)
    (grid,) = extract_features(paths, build_encoder("sample_cnn"), "sample_cnn")
    model = build_captioner(grid.shape[2], len(tokenizer), SETTINGS)
    artifacts.save("features", {"names": [path.name for path in paths]}, SETTINGS)
    artifacts.save("captions", {}, SETTINGS)
    artifacts.save("tokenizer", tokenizer.to_dict(), SETTINGS)
    artifacts.save("captioner", to_dict(model), SETTINGS)
    return paths, tokenizer, generate(model, grid, SETTINGS, progress=False)


def test_captions_are_those_of_the_steps_apart(run):
    paths, tokenizer, written = run
    captions = Captioner(SETTINGS)(paths)
    assert [row["caption"] for row in captions] == [tokenizer.decode(row) for row in written.words]
    assert [row["photo"] for row in captions] == [str(path) for path in paths]
    np.testing.assert_allclose(
        [row["probability"] for row in captions], np.exp(written.log_probability), rtol=1e-3
    )


def test_a_photo_alone_gets_the_caption_that_it_gets_among_others(run):
    paths, captioner = run[0], Captioner(SETTINGS)
    together = captioner(paths * 12)  # more than one chunk
    assert len(together) == 36
    for path, row in zip(paths, together, strict=False):
        (alone,) = captioner([path])
        assert alone["caption"] == row["caption"]
        assert alone["probability"] == pytest.approx(row["probability"], rel=1e-3)


def test_paths_images_and_arrays_are_the_same_to_it(run):
    paths, captioner = [path.with_suffix(".png") for path in run[0]], Captioner(SETTINGS)
    images = [Image.open(path) for path in run[0]]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    expected = captioner(paths)
    for photos in (map(str, paths), images, map(np.asarray, images)):
        for row, other in zip(captioner(photos), expected, strict=True):
            assert row["caption"] == other["caption"]
            assert row["probability"] == pytest.approx(other["probability"], rel=1e-3)
    assert captioner(images)[0]["photo"] is None


def test_no_photos_give_no_captions(run):
    assert Captioner(SETTINGS)([]) == []


def test_it_is_loaded_with_the_settings_that_its_artifacts_record(run, tmp_path, monkeypatch):
    expected = Captioner(SETTINGS)(run[0])
    monkeypatch.delenv("CAPTIONS_WORKING")
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / "nothing"))
    monkeypatch.setenv("CAPTIONS_SET", "units=99")
    captioner = Captioner.load(tmp_path)
    assert captioner.config == replace(SETTINGS, working=str(tmp_path))
    assert captioner(run[0]) == expected


def test_it_searches_as_notebook_4_did_unless_told_otherwise(run, tmp_path):
    greedy = replace(SETTINGS, beam_width=1)
    artifacts.save("predictions", {}, greedy)
    captioner = Captioner.load(tmp_path)
    assert captioner.config == replace(greedy, working=str(tmp_path))
    assert captioner(run[0]) == Captioner(greedy)(run[0])
    assert captioner(run[0], beam_width=3) == Captioner(SETTINGS)(run[0])


def test_the_best_of_several_is_the_likeliest_for_its_length(run):
    paths, tokenizer, _ = run
    captioner = Captioner(replace(SETTINGS, beam_width=1))
    (grid,) = captioner.look(paths, None)
    drawn = sample(captioner.model, grid, captioner.config, 8, progress=False)
    for photo, row in enumerate(captioner(paths, best_of=9)):
        (beam,) = captioner([paths[photo]])
        rows = [(beam["caption"], np.log(beam["probability"]))]
        found = zip(drawn.words[photo], drawn.log_probability[photo], strict=True)
        rows += [(tokenizer.decode(words), log) for words, log in found]
        best = max(rows, key=lambda one: one[1] / min(6, len(one[0].split()) + 1) ** 0.7)
        assert row["caption"] == best[0]
        assert row["probability"] == pytest.approx(np.exp(best[1]), rel=1e-3)


def test_a_photo_that_cannot_be_read_is_left_out_or_an_error(run, tmp_path):
    paths, captioner = run[0], Captioner(SETTINGS)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(paths[0].read_bytes()[:200])
    failures = {}
    rows = captioner([paths[0], broken, paths[1]], failures=failures)
    assert [row["photo"] for row in rows] == [str(paths[0]), str(paths[1])]
    assert [row["caption"] for row in rows] == [row["caption"] for row in captioner(paths[:2])]
    assert list(failures) == [str(broken)] and failures[str(broken)]
    assert captioner([broken], failures=failures) == []
    with pytest.raises(CaptionsError, match="broken.jpg"):
        captioner([paths[0], broken])


def test_a_photo_of_one_pixel_has_a_caption(run, tmp_path):
    Image.new("RGB", (1, 1), "red").save(tmp_path / "dot.png")
    assert len(Captioner(SETTINGS)([tmp_path / "dot.png"])) == 1


# --- finding -------------------------------------------------------------------------------------


def test_photos_are_ranked_by_how_likely_each_word_of_the_sentence_is(run):
    paths, tokenizer, _ = run
    captioner = Captioner(SETTINGS)
    sentence = " ".join(tokenizer.vocabulary[4:8])  # short enough to have its end
    found = captioner.find(sentence, paths)
    (row,), (grid,) = tokenizer.encode([sentence]), captioner.look(paths, None)
    for score, path in found:
        state = captioner.model.start(
            grid[paths.index(artifacts.Path(path))][None].astype("float32")
        )
        logs = []
        for word, following in zip(row[:-1], row[1:], strict=True):
            if following:
                logits, state, _ = captioner.model.step(np.array([word]), state)
                logits = np.asarray(logits[0], float)
                logs.append(logits[following] - np.logaddexp.reduce(logits))
        assert score == pytest.approx(np.exp(np.mean(logs)), rel=1e-3)
    assert [score for score, _ in found] == sorted((score for score, _ in found), reverse=True)
    assert len(found) == 3 and EOS_ID in row


def test_a_photo_is_looked_at_once_whatever_it_is_called(run, tmp_path, monkeypatch):
    paths, captioner = run[0], Captioner(SETTINGS)
    looked, look = [], captioner.look
    monkeypatch.setattr(captioner, "look", lambda p, f: looked.append(list(p)) or look(p, f))
    broken = tmp_path / "broken.jpg"
    broken.write_text("no photo")
    failures = {}
    first = captioner.find("a", [paths[0], broken], failures)
    assert [path for _, path in first] == [str(paths[0])] and list(failures) == [str(broken)]
    os.rename(paths[0], tmp_path / "renamed.jpg")
    second = captioner.find("a", [tmp_path / "renamed.jpg", paths[1]])
    assert looked[1] == [str(paths[1])]
    assert dict(map(reversed, second))[str(tmp_path / "renamed.jpg")] == first[0][0]
    os.replace(paths[1], tmp_path / "renamed.jpg")  # other bytes under a known name
    captioner.find("a", [tmp_path / "renamed.jpg", paths[2]])
    assert looked[2] == [str(paths[2])]


def test_a_sentence_without_a_known_word_is_refused(run):
    with pytest.raises(CaptionsError, match="'xylophone quartz'.*none of these words"):
        Captioner(SETTINGS).find("xylophone quartz", run[0])


# --- artifacts that do not fit -------------------------------------------------------------------


def test_a_vocabulary_of_another_run_is_refused(run, tmp_path):
    other = Tokenizer.fit(["another world"], 1, 6)
    artifacts.save("tokenizer", other.to_dict(), SETTINGS)
    for load in (lambda: Captioner(SETTINGS), lambda: Captioner.load(tmp_path)):
        with pytest.raises(CaptionsError, match=r"another tokenizer.pkl: run 03_train again"):
            load()


def test_a_vocabulary_made_with_other_settings_is_refused(run, tmp_path):
    other = replace(SETTINGS, max_length=9)
    artifacts.save("tokenizer", Tokenizer(["a"], 9).to_dict(), other)
    with pytest.raises(CaptionsError, match=r"tokenizer.pkl: made with max_length=9 \(now 6\)"):
        Captioner.load(tmp_path)


def test_without_artifacts_the_notebook_to_run_is_named(run, tmp_path):
    artifacts.artifact_path("captioner", SETTINGS).unlink()
    for load in (lambda: Captioner(SETTINGS), lambda: Captioner.load(tmp_path), Captioner.load):
        with pytest.raises(CaptionsError, match="captioner.pkl: not there: run 03_train first"):
            load()
    with pytest.raises(CaptionsError, match="02_text"):
        Captioner(replace(SETTINGS, min_count=9))
