"""The command line as a whole."""

from utils.cli.main import main


def test_call_without_a_command_prints_the_commands(capsys):
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    for command in ("run", "caption", "search", "score", "demo"):
        assert f"\n    {command} " in captured.err
