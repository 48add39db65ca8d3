"""Completion of command lines in shells."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from innkeeper.cli import VERBS, main
from innkeeper.cli.complete import possibilities

XML = "<domain type='qemu'><name>{}</name><memory unit='MiB'>64</memory></domain>"


@pytest.fixture(autouse=True)
def machines(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("web", "west", "db"):
        file = user / f"{name}.xml"
        file.write_text(XML.format(name))
        assert main(["define", str(file)]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["dompara"], []),
        (["domst"], sorted(verb for verb in VERBS if verb.startswith("domst"))),
        (["start", ""], ["db", "web", "west"]),
        (["start", "we"], ["web", "west"]),
        (["start", "web", ""], []),
        (["virsh", "undef"], ["undefine"]),
        (["virsh", "undefine", "d"], ["db"]),
        (["start", "--c"], ["--console"]),
        (["virsh", "list", "--in"], ["--inactive"]),
        (["define", ""], ["/"]),
        (["screenshot", "--format", ""], ["png", "ppm", "txt"]),
        (["completion", "f"], ["fish"]),
        (["image", "conv"], ["convert"]),
        (["image", "convert", "-O", "q"], ["qcow2"]),
        (["nonsense", "x"], []),
    ],
)
def test_what_may_come_next(words: list[str], found: list[str]) -> None:
    assert possibilities(words) == found


def test_bash_completes_with_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    script += 'COMP_WORDS=(inn virsh start we) COMP_CWORD=3; _inn; echo "${COMPREPLY[@]}"\n'
    path = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": path + ":" + os.environ["PATH"]}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "web west\n"
