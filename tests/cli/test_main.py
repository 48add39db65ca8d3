"""The command line: answers to mistakes, and which modules a verb costs."""

import subprocess
import sys

import pytest

from innkeeper import __version__
from innkeeper.cli import main
from innkeeper.cli.status import Status


def outcome(words: list[str]) -> int:
    """The exit status, whether returned or raised by the parser."""
    try:
        return main(words)
    except SystemExit as leaving:
        return int(leaving.code or 0)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(["--version"]) == 0
    assert capsys.readouterr().out == f"innkeeper {__version__}\n"


@pytest.mark.parametrize(
    "verb", [[], ["run"], ["trace"], ["doctor"], ["image"], ["image", "kernel"], ["image", "initramfs"]]
)
def test_every_verb_explains_itself(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome([*verb, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: {' '.join(['inn', *verb])} ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "the following arguments are required: VERB"),
        (["fly"], "there is no command 'fly'; see inn --help"),
        (["lsit"], "there is no command 'lsit'; did you mean 'list'?"),
        (["--verbose"], "required: VERB"),
        (["image"], "the following arguments are required: KIND"),
        (["image", "kernel", "--pack", "x"], "unrecognized arguments: --pack x"),
        (["image", "initramfs", "--file", "x"], "'x' is not SRC:DST with an absolute DST"),
        (["image", "initramfs", "--file", "x:y"], "'x:y' is not SRC:DST with an absolute DST"),
        (["image", "initramfs", "--file", ":/y"], "':/y' is not SRC:DST with an absolute DST"),
        (["image", "initramfs", "--output", "/"], "output / is a directory; it must be a file's name"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(words) == Status.MISTAKE

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert sentence in captured.err
    assert captured.err.count("\n") == 1


def test_help_loads_no_verb() -> None:
    code = "import sys; from innkeeper.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    modules = done.stdout.split()
    assert "innkeeper.cli" in modules
    assert not {
        "innkeeper.cli.run",
        "innkeeper.cli.trace",
        "innkeeper.cli.image",
        "innkeeper.image",
        "innkeeper._core",
    } & set(modules)


def test_a_closed_output_is_no_traceback() -> None:
    command = f"{sys.executable} -m innkeeper.cli --help | true; {sys.executable} -m innkeeper.cli --version >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=60)

    assert "Traceback" not in done.stderr
