"""The runner, on small notebooks of its own: order, live output, failures, refusals, leftovers."""

import io
import os
import signal
import subprocess
import sys
from unittest import mock

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from utils import artifacts, paths
from utils.__main__ import main
from utils.cli import executor, run
from utils.config import Config
from utils.paths import REPOSITORY

NAMES = ("01_features", "02_text", "03_train", "04_evaluate", "05_visualize")
SAY = "import os; print('this is', os.path.abspath('.'))"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with five small notebooks; nothing outside the test's folder is written."""
    (tmp_path / "notebooks").mkdir()
    for name in NAMES:
        write_notebook(tmp_path, name, f"print('I am {name}')")
    monkeypatch.setattr(run, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path)
    with mock.patch.dict(os.environ):  # which a run changes
        for name in [name for name in os.environ if name.startswith("CAPTIONS_")]:
            del os.environ[name]
        yield tmp_path


def write_notebook(repository, name, *sources):
    """A notebook of a title and code cells, each under a heading of its own."""
    cells = [new_markdown_cell(f"# {name}")]
    for number, source in enumerate(sources, 1):
        cells += [new_markdown_cell(f"## Part {number}\nprose"), new_code_cell(source)]
    path = repository / "notebooks" / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def executed(repository, name, working="working/sample"):
    """The executed copy of a notebook."""
    return nbformat.read(repository / working / "notebooks" / f"{name}.ipynb", as_version=4)


def command(repository, *options):
    """`python -m utils run` on the repository's notebooks, as a process of its own."""
    program = (
        # A process started in the background of a script ignores Ctrl-C from birth: undo that.
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
    said = [line.strip() for line in out.splitlines() if "I am" in line]
    assert said == [f"I am {name}" for name in NAMES]
    for number, name in enumerate(NAMES, 1):
        assert f"{number} of 5  {name}" in out
        assert executed(repository, name).cells[2].outputs[0].text == f"I am {name}\n"
    assert "seconds" in out and str(repository / "working" / "sample") in out


def test_a_cell_is_announced_with_its_number_and_its_heading(repository, capsys):
    write_notebook(repository, "02_text", "1", "2")
    main(["run", "--only", "text"])
    out = capsys.readouterr().out
    assert "cell 1 of 2 · Part 1" in out and "cell 2 of 2 · Part 2" in out


def test_a_kernel_starts_in_the_notebooks_folder_with_the_runs_settings(repository, capsys):
    show = (
        "for name in sorted(os.environ):\n    if 'CAPTIONS' in name: print(name, os.environ[name])"
    )
    write_notebook(repository, "01_features", f"{SAY}\n{show}")
    main(["run", "--only", "1", "--set", "epochs=2", "--set", "units=5"])
    out = capsys.readouterr().out
    assert f"this is {repository / 'notebooks'}" in out
    assert "CAPTIONS_PRESET sample" in out and "CAPTIONS_SET epochs=2,units=5" in out


def test_output_is_shown_while_its_cell_still_runs(repository):
    # The cell goes on only once the reader has seen its first line.
    wait = (
        "import pathlib, time; print('first', flush=True)\n"
        "for _ in range(600):\n    time.sleep(0.1)\n"
        "    if pathlib.Path('seen').exists(): break\nelse: raise SystemError('nobody reads')\n"
        "print('second')"
    )
    write_notebook(repository, "03_train", wait)
    process = command(repository, "--only", "03")
    for line in process.stdout:
        if line.strip() == "first":
            (repository / "notebooks" / "seen").touch()
            break
    out, _ = process.communicate()
    assert process.returncode == 0 and "second" in out


def test_figures_and_tables_are_shown_in_words(repository, capsys):
    source = (
        "from IPython.display import display\n"
        "display({'image/png': 'QUJD', 'text/plain': '<Figure>'}, raw=True)\n"
        "display({'text/html': '<b>3</b>', 'text/plain': 'three'}, raw=True)"
    )
    write_notebook(repository, "05_visualize", source)
    assert main(["run", "--only", "visualize"]) == 0
    out = capsys.readouterr().out
    assert "[figure]" in out and "three" in out and "<b>" not in out and "<Figure>" not in out


def test_a_failing_cell_ends_the_run_and_keeps_what_there_is(repository, capsys):
    write_notebook(repository, "03_train", "print('so far')", "half = 1 / 0", "print('never')")
    assert main(["run", "--from", "2"]) == 1
    out, err = capsys.readouterr()
    assert "I am 02_text" in out and "so far" in out
    assert "never" not in out and "04_evaluate" not in out
    assert "03_train, cell 2 of 3 · Part 2" in err and "half = 1 / 0" in err
    assert "ZeroDivisionError" in err and "nbclient" not in err and "\x1b" not in err
    copy = executed(repository, "03_train")
    assert copy.cells[2].outputs[0].text == "so far\n"
    assert copy.cells[4].outputs[0].ename == "ZeroDivisionError"
    assert copy.cells[6].outputs == []


def test_a_users_error_in_a_notebook_is_one_line_there_too(repository, capsys):
    raise_it = "from utils.errors import CaptionsError; raise CaptionsError('do this')"
    path = f"import sys; sys.path.insert(0, {str(run.REPOSITORY)!r}); "
    write_notebook(repository, "04_evaluate", path + raise_it)
    assert main(["run", "--only", "4"]) == 1
    err = capsys.readouterr().err
    assert "CaptionsError: do this" in err and "Traceback" not in err


def test_a_missing_artifact_is_one_line_that_names_its_notebook(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "utils", "run", "--only", "04", "--working", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 1
    line = f"CaptionsError: {tmp_path / 'features.pkl'}: not there: run 01_features first"
    assert done.stderr.splitlines().count(line) == 1 and "Traceback" not in done.stderr
    assert (tmp_path / "notebooks" / "04_evaluate.ipynb").is_file()


def test_a_kernel_that_dies_is_told_apart_from_an_error(repository, capsys):
    write_notebook(repository, "02_text", "import os; os._exit(9)")
    assert main(["run", "--only", "2"]) == 1
    assert "02_text, cell 1 of 1 · Part 1: its kernel died" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
def test_a_second_run_in_the_same_folder_is_refused_until_the_first_is_gone(repository, capsys):
    sleep = "import os, time; print('kernel', os.getpid(), flush=True); time.sleep(600)"
    write_notebook(repository, "01_features", sleep)
    write_notebook(repository, "02_text", "1 + 1")
    process = command(repository, "--only", "1")
    next(line for line in process.stdout if "kernel" in line)
    assert main(["run", "--only", "2"]) == 1
    assert "sample: another run is at work here: wait for it" in capsys.readouterr().err
    process.kill()
    process.communicate()
    assert main(["run", "--only", "2"]) == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
def test_an_interrupt_ends_the_kernel_with_the_run(repository):
    sleep = "import os, time; print('kernel', os.getpid(), flush=True); time.sleep(600)"
    write_notebook(repository, "01_features", sleep)
    process = command(repository, "--only", "1")
    kernel = next(int(line.split()[1]) for line in process.stdout if "kernel" in line)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert err.split()[-1] == "interrupted" and "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.kill(kernel, 0)


def test_stderr_stays_out_of_the_copy(repository):
    write_notebook(repository, "01_features", "import sys; print('bar', file=sys.stderr); print(1)")
    main(["run", "--only", "1"])
    outputs = executed(repository, "01_features").cells[2].outputs
    assert [(output.name, output.text) for output in outputs] == [("stdout", "1\n")]


def test_old_outputs_do_not_stand_below_a_failed_cell(repository):
    path = write_notebook(repository, "01_features", "1 / 0", "print('later')")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[4].outputs = [new_output("stream", text="of another run")]
    nbformat.write(notebook, path)
    assert main(["run", "--only", "1"]) == 1
    assert executed(repository, "01_features").cells[4].outputs == []


def test_two_runs_give_the_same_file_and_the_source_stays_as_it_was(repository):
    source = repository / "notebooks" / "01_features.ipynb"
    before = source.read_bytes()
    copies = []
    for _ in range(2):
        main(["run", "--only", "1"])
        copies.append((repository / "working/sample/notebooks/01_features.ipynb").read_bytes())
    assert copies[0] == copies[1]
    assert source.read_bytes() == before
    ids = [cell.id for cell in nbformat.read(source, as_version=4).cells]
    assert [cell.id for cell in executed(repository, "01_features").cells] == ids


# --- which notebooks -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["03", "3", "train", "03_train", "03_train.ipynb"])
def test_a_notebook_goes_by_number_word_or_name(repository, name):
    assert [path.stem for path in run.select_notebooks([name])] == ["03_train"]


def test_only_keeps_the_order_and_from_goes_to_the_end(repository):
    assert [path.stem[:2] for path in run.select_notebooks(["4", "2"])] == ["02", "04"]
    assert [path.stem[:2] for path in run.select_notebooks(start="4")] == ["04", "05"]
    assert len(run.select_notebooks()) == 5


# --- refusals: one line, before any kernel -------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--only", "nine"], "nine"),
        (["--from", "6"], "'6'"),
        (["--set", "epochs"], "epochs"),
        (["--set", "epochs=0"], "epochs=0"),
        (["--set", "color=red"], "color"),
        (["--preset", "coco"], "coco"),
        (["--input", "nowhere"], "nowhere"),
        (["--input", "."], "captions.txt"),
        (["--preset", "flickr8k"], "data"),
        (["--preset", "sample", "--input", "."], "--input"),
        (["--working", "file"], "file"),
        (["--working", "."], "holds the notebooks themselves: name another --working"),
        (["--working", "mine"], "features.pkl: is not the sample's: name another folder"),
        (["--working", "mine", "--only", "01"], "features.pkl: is not the sample's"),
        (["--working", "mine", "--from", "02"], "or the photos with --input"),
    ],
)
def test_a_bad_option_is_one_line(repository, monkeypatch, capsys, options, word):
    monkeypatch.chdir(repository)
    (repository / "file").write_text("not a folder")
    (repository / "mine").mkdir()
    (repository / "mine" / "features.pkl").write_text("of photos")
    monkeypatch.setattr(run, "run_notebook", lambda *_: pytest.fail("a notebook was started"))
    assert main(["run", *options]) == 1
    out, err = capsys.readouterr()
    assert word in err and err.count("\n") == 1 and "Traceback" not in err
    assert not out and (repository / "mine" / "features.pkl").read_text() == "of photos"


BOTH = ["run", "--only", "3", "--from", "2"]


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["run", "--what"], ["run", "--only"], BOTH])
def test_a_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2 and "usage:" in capsys.readouterr().err


# --- what a run removes, reads and sets ----------------------------------------------------------


@pytest.fixture
def unstarted(repository, monkeypatch):
    """The repository, with a runner that notes the kernels' variables instead of starting any."""
    seen = []

    def note(path, *_):
        seen.append({key: value for key, value in os.environ.items() if "CAPTIONS" in key})
        return path.stem, 0, None

    monkeypatch.setattr(run, "run_notebook", note)
    return repository, seen


def fill(folder):
    """What a sample run leaves in its working folder, and beside it what a user put there."""
    ours = ["features.pkl", "features-ab.npy", "captioner.pkl", "scores.json", "gallery.html"]
    ours += ["world/scenes.json", "world/Images/1.jpg"]
    theirs = ["notes.txt", "my.pkl", "features.txt", "worlds/scenes.json"]
    for name in ours + theirs:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return ours, theirs


@pytest.mark.parametrize("options", [[], ["--working", "elsewhere"]])
def test_a_full_run_on_the_sample_starts_anew_and_leaves_a_users_files(
    unstarted, monkeypatch, options
):
    repository, _ = unstarted
    monkeypatch.chdir(repository)
    folder = repository / (options[1] if options else "working/sample")
    ours, theirs = fill(folder)
    photos, _ = fill(repository / "working")
    assert main(["run", *options]) == 0
    assert not any((folder / name).exists() for name in ours)
    assert all((folder / name).exists() for name in theirs)
    assert all((repository / "working" / name).exists() for name in photos)


def test_a_folder_called_world_that_nobody_drew_is_left_alone(unstarted):
    repository, _ = unstarted
    world = repository / "working" / "sample" / "world"
    world.mkdir(parents=True)
    (world / "map.txt").write_text("mine")
    main(["run"])
    assert (world / "map.txt").read_text() == "mine"


@pytest.mark.parametrize("option", ["--only", "--from"])
def test_a_part_of_a_run_removes_nothing(unstarted, option):
    repository, _ = unstarted
    ours, _ = fill(repository / "working" / "sample")
    main(["run", option, "02"])
    assert all((repository / "working" / "sample" / name).exists() for name in ours)


def test_the_shells_variables_do_not_reach_the_sample(unstarted, monkeypatch, capsys):
    repository, seen = unstarted
    for name, value in {"PRESET": "flickr8k", "SET": "epochs=9", "WORKING": "/nowhere"}.items():
        monkeypatch.setenv(f"CAPTIONS_{name}", value)
    main(["run", "--set", "units=5"])
    assert seen[0]["CAPTIONS_PRESET"] == "sample" and seen[0]["CAPTIONS_SET"] == "units=5"
    assert seen[0]["CAPTIONS_WORKING"] == str(repository / "working" / "sample")
    assert "CAPTIONS_WORKING is set aside" in capsys.readouterr().out


def test_photos_take_the_shells_variables_and_the_options_over_them(unstarted, monkeypatch):
    repository, seen = unstarted
    monkeypatch.chdir(repository)
    (repository / "mine").mkdir()
    (repository / "mine" / "captions.txt").write_text("image,caption\n")
    kept, _ = fill(repository / "out")
    monkeypatch.setenv("CAPTIONS_SET", "epochs=9")
    monkeypatch.setenv("CAPTIONS_WORKING", "out")
    assert main(["run", "--input", "mine", "--set", "units=5"]) == 0
    assert seen[0] == {
        "CAPTIONS_PRESET": "flickr8k",
        "CAPTIONS_INPUT": str(repository / "mine"),
        "CAPTIONS_WORKING": str(repository / "out"),
        "CAPTIONS_SET": "epochs=9,units=5",
    }
    assert all((repository / "out" / name).exists() for name in kept)


# --- progress bars in a log ----------------------------------------------------------------------


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def shown(monkeypatch):
    """A function: what `Lines` prints of text that comes in pieces."""

    def show(*pieces, out=io.StringIO):
        monkeypatch.setattr(sys, "stdout", out())
        lines = executor.ProgressStream()
        for piece in pieces:
            lines.write(piece)
        lines.close()
        return sys.stdout.getvalue()

    return show


def test_a_bar_in_a_log_is_its_last_state(shown):
    bar = [f"\r{percent}%|##|" for percent in range(0, 101, 10)]
    assert shown(*bar, "\n", "after\n") == "    100%|##|\n    after\n"
    assert shown(*bar) == "    100%|##|\n"
    assert shown("10%\r", "20%\r", "30%\r\n") == "    30%\n"
    assert shown("\r10%", "\r   \r", "after\n") == "    after\n"  # it wiped itself away


def test_a_long_bar_in_a_log_is_shown_now_and_then(monkeypatch, shown):
    clock = iter(range(0, 1000))
    monkeypatch.setattr(executor.time, "monotonic", lambda: next(clock))
    states = shown(*[f"\rstate {number}" for number in range(100)]).splitlines()
    assert 3 <= len(states) <= 20 and states[-1].strip() == "state 99"


def test_a_bar_on_a_terminal_redraws_its_line(shown):
    out = shown("\r10%", "\r20%", out=Terminal)
    assert out.startswith("\r\x1b[K    10%\r\x1b[K    20%") and out.count("\n") == 1


def test_pieces_of_a_line_are_put_together(shown):
    assert shown("a", "b\r\nc", "d", "\n\n") == "    ab\n    cd\n\n"


def test_colors_are_left_out(shown):
    assert shown("\x1b[31mred\x1b[0m\n") == "    red\n"


@pytest.mark.parametrize("preset", ["sample", "flickr8k"])
def test_artifacts_say_whether_they_are_the_samples(repository, capsys, monkeypatch, preset):
    """The world beside them may have been deleted, or be of an earlier run on the sample."""
    folder = repository / "artifacts"
    if preset != "sample":
        (folder / "world").mkdir(parents=True)
        (folder / "world" / "scenes.json").touch()
    artifacts.save("captions", {}, Config(preset, working=str(folder)))
    monkeypatch.setattr(run, "run_notebook", lambda *_: ("01", 0, None))
    assert main(["run", "--working", str(folder)]) == (preset != "sample")
    assert (folder / "captions.pkl").is_file() == (preset != "sample")
    assert ("is not the sample's" in capsys.readouterr().err) == (preset != "sample")
