"""The command, as tests say it and hear it."""

import pytest

from innkeeper.cli import main


class Inn:
    """The command, and what it said."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, words: str, status: int = 0) -> str:
        self.capsys.readouterr()
        try:
            ended = main(words.split())
        except SystemExit as error:
            ended = int(error.code or 0)
        said = self.capsys.readouterr()
        assert ended == status, said.err
        return said.err if status else said.out


@pytest.fixture
def inn(capsys: pytest.CaptureFixture[str]) -> Inn:
    return Inn(capsys)


def virsh(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert main(["virsh", *words]) == status, capsys.readouterr().err
    said = capsys.readouterr()
    return said.err if status else said.out
