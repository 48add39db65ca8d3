"""`inn image`, with a busybox of our own so that no network is needed."""

import json
from pathlib import Path

import pytest

from innkeeper.cli import main


def test_the_path_is_what_is_printed(busybox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.cpio.gz"

    assert main(["image", "initramfs", "--busybox", str(busybox), "--output", str(output)]) == 0

    assert capsys.readouterr().out == f"{output}\n"
    assert output.read_bytes().startswith(b"\x1f\x8b")


def test_json_says_the_same_and_more(busybox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.cpio.gz"

    assert main(["image", "initramfs", "--busybox", str(busybox), "--output", str(output), "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == {"path": str(output), "size": output.stat().st_size}


def test_a_missing_script_is_one_sentence(busybox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.cpio.gz"
    words = ["image", "initramfs", "--busybox", str(busybox), "--init", "/absent", "--output", str(output)]

    assert main(words) == 2

    assert capsys.readouterr().err == "error: cannot read /absent: no such file\n"
    assert not output.exists()
