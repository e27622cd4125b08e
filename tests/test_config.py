"""Presets, what overrides what, refused values, and the input and working folders."""

import re
import subprocess
import sys
from dataclasses import fields, replace

import pytest

from utils import config, paths
from utils.config import PRESETS, RENAMED_SETTINGS, Config, load_config
from utils.data.caption_files import detect_preset, find_captions_file
from utils.errors import CaptionsError, os_errors_as_caption_errors
from utils.paths import REPOSITORY, find_unique_input, input_folder, working_folder


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """No environment variables, a repository without data, and no Kaggle."""
    for name in ("PRESET", "SET", "INPUT", "WORKING"):
        monkeypatch.delenv(f"CAPTIONS_{name}", raising=False)
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path / "repository")
    monkeypatch.setattr(paths, "KAGGLE", tmp_path / "kaggle")


def write_captions(folder, name="captions.txt"):
    """A captions file without captions in a new folder."""
    folder.mkdir(parents=True)
    path = folder / name
    path.write_text("image,caption\n")
    return path


# === Presets and overrides ===


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_changes_only_its_own_settings(preset):
    loaded = load_config(preset)
    assert loaded.preset == preset
    for name, default in vars(Config()).items():
        if name != "preset":
            assert getattr(loaded, name) == PRESETS[preset].get(name, default)


@pytest.mark.parametrize("preset", PRESETS)
def test_config_of_a_preset_has_all_of_its_values(preset):
    assert Config(preset) == load_config(preset)
    assert Config(preset, units=7) == load_config(preset, units=7)


def test_photos_can_be_combined_with_the_settings_of_the_sample():
    mixed = replace(Config(), preset="flickr8k")
    assert mixed.units == Config().units
    assert working_folder(mixed) == working_folder(Config("flickr8k"))


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_names_only_existing_settings(preset):
    assert PRESETS[preset].keys() <= vars(Config()).keys()


def test_environment_overrides_notebook_which_overrides_preset(monkeypatch):
    assert load_config("sample", units=7, epochs=3).units == 7
    monkeypatch.setenv("CAPTIONS_SET", "units=9")
    loaded = load_config("sample", units=7, epochs=3)
    assert loaded.units == 9
    assert loaded.epochs == 3
    assert loaded.embedding_dim == Config().embedding_dim


def test_preset_of_environment_overrides_that_of_notebook(monkeypatch):
    monkeypatch.setenv("CAPTIONS_PRESET", "flickr8k")
    loaded = load_config("sample")
    assert loaded.preset == "flickr8k"
    assert loaded.units == PRESETS["flickr8k"]["units"]


def test_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(CaptionsError, match="'flickr'.*sample or flickr8k"):
        load_config("flickr")


def test_config_cannot_be_changed_afterwards():
    with pytest.raises(AttributeError):
        load_config("sample").epochs = 3


# === Values ===


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        (" , ", {}),
        ("epochs=2", {"epochs": "2"}),
        (" epochs = 2 , encoder=vgg16 ,", {"epochs": "2", "encoder": "vgg16"}),
        ("encoder=a=b", {"encoder": "a=b"}),
        ("epochs=2,epochs=3", {"epochs": "3"}),
        ('epochs=2,start_from="a, b",units=3', {"epochs": "2", "start_from": "a, b", "units": "3"}),
        ("start_from='a,b'", {"start_from": "a,b"}),
        ("'start_from=a,b'", {"start_from": "a,b"}),
        ('start_from="d\'or"', {"start_from": "d'or"}),
        (r"start_from=C:\runs\new,epochs=2", {"start_from": r"C:\runs\new", "epochs": "2"}),
        (r'start_from="C:\a, b"', {"start_from": r"C:\a, b"}),
        ("start_from=#1,epochs=2", {"start_from": "#1", "epochs": "2"}),
    ],
)
def test_changes_are_parsed_from_text(text, expected):
    assert config.parse_changes(text) == expected


@pytest.mark.parametrize(
    "value", ["a,b", "d'or", '15" screens', r"C:\a, b", "image=path,caption=text", ",'\"", "a b"]
)
def test_formatted_change_is_parsed_as_it_was(value):
    text = f"epochs=2,{config.format_change('start_from', value)},units=3"
    assert config.parse_changes(text) == {"epochs": "2", "start_from": value, "units": "3"}


def test_unclosed_quotation_mark_is_refused(monkeypatch):
    monkeypatch.setenv("CAPTIONS_SET", "start_from=d'or")
    with pytest.raises(CaptionsError, match="start_from=d'or: a quotation mark is not closed"):
        load_config("sample")


def test_unquoted_comma_in_a_value_is_refused_with_a_hint(monkeypatch):
    monkeypatch.setenv("CAPTIONS_SET", "start_from=a, b")
    with pytest.raises(CaptionsError, match="'b': has no value: .* a comma in quotes"):
        load_config("sample")


def test_changes_from_text_get_the_type_of_their_setting(monkeypatch):
    monkeypatch.setenv("CAPTIONS_SET", "epochs=2,dropout=0,learning_rate=1e-4,encoder=vgg16")
    loaded = load_config("sample")
    assert loaded.epochs == 2
    assert loaded.encoder == "vgg16"
    assert loaded.dropout == 0.0
    assert isinstance(loaded.dropout, float)
    assert loaded.learning_rate == 1e-4


@pytest.mark.parametrize(
    "text",
    [
        "epochs",
        "epochs=",
        "epochs=two",
        "epochs=1.5",
        "epochs=0",
        "units=-1",
        "dropout=-0.1",
        "dropout=nan",
        "epoch=2",
        "preset=flickr8k",
        "max_length=1",
        "beam_width=0",
        "encoder=vgg61",
        "crops=-1",
        "crops=9",
        "crops=1.5",
        "shard=9/8",
        "shard=0/8",
        "shard=second",
    ],
)
def test_invalid_change_is_refused_in_one_line_that_names_it(monkeypatch, text):
    monkeypatch.setenv("CAPTIONS_SET", text)
    with pytest.raises(CaptionsError) as error:
        load_config("sample")
    message = str(error.value)
    assert text.partition("=")[0] in message
    assert "\n" not in message


@pytest.mark.parametrize("change", [{"epochs": 2.9}, {"units": True}, {"dropout": None}])
def test_value_of_another_type_is_not_rounded(change):
    (name,) = change
    with pytest.raises(CaptionsError, match=f"{name}=.*: must be a"):
        load_config("sample", **change)


def test_whole_number_written_as_float_is_accepted():
    assert load_config("sample", epochs=24 / 2).epochs == 12


def test_text_that_looks_like_a_number_stays_text():
    assert load_config("sample", start_from="run-1.0").start_from == "run-1.0"


@pytest.mark.parametrize("change", ["decoder=attentive", "precision=half"])
def test_value_outside_the_choices_is_refused(monkeypatch, change):
    monkeypatch.setenv("CAPTIONS_SET", change)
    with pytest.raises(CaptionsError, match=f"'{change}': must be one of "):
        load_config("sample")


def test_choices_of_decoder_are_the_captioners_there_are():
    from utils.models.captioners import CAPTIONERS

    assert config.find_setting("decoder").metadata["choices"] == tuple(CAPTIONERS)


def test_choices_of_encoder_are_the_encoders_there_are():
    from utils.models.encoders import ENCODERS

    assert config.find_setting("encoder").metadata["choices"] == ("auto", *ENCODERS)


def test_wrong_encoder_is_refused_without_tensorflow():
    code = (
        "import sys\n"
        "from utils.config import load_config\n"
        "try: load_config('sample', encoder='vgg61')\n"
        "except Exception as error: print(error)\n"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    error, has_tensorflow = done.stdout.splitlines()
    assert error.startswith("setting 'encoder=vgg61': must be one of auto, sample_cnn, ")
    assert has_tensorflow == "False"


@pytest.mark.parametrize("shard", ["1/1", "2/8", "8/8"])
def test_shard_is_accepted(shard):
    assert load_config("sample", shard=shard).shard == shard


def test_misspelled_setting_is_refused_with_a_similar_one():
    with pytest.raises(CaptionsError, match="'epoch': does not exist: use epochs"):
        load_config("sample", epoch=2)


@pytest.mark.parametrize("name", RENAMED_SETTINGS)
def test_renamed_setting_is_refused_with_its_new_name(name):
    new_name = RENAMED_SETTINGS[name]
    assert new_name in [each.name for each in fields(Config)]
    with pytest.raises(CaptionsError, match=f"'{name}': is now called {new_name}"):
        load_config("sample", **{name: 1})


def test_working_folder_cannot_be_set_as_a_change(monkeypatch):
    """It has an environment variable and an option of its own."""
    monkeypatch.setenv("CAPTIONS_SET", "working=there")
    with pytest.raises(CaptionsError, match="'working': does not exist"):
        load_config("sample")


def test_summary_has_one_line_per_setting():
    loaded = load_config("sample", epochs=5)
    lines = config.summarize(loaded, "units", "epochs").splitlines()
    assert [line.split() for line in lines] == [["units", str(loaded.units)], ["epochs", "5"]]


def test_notebook_shows_an_error_as_one_line_without_traceback():
    assert CaptionsError("why")._render_traceback_() == ["CaptionsError: why"]


# === Folders ===


def test_preset_without_data_is_the_sample():
    assert load_config(detect_preset()).preset == "sample"


@pytest.mark.parametrize("name", ["captions.txt", "captions_clean.csv", "My photos.TSV"])
def test_captions_file_at_any_depth_selects_photos(monkeypatch, tmp_path, name):
    path = write_captions(tmp_path / "in" / "datasets" / "somebody" / "flickr8k", name)
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / "in"))
    assert find_captions_file(Config("flickr8k")) == path
    assert load_config(detect_preset()).preset == "flickr8k"


def test_named_preset_does_not_depend_on_the_data(monkeypatch, tmp_path):
    write_captions(tmp_path / "in")
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / "in"))
    assert load_config("sample").preset == "sample"


def test_default_folders_are_data_and_working(tmp_path):
    repository = tmp_path / "repository"
    assert input_folder() == repository / "data"
    assert working_folder(load_config("flickr8k")) == repository / "working"


def test_sample_has_a_working_folder_of_its_own(tmp_path):
    folder = working_folder(load_config("sample"))
    assert folder == tmp_path / "repository" / "working" / "sample"


@pytest.mark.parametrize("preset", PRESETS)
def test_environment_variables_name_both_folders(monkeypatch, tmp_path, preset):
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


def test_kaggle_without_photos_names_the_dataset_to_attach(monkeypatch, tmp_path):
    (tmp_path / "kaggle" / "input").mkdir(parents=True)
    with pytest.raises(CaptionsError, match=re.escape("adityajn105/flickr8k")):
        load_config(detect_preset())
    monkeypatch.setenv("CAPTIONS_PRESET", "sample")
    assert load_config(detect_preset()).preset == "sample"


def test_copies_of_an_input_file_must_be_identical(monkeypatch, tmp_path):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    first = write_captions(tmp_path / "a")
    second = write_captions(tmp_path / "b")
    assert find_unique_input("captions.txt") == first
    second.write_text("image,comment\n")
    with pytest.raises(CaptionsError, match=f"{re.escape(str(second))} has other contents"):
        find_unique_input("captions.txt")


def test_unreadable_file_is_an_error_with_its_name_and_the_reason(tmp_path):
    @os_errors_as_caption_errors()
    def read_text(path):
        return path.read_text()

    with pytest.raises(CaptionsError, match=r"missing.txt: could not be read \(No such file"):
        read_text(tmp_path / "missing.txt")
