"""Presets, what overrides what, refusals in one line, and the two folders."""

import pytest

from utils import config
from utils.config import PRESETS, Config, load_config
from utils.data.caption_files import CAPTION_FILES, detect_preset, find_captions_file
from utils.errors import CaptionsError
from utils.paths import input_folder, working_folder


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No variables, a repository without data, and no Kaggle."""
    for name in ("PRESET", "SET", "INPUT", "WORKING"):
        monkeypatch.delenv(f"CAPTIONS_{name}", raising=False)
    monkeypatch.setattr(config, "REPOSITORY", tmp_path / "repository")
    monkeypatch.setattr(config, "KAGGLE", tmp_path / "kaggle")


def write_captions(folder, name="captions.txt"):
    folder.mkdir(parents=True)
    (folder / name).write_text("image,caption\n")
    return folder / name


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_sets_its_own_fields_and_leaves_the_others(preset):
    loaded = load_config(preset)
    assert loaded.preset == preset
    for name, default in vars(Config()).items():
        if name != "preset":
            assert getattr(loaded, name) == PRESETS[preset].get(name, default)


def test_every_field_of_a_preset_is_a_setting():
    for fields in PRESETS.values():
        assert fields.keys() <= vars(Config()).keys()


def test_the_environment_goes_over_the_notebook_and_that_over_the_preset(monkeypatch):
    assert load_config("sample", units=7, epochs=3).units == 7
    monkeypatch.setenv("CAPTIONS_SET", "units=9")
    loaded = load_config("sample", units=7, epochs=3)
    assert (loaded.units, loaded.epochs, loaded.embedding_dim) == (9, 3, Config().embedding_dim)


def test_the_environments_preset_goes_over_the_notebooks(monkeypatch):
    monkeypatch.setenv("CAPTIONS_PRESET", "flickr8k")
    loaded = load_config("sample")
    assert (loaded.preset, loaded.units) == ("flickr8k", PRESETS["flickr8k"]["units"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        (" , ", {}),
        ("epochs=2", {"epochs": "2"}),
        (" epochs = 2 , encoder=vgg16 ,", {"epochs": "2", "encoder": "vgg16"}),
        ("encoder=a=b", {"encoder": "a=b"}),
        ("epochs=2,epochs=3", {"epochs": "3"}),
    ],
)
def test_changes_are_read_from_text(text, expected):
    assert config.parse_changes(text) == expected


def test_changes_from_text_get_the_type_of_their_field(monkeypatch):
    monkeypatch.setenv("CAPTIONS_SET", "epochs=2,dropout=0,learning_rate=1e-4,encoder=vgg16")
    loaded = load_config("sample")
    assert (loaded.epochs, loaded.encoder) == (2, "vgg16")
    assert loaded.dropout == 0.0 and isinstance(loaded.dropout, float)
    assert loaded.learning_rate == 1e-4


@pytest.mark.parametrize(
    "text",
    ["epochs", "epochs=", "epochs=two", "epochs=1.5", "epochs=0", "units=-1", "dropout=-0.1"]
    + ["dropout=nan", "epoch=2", "preset=flickr8k", "max_length=1", "beam_width=0"],
)
def test_what_cannot_be_is_refused_in_one_line_that_names_it(monkeypatch, text):
    monkeypatch.setenv("CAPTIONS_SET", text)
    with pytest.raises(CaptionsError) as refusal:
        load_config("sample")
    assert text.partition("=")[0] in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("change", [{"epochs": 2.9}, {"units": True}, {"dropout": None}])
def test_a_number_of_another_kind_is_not_cut_to_fit(change):
    assert load_config("sample", epochs=24 / 2, start_from="run-1.0").epochs == 12
    with pytest.raises(CaptionsError, match=f"{next(iter(change))}=.*: must be a"):
        load_config("sample", **change)


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(CaptionsError, match="'flickr'.*sample, flickr8k"):
        load_config("flickr")


def test_a_notebook_shows_one_line_and_no_traceback():
    assert CaptionsError("why")._render_traceback_() == ["CaptionsError: why"]


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(AttributeError):
        load_config("sample").epochs = 3


def test_without_data_it_is_the_sample():
    assert load_config(detect_preset()).preset == "sample"


@pytest.mark.parametrize("name", CAPTION_FILES)
def test_captions_at_any_depth_make_it_photos(monkeypatch, tmp_path, name):
    file = write_captions(tmp_path / "in" / "datasets" / "somebody" / "flickr8k", name)
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / "in"))
    assert find_captions_file() == file
    assert load_config(detect_preset()).preset == "flickr8k"


def test_a_preset_that_is_named_does_not_ask_the_data(monkeypatch, tmp_path):
    write_captions(tmp_path / "in")
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / "in"))
    assert load_config("sample").preset == "sample"


def test_photos_are_looked_for_in_data_and_artifacts_written_to_working(tmp_path):
    repository = tmp_path / "repository"
    assert input_folder() == repository / "data"
    assert working_folder(load_config("flickr8k")) == repository / "working"


def test_the_sample_has_a_working_folder_of_its_own(tmp_path):
    folder = working_folder(load_config("sample"))
    assert folder == tmp_path / "repository" / "working" / "sample"


@pytest.mark.parametrize("preset", PRESETS)
def test_the_variables_name_both_folders(monkeypatch, tmp_path, preset):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / "in"))
    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path / "out"))
    assert input_folder() == tmp_path / "in"
    assert working_folder(load_config(preset)) == tmp_path / "out"


def test_kaggle_has_folders_of_its_own(tmp_path):
    write_captions(tmp_path / "kaggle" / "input" / "flickr8k")
    loaded = load_config(detect_preset())
    assert loaded.preset == "flickr8k"
    assert input_folder() == tmp_path / "kaggle" / "input"
    assert working_folder(loaded) == tmp_path / "kaggle" / "working"


def test_kaggle_without_photos_says_what_to_attach(monkeypatch, tmp_path):
    (tmp_path / "kaggle" / "input").mkdir(parents=True)
    with pytest.raises(CaptionsError, match="attach the dataset adityajn105/flickr8k"):
        load_config(detect_preset())
    monkeypatch.setenv("CAPTIONS_PRESET", "sample")
    assert load_config(detect_preset()).preset == "sample"


def test_describe_has_a_line_for_each_name():
    loaded = load_config("sample", epochs=5)
    lines = config.summarize(loaded, "units", "epochs").splitlines()
    assert [line.split() for line in lines] == [["units", str(loaded.units)], ["epochs", "5"]]


@pytest.mark.parametrize("change", ["decoder=attentive", "precision=half"])
def test_a_choice_that_is_none_is_refused_before_any_work(monkeypatch, change):
    monkeypatch.setenv("CAPTIONS_SET", change)
    with pytest.raises(CaptionsError, match=f"'{change}': there is only "):
        load_config("sample")


def test_the_choices_are_those_that_the_rooms_offer():
    from utils.models.captioners import CAPTIONERS

    rooms = {"captioner": tuple(CAPTIONERS), "precision": ("float32", "auto")}
    assert rooms == config.CHOICES


def test_the_working_folder_is_no_setting(monkeypatch):
    """It has a variable and an option, which the runner knows of."""
    monkeypatch.setenv("CAPTIONS_SET", "working=there")
    with pytest.raises(CaptionsError, match="'working': there is none of that name"):
        load_config("sample")
