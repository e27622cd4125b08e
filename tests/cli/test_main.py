"""The command line as a whole."""

import pytest

from utils.cli.main import main


def test_call_without_a_command_prints_the_commands(capsys):
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    for command in ("run", "caption", "search", "score", "demo"):
        assert f"\n    {command} " in captured.err


@pytest.mark.parametrize(
    ("arguments", "command", "problem"),
    [
        (["caption", "x", "--atl"], "caption", "unknown argument --atl: did you mean --alt?"),
        (["run", "--inptu=x"], "run", "unknown argument --inptu=x: did you mean --input?"),
        (["kaggle", "push", "--usr", "x"], "kaggle push", "--usr: did you mean --user?"),
        (["search", "a dog", "x", "--qqq"], "search", "unknown argument --qqq"),
        (["html", "a", "b"], "html", "unknown argument b"),
        (["captoin", "x"], "", "no 'captoin': did you mean caption?"),
        (["kaggle", "pussh"], "kaggle", "no 'pussh': did you mean push?"),
        (["qqq"], "", "invalid choice: 'qqq'"),
    ],
)
def test_unknown_argument_shows_the_usage_of_its_command_and_a_similar_one(
    capsys, arguments, command, problem
):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"usage: python -m utils {command}".rstrip())
    name, _, message = lines[-1].partition(": error: ")
    assert name == f"python -m utils {command}".rstrip()
    assert problem in message
    if "did you mean" not in problem:
        assert "did you mean" not in message
