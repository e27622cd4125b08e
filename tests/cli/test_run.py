"""Tests of the command `run` on small notebooks: order, live output, failures, errors, cleaning."""

import io
import os
import signal
import subprocess
import sys
from unittest import mock

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from utils import artifacts, paths
from utils.__main__ import main
from utils.cli import executor, pretrained_hint, run
from utils.config import Config
from utils.errors import CaptionsError
from utils.paths import REPOSITORY
from utils.sample.dataset import write_sample

NAMES = ("01_features", "02_text", "03_train", "04_evaluate", "05_visualize")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with five small notebooks; nothing outside the test's folder is written."""
    (tmp_path / "notebooks").mkdir()
    for name in NAMES:
        write_notebook(tmp_path, name, f"print('This is {name}')")
    monkeypatch.setattr(run, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path)
    with mock.patch.dict(os.environ):  # a run changes it
        for name in list(os.environ):
            if name.startswith("CAPTIONS_"):
                del os.environ[name]
        yield tmp_path


def write_notebook(repository, name, *sources):
    """Write a notebook of a title and code cells, each below its own heading."""
    cells = [new_markdown_cell(f"# {name}")]
    for number, source in enumerate(sources, 1):
        cells += [new_markdown_cell(f"## Part {number}\nprose"), new_code_cell(source)]
    path = repository / "notebooks" / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def read_executed(repository, name):
    """Read the executed copy of a notebook."""
    path = repository / "working" / "sample" / "notebooks" / f"{name}.ipynb"
    return nbformat.read(path, as_version=4)


def start_run(repository, *options):
    """Start `python -m utils run` on the notebooks of the repository in a process of its own."""
    program = (
        # A process in the background of a shell script ignores Ctrl-C: undo that.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "import sys; from pathlib import Path; from utils import paths; from utils.cli import run; "
        "from utils.cli.main import main; paths.REPOSITORY = Path(sys.argv[1]); "
        "run.NOTEBOOKS = paths.REPOSITORY / 'notebooks'; sys.exit(main(sys.argv[2:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, str(repository), "run", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )


def test_five_notebooks_run_in_order_and_leave_executed_copies(repository, capsys):
    assert main(["run"]) == 0
    out = capsys.readouterr().out
    printed = [line.strip() for line in out.splitlines() if "This is" in line]
    assert printed == [f"This is {name}" for name in NAMES]
    for number, name in enumerate(NAMES, 1):
        assert f"{number} of 5  {name}" in out
        assert read_executed(repository, name).cells[2].outputs[0].text == f"This is {name}\n"
    assert "seconds" in out
    assert str(repository / "working" / "sample") in out


def test_cells_are_announced_with_number_and_heading(repository, capsys):
    write_notebook(repository, "02_text", "1", "2")
    main(["run", "--only", "text"])
    out = capsys.readouterr().out
    assert "cell 1 of 2 · Part 1" in out
    assert "cell 2 of 2 · Part 2" in out


def test_kernel_starts_in_notebook_folder_with_the_settings_of_the_run(repository, capsys):
    source = (
        "import os\n"
        "print('folder', os.path.abspath('.'))\n"
        "for name in sorted(os.environ):\n"
        "    if 'CAPTIONS' in name: print(name, os.environ[name])"
    )
    write_notebook(repository, "01_features", source)
    main(["run", "--only", "1", "--set", "epochs=2", "--set", "units=5"])
    out = capsys.readouterr().out
    assert f"folder {repository / 'notebooks'}" in out
    assert "CAPTIONS_PRESET sample" in out
    assert "CAPTIONS_SET epochs=2,units=5" in out


def test_output_is_shown_while_its_cell_is_running(repository):
    # The cell continues only after the test has read its first line.
    source = (
        "import pathlib, time; print('first', flush=True)\n"
        "for _ in range(600):\n    time.sleep(0.1)\n"
        "    if pathlib.Path('first_was_read').exists(): break\n"
        "else: raise SystemError('timeout')\n"
        "print('second')"
    )
    write_notebook(repository, "03_train", source)
    process = start_run(repository, "--only", "03")
    for line in process.stdout:
        if line.strip() == "first":
            (repository / "notebooks" / "first_was_read").touch()
            break
    out, _ = process.communicate()
    assert process.returncode == 0
    assert "second" in out


def test_figures_and_tables_are_shown_as_text(repository, capsys):
    source = (
        "from IPython.display import display\n"
        "display({'image/png': 'QUJD', 'text/plain': '<Figure>'}, raw=True)\n"
        "display({'image/jpeg': 'QUJD', 'text/plain': '<Image>'}, raw=True)\n"
        "display({'text/html': '<b>3</b>', 'text/plain': 'three'}, raw=True)"
    )
    write_notebook(repository, "05_visualize", source)
    assert main(["run", "--only", "visualize"]) == 0
    out = capsys.readouterr().out
    assert out.count("[figure]") == 2
    assert "three" in out
    assert "<b>" not in out
    assert "<Figure>" not in out and "<Image>" not in out


def test_failing_cell_ends_the_run_and_keeps_earlier_outputs(repository, capsys):
    write_notebook(repository, "03_train", "print('so far')", "half = 1 / 0", "print('never')")
    assert main(["run", "--from", "2"]) == 1
    out, err = capsys.readouterr()
    assert "This is 02_text" in out
    assert "so far" in out
    assert "never" not in out
    assert "04_evaluate" not in out
    assert "03_train, cell 2 of 3 · Part 2" in err
    assert "half = 1 / 0" in err
    assert "ZeroDivisionError" in err
    assert "nbclient" not in err
    assert "\x1b" not in err
    copy = read_executed(repository, "03_train")
    assert copy.cells[2].outputs[0].text == "so far\n"
    assert copy.cells[4].outputs[0].ename == "ZeroDivisionError"
    assert copy.cells[6].outputs == []


def test_captions_error_in_a_notebook_is_shown_without_traceback(repository, capsys):
    source = (
        f"import sys; sys.path.insert(0, {str(run.REPOSITORY)!r})\n"
        "from utils.errors import CaptionsError\n"
        "raise CaptionsError('do this')"
    )
    write_notebook(repository, "04_evaluate", source)
    assert main(["run", "--only", "4"]) == 1
    err = capsys.readouterr().err
    assert "CaptionsError: do this" in err
    assert "Traceback" not in err


def test_missing_artifact_is_one_line_that_names_its_notebook(tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "utils", "run", "--only", "04", "--working", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert process.returncode == 1
    start = f"CaptionsError: {tmp_path / 'features.pkl'}: "
    lines = [line for line in process.stderr.splitlines() if line.startswith(start)]
    assert len(lines) == 1
    assert lines[0].endswith(": run 01_features first")
    assert "Traceback" not in process.stderr
    assert (tmp_path / "notebooks" / "04_evaluate.ipynb").is_file()


def test_dead_kernel_is_reported_as_such(repository, capsys):
    write_notebook(repository, "02_text", "import os; os._exit(9)")
    assert main(["run", "--only", "2"]) == 1
    assert "02_text, cell 1 of 1 · Part 1: its kernel died" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
def test_second_run_in_the_same_folder_is_refused_until_the_first_has_ended(repository, capsys):
    sleep = "import os, time; print('process', os.getpid(), flush=True); time.sleep(600)"
    write_notebook(repository, "01_features", sleep)
    write_notebook(repository, "02_text", "1 + 1")
    process = start_run(repository, "--only", "1")
    next(line for line in process.stdout if "process" in line)
    assert main(["run", "--only", "2"]) == 1
    assert "sample: is in use by another run: wait" in capsys.readouterr().err
    process.kill()
    process.communicate()
    assert main(["run", "--only", "2"]) == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
def test_interrupt_ends_the_kernel_and_the_run(repository):
    sleep = "import os, time; print('process', os.getpid(), flush=True); time.sleep(600)"
    write_notebook(repository, "01_features", sleep)
    process = start_run(repository, "--only", "1")
    kernel = next(int(line.split()[1]) for line in process.stdout if "process" in line)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert err.split()[-1] == "interrupted"
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.kill(kernel, 0)


def test_stderr_is_not_in_the_executed_copy(repository):
    write_notebook(repository, "01_features", "import sys; print('bar', file=sys.stderr); print(1)")
    main(["run", "--only", "1"])
    outputs = read_executed(repository, "01_features").cells[2].outputs
    assert [(output.name, output.text) for output in outputs] == [("stdout", "1\n")]


def test_old_outputs_are_removed_below_a_failed_cell(repository):
    path = write_notebook(repository, "01_features", "1 / 0", "print('later')")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[4].outputs = [new_output("stream", text="of another run")]
    nbformat.write(notebook, path)
    assert main(["run", "--only", "1"]) == 1
    assert read_executed(repository, "01_features").cells[4].outputs == []


def test_two_runs_give_the_same_bytes_and_leave_the_source_unchanged(repository):
    source = repository / "notebooks" / "01_features.ipynb"
    before = source.read_bytes()
    copies = []
    for _ in range(2):
        main(["run", "--only", "1"])
        copies.append((repository / "working/sample/notebooks/01_features.ipynb").read_bytes())
    assert copies[0] == copies[1]
    assert source.read_bytes() == before
    ids = [cell.id for cell in nbformat.read(source, as_version=4).cells]
    assert [cell.id for cell in read_executed(repository, "01_features").cells] == ids


# --- which notebooks -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["03", "3", "train", "03_train", "03_train.ipynb"])
def test_notebook_is_selected_by_number_word_or_name(repository, name):
    assert [path.stem for path in run.select_notebooks([name])] == ["03_train"]


def test_only_keeps_the_order_and_from_selects_to_the_end(repository):
    assert [path.stem[:2] for path in run.select_notebooks(["4", "2"])] == ["02", "04"]
    assert [path.stem[:2] for path in run.select_notebooks(start="4")] == ["04", "05"]
    assert len(run.select_notebooks()) == 5


def test_package_without_notebooks_says_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "NOTEBOOKS", tmp_path)
    with pytest.raises(CaptionsError, match="has no notebooks: run this command in a clone"):
        run.select_notebooks()


# --- errors: one line, before any kernel starts --------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--only", "nine"], "nine"),
        (["--from", "6"], "'6'"),
        (["--set", "epochs"], "epochs"),
        (["--set", "epochs=0"], "epochs=0"),
        (["--set", "color=red"], "color"),
        (["--set", "encoder=vgg61"], "'encoder=vgg61': must be one of auto, sample_cnn, "),
        (["--set", "shard=9/8"], "'shard=9/8': not a shard: write 2/8"),
        (["--set", "start_from=d'or"], "a quotation mark is not closed"),
        (["--preset", "coco"], "coco"),
        (["--input", "nowhere"], "nowhere: no such folder: name the folder of your photos\n"),
        (["--check", "--input", "nowhere"], "no such folder: name the folder of your photos\n"),
        (["--input", "."], "captions.txt"),
        (["--preset", "flickr8k"], "data: no such folder: name one with --input, or download"),
        (["--preset", "sample", "--input", "."], "--input"),
        (["--preset", "sample", "--columns", "image=a"], "--columns are for photos"),
        (["--captions", "nowhere.csv"], "--captions nowhere.csv: does not exist here: name a file"),
        (
            ["--captions", "a.csv", "--input", "mine"],
            "--captions a.csv: does not exist here, nor in --input mine: name a file",
        ),
        (["--columns", "a.csv"], "'columns=a.csv': names no column"),
        (["--working", "file"], "file"),
        (["--working", "."], "holds the notebooks themselves: name another --working"),
        (
            ["--working", "mine"],
            "features.pkl: is not from a run on the sample: name another --working",
        ),
        (["--working", "mine", "--only", "01"], "features.pkl: is not from a run on the sample"),
        (["--working", "mine", "--from", "02"], "or the photos with --input"),
    ],
)
def test_wrong_option_value_is_one_line(repository, monkeypatch, capsys, options, expected):
    monkeypatch.chdir(repository)
    (repository / "file").write_text("not a folder")
    (repository / "mine").mkdir()
    (repository / "mine" / "features.pkl").write_text("of photos")
    monkeypatch.setattr(run, "run_notebook", lambda *_: pytest.fail("a notebook was started"))
    assert main(["run", *options]) == 1
    out, err = capsys.readouterr()
    assert expected in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert not out
    assert (repository / "mine" / "features.pkl").read_text() == "of photos"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["run", "--what"],
        ["run", "--only"],
        ["run", "--only", "3", "--from", "2"],
    ],
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert "usage:" in capsys.readouterr().err


# --- what a run removes and which variables it sets ----------------------------------------------


@pytest.fixture
def recorder(repository, monkeypatch):
    """A runner that records the variables of the kernels instead of starting them.

    Returns the repository, and the list of the variables of each kernel.
    """
    variables = []

    def record(path, *_):
        variables.append({key: value for key, value in os.environ.items() if "CAPTIONS" in key})
        return run.NotebookRun(path.stem, 0, None)

    monkeypatch.setattr(run, "run_notebook", record)
    return repository, variables


def fill_working_folder(folder):
    """Write what a run on the sample leaves, and files of a user; returns both lists of names."""
    artifact_names = [
        "features.pkl",
        "features-ab.npy",
        "captioner.pkl",
        "scores.json",
        "gallery.html",
        "sample/scenes.json",
        "sample/Images/1.jpg",
        "world/scenes.json",  # the name of the folder in earlier versions
    ]
    user_names = ["notes.txt", "my.pkl", "features.txt", "samples/scenes.json"]
    for name in artifact_names + user_names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return artifact_names, user_names


def write_photos(folder, count=30):
    """A small data set: photos of one caption each."""
    folder.mkdir()
    names = [f"{number:02}.png" for number in range(count)]
    for number, name in enumerate(names):
        Image.new("RGB", (2, 2), (number, 0, 0)).save(folder / name)
    rows = [f"{name},a dog runs\n" for name in names]
    (folder / "captions.txt").write_text("image,caption\n" + "".join(rows))
    return names


@pytest.mark.parametrize("options", [[], ["--working", "elsewhere"]])
def test_full_run_on_the_sample_removes_earlier_artifacts_and_keeps_user_files(
    recorder, monkeypatch, options
):
    repository, _ = recorder
    monkeypatch.chdir(repository)
    folder = repository / (options[1] if options else "working/sample")
    artifact_names, user_names = fill_working_folder(folder)
    photo_names, _ = fill_working_folder(repository / "working")
    assert main(["run", *options]) == 0
    assert not any((folder / name).exists() for name in artifact_names)
    assert all((folder / name).exists() for name in user_names)
    assert all((repository / "working" / name).exists() for name in photo_names)


def test_run_ends_with_the_score_of_its_captioner_and_the_command_that_uses_it(recorder, capsys):
    repository, _ = recorder
    folder = repository / "working" / "sample"
    config = Config(working=str(folder))
    for kind in ("features", "captions", "tokenizer", "captioner"):
        artifacts.save(kind, {}, config)
    scores = {"captioner": {"CIDEr-D": 0.5854}, "constant caption": {"CIDEr-D": 0.139}}
    data = {"names": ["x.jpg"] * 1200, "split": "validation", "scores": scores}
    artifacts.save("predictions", data, config)
    result = "CIDEr-D on 1,200 validation photos: 0.585 (a constant caption: 0.139)\n"
    main(["run", "--only", "04"])
    command = f"python -m utils caption PHOTOS --working {folder}"
    assert capsys.readouterr().out.endswith(f"{result}caption photos with it: {command}\n")
    main(["run", "--only", "05"])  # which has computed no score
    assert "CIDEr-D" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["sample", "world"])
def test_folder_without_drawn_photos_is_kept(recorder, name):
    repository, _ = recorder
    folder = repository / "working" / "sample" / name
    folder.mkdir(parents=True)
    (folder / "map.txt").write_text("mine")
    main(["run"])
    assert (folder / "map.txt").read_text() == "mine"


@pytest.mark.parametrize("option", ["--only", "--from"])
def test_partial_run_removes_nothing(recorder, option):
    repository, _ = recorder
    artifact_names, _ = fill_working_folder(repository / "working" / "sample")
    main(["run", option, "02"])
    assert all((repository / "working" / "sample" / name).exists() for name in artifact_names)


def test_shell_variables_are_ignored_on_the_sample(recorder, monkeypatch, capsys):
    repository, variables = recorder
    for name, value in {"PRESET": "flickr8k", "SET": "epochs=9", "WORKING": "/nowhere"}.items():
        monkeypatch.setenv(f"CAPTIONS_{name}", value)
    main(["run", "--set", "units=5"])
    assert variables[0]["CAPTIONS_PRESET"] == "sample"
    assert variables[0]["CAPTIONS_SET"] == "units=5"
    assert variables[0]["CAPTIONS_WORKING"] == str(repository / "working" / "sample")
    assert "CAPTIONS_WORKING is ignored" in capsys.readouterr().out


def test_run_on_photos_uses_shell_variables_and_options_override_them(recorder, monkeypatch):
    repository, variables = recorder
    monkeypatch.chdir(repository)
    write_photos(repository / "mine")
    artifact_names, _ = fill_working_folder(repository / "out")
    monkeypatch.setenv("CAPTIONS_SET", "epochs=9")
    monkeypatch.setenv("CAPTIONS_WORKING", "out")
    assert main(["run", "--input", "mine", "--set", "units=5"]) == 0
    assert variables[0] == {
        "CAPTIONS_PRESET": "flickr8k",
        "CAPTIONS_INPUT": str(repository / "mine"),
        "CAPTIONS_WORKING": str(repository / "out"),
        "CAPTIONS_SET": "epochs=9,units=5",
    }
    assert all((repository / "out" / name).exists() for name in artifact_names)


# --- what the data are, before anything is computed ----------------------------------------------


@pytest.fixture
def photos_folder(recorder):
    """A folder with 30 photos, three of which are left out."""
    repository, _ = recorder
    folder = repository / "mine"
    names = write_photos(folder)
    (folder / names[0]).unlink()
    with open(folder / "captions.txt", "a") as lines:
        lines.write(f"{names[1]},two dogs\n")
    for split, listed in {"train": names[:20], "dev": names[20:28], "test": names[28:29]}.items():
        (folder / f"Flickr_8k.{split}Images.txt").write_text("\n".join(listed) + "\n")
    (folder / "uncaptioned.png").write_bytes((folder / names[1]).read_bytes())
    return folder


REPORT = """\
captions    captions.txt in {folder}
photos      19 train, 8 validation, 1 test; split: standard lists
references  1 to 2 per photo, 1.0 on average
vocabulary  7 tokens (min_count=4); 0.0% of the validation tokens are unknown
left out    1 (no caption): uncaptioned.png
left out    1 (no image): 00.png
left out    1 (in none of the lists of the split): 29.png
note        19 training photos are few: start from the pretrained captioner, which knows 100% of \
the validation tokens: --set start_from=pretrained
note        too few validation photos (8) to fit the confidence of captions: at least 100 are \
needed
note        too few test photos (1) for scores that hold for others: at least 100 are needed
"""


def test_check_reports_the_data_and_runs_and_writes_nothing(photos_folder, capsys, monkeypatch):
    monkeypatch.setattr(run, "run_notebook", lambda *_: pytest.fail("a notebook was started"))
    before = sorted(photos_folder.parent.rglob("*"))
    assert main(["run", "--check", "--input", str(photos_folder)]) == 0
    assert capsys.readouterr().out == REPORT.format(folder=photos_folder)
    assert sorted(photos_folder.parent.rglob("*")) == before


@pytest.mark.parametrize("place", ["here", "input"])
def test_captions_file_is_found_here_and_in_the_input_folder(
    photos_folder, capsys, place, monkeypatch, tmp_path
):
    rows = "".join(f"{number:02}.png,two cats\n" for number in range(1, 30))
    (photos_folder / "labels.csv").write_text("image,caption\n" + rows)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    if place == "here":  # which comes first
        (elsewhere / "labels.csv").write_text("image,caption\n" + rows.replace("two", "big"))
    command = ["run", "--check", "--input", str(photos_folder), "--captions", "labels.csv"]
    assert main(command) == 0
    folder = elsewhere if place == "here" else photos_folder
    assert f"captions    labels.csv in {folder}" in capsys.readouterr().out


@pytest.mark.parametrize("with_input", [False, True])
def test_captions_file_and_columns_can_be_named(photos_folder, capsys, with_input, monkeypatch):
    folder = photos_folder
    table = folder / "deep, and 'odd'" / "my, own.dat"
    table.parent.mkdir()
    rows = "".join(f"{number:02}.png;a cat;two big cats\n" for number in range(1, 30))
    table.write_text("Bild;Satz;caption\n" + rows)
    monkeypatch.chdir(table.parent)
    named = ["--captions", table.name, "--columns", "image=Bild,caption=Satz"]
    if with_input:
        named += ["--input", str(folder)]
    else:
        for path in folder.glob("*.png"):
            path.rename(table.parent / path.name)
    assert main(["run", "--check", *named]) == 0
    report = capsys.readouterr().out
    assert f"captions    my, own.dat in {table.parent}" in report
    assert "vocabulary  6 tokens" in report
    assert ("ignored: captions.txt (other columns are named)" in report) == with_input


def test_run_on_photos_begins_with_the_report(photos_folder, capsys):
    assert main(["run", "--input", str(photos_folder)]) == 0
    assert capsys.readouterr().out.startswith(REPORT.format(folder=photos_folder))


def test_check_needs_no_tensorflow(photos_folder):
    code = (
        "import sys; from utils.cli.main import main; "
        "status = main(sys.argv[1:]); print({'tensorflow', 'keras'} & {*sys.modules}, status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--check", "--input", str(photos_folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "set() 0"


def test_check_says_what_to_do_about_many_unknown_tokens(photos_folder, capsys):
    with open(photos_folder / "captions.txt", "a", encoding="utf-8") as lines:
        for number in range(20, 28):
            lines.write(f"{number}.png,eine Katze schläft\n")
    options = ["--check", "--input", str(photos_folder), "--set"]
    assert main(["run", *options, "min_count=4"]) == 0
    out = capsys.readouterr().out
    assert "50% of the validation tokens are unknown: lower min_count=4, or add captions" in out
    assert main(["run", *options, "min_count=30"]) == 1
    assert "no token occurs 30 times: lower the setting min_count" in capsys.readouterr().err


def test_check_says_what_to_do_about_many_truncated_captions(photos_folder, capsys):
    with open(photos_folder / "captions.txt", "a", encoding="utf-8") as lines:
        for number in range(1, 20):
            lines.write(f"{number:02}.png,女の子が二人雪の中で遊んでいます。\n")
    assert main(["run", "--check", "--input", str(photos_folder), "--set", "max_length=10"]) == 0
    out = capsys.readouterr().out
    assert "of the training captions are longer than max_length=10: set max_length=16" in out


def proposal(out):
    """The line of a report that proposes the pretrained captioner, or none."""
    lines = [line for line in out.splitlines() if "start_from=pretrained" in line]
    assert len(lines) <= 1
    return "".join(lines)


def test_check_proposes_the_pretrained_captioner_for_few_photos_or_many_unknown_tokens(
    photos_folder, capsys, monkeypatch
):
    options = ["run", "--check", "--input", str(photos_folder), "--set"]
    assert main([*options, "max_length=25"]) == 0
    out = capsys.readouterr().out
    assert "note        19 training photos are few: start from" in proposal(out)
    assert "too few validation photos (8) to fit the confidence of captions" in out

    monkeypatch.setattr(pretrained_hint, "FEW_PHOTOS", 19)
    assert main([*options, "max_length=25"]) == 0
    assert proposal(capsys.readouterr().out) == ""
    with open(photos_folder / "captions.txt", "a", encoding="utf-8") as lines:
        for number in range(20, 28):
            lines.write(f"{number}.png,two children jump\n")
    assert main([*options, "min_count=4"]) == 0
    line = proposal(capsys.readouterr().out)
    assert line.startswith("note        50% unknown tokens are many: start from the pretrained ")
    assert "knows 100% of the validation tokens" in line
    # Then the tokens are known, and nothing is proposed.
    assert main([*options, "start_from=pretrained"]) == 0
    out = capsys.readouterr().out
    assert "0.0% of the validation tokens are unknown" in out
    assert proposal(out) == ""


def test_check_proposes_the_pretrained_captioner_only_where_a_run_can_start_from_it(
    photos_folder, capsys, monkeypatch
):
    options = ["run", "--check", "--input", str(photos_folder), "--set"]
    assert main([*options, "units=100"]) == 0  # other weights
    assert proposal(capsys.readouterr().out) == ""
    with open(photos_folder / "captions.txt", "a", encoding="utf-8") as lines:
        for number in range(20, 28):
            lines.write(f"{number}.png,eine Katze schläft\n")  # another language
    assert main([*options, "min_count=4"]) == 0
    out = capsys.readouterr().out
    assert "19 train" in out
    assert proposal(out) == ""


def test_unusable_photos_stop_a_run_before_its_first_notebook(photos_folder, monkeypatch, capsys):
    (photos_folder / "captions.txt").write_text("image,caption\nelsewhere.jpg,a dog\n")
    assert main(["run", "--from", "3", "--input", str(photos_folder)]) == 0
    assert "photos not checked: " in capsys.readouterr().out
    monkeypatch.setattr(run, "run_notebook", lambda *_: pytest.fail("a notebook was started"))
    for options in (["--check", "--only", "3"], []):
        assert main(["run", *options, "--input", str(photos_folder)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert "none of the 1 captioned photos" in err


def test_check_of_the_sample_draws_nothing(recorder, capsys):
    repository, _ = recorder
    assert main(["run", "--check"]) == 0
    assert capsys.readouterr().out.startswith("the drawn sample: 01_features draws it")
    folder = repository / "working" / "sample" / "sample"
    write_sample(folder, 4, 2, 2, progress=False)
    assert main(["run", "--check"]) == 0
    assert "photos      4 train, 2 validation, 2 test" in capsys.readouterr().out


# --- progress bars in a log ----------------------------------------------------------------------


class Terminal(io.StringIO):
    """An output stream that is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def shown(monkeypatch):
    """A function: what a ProgressStream prints for text that comes in pieces."""

    def show(*pieces, out=io.StringIO):
        monkeypatch.setattr(sys, "stdout", out())
        stream = executor.ProgressStream()
        for piece in pieces:
            stream.write(piece)
        stream.close()
        return sys.stdout.getvalue()

    return show


def test_log_has_the_last_state_of_a_progress_bar(shown):
    bar = [f"\r{percent}%|##|" for percent in range(0, 101, 10)]
    assert shown(*bar, "\n", "after\n") == "    100%|##|\n    after\n"
    assert shown(*bar) == "    100%|##|\n"
    assert shown("10%\r", "20%\r", "30%\r\n") == "    30%\n"
    assert shown("\r10%", "\r   \r", "after\n") == "    after\n"  # the bar erased itself


def test_log_has_some_states_of_a_long_progress_bar(monkeypatch, shown):
    clock = iter(range(0, 1000))
    monkeypatch.setattr(executor.time, "monotonic", lambda: next(clock))
    states = shown(*[f"\rstate {number}" for number in range(100)]).splitlines()
    assert 3 <= len(states) <= 20
    assert states[-1].strip() == "state 99"


def test_progress_bar_on_a_terminal_redraws_its_line(shown):
    out = shown("\r10%", "\r20%", out=Terminal)
    assert out.startswith("\r\x1b[K    10%\r\x1b[K    20%")
    assert out.count("\n") == 1


def test_pieces_of_a_line_are_joined(shown):
    assert shown("a", "b\r\nc", "d", "\n\n") == "    ab\n    cd\n\n"


def test_colors_are_removed(shown):
    assert shown("\x1b[31mred\x1b[0m\n") == "    red\n"


@pytest.mark.parametrize("preset", ["sample", "flickr8k"])
def test_artifacts_record_whether_they_are_from_the_sample(repository, capsys, monkeypatch, preset):
    """The drawn photos may have been deleted, or may be from an earlier run on the sample."""
    folder = repository / "artifacts"
    if preset != "sample":
        (folder / "sample").mkdir(parents=True)
        (folder / "sample" / "scenes.json").touch()
    artifacts.save("captions", {}, Config(preset, working=str(folder)))
    monkeypatch.setattr(run, "run_notebook", lambda *_: run.NotebookRun("01", 0, None))
    assert main(["run", "--working", str(folder)]) == (preset != "sample")
    assert (folder / "captions.pkl").is_file() == (preset != "sample")
    assert ("is not from a run on the sample" in capsys.readouterr().err) == (preset != "sample")
