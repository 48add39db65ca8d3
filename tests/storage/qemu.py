"""qemu-img and qemu-io as oracles of what images mean."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-img") is None or shutil.which("qemu-io") is None,
    reason="no qemu-img and qemu-io (Debian package qemu-utils)",
)


def qemu_img(*words: object, status: int = 0) -> str:
    run = subprocess.run(
        ["qemu-img", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == status, f"qemu-img {words}: {run.returncode}\n{run.stdout}{run.stderr}"
    return run.stdout


def qemu_json(verb: str, *words: object, status: int = 0) -> Any:
    return json.loads(qemu_img(verb, "--output", "json", *words, status=status))


def qemu_io(image: Path, *commands: str, image_format: str = "qcow2") -> None:
    words = [word for command in commands for word in ("-c", command)]
    run = subprocess.run(
        ["qemu-io", "-f", image_format, *words, str(image)], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "failed" not in run.stdout, run.stdout


def is_clean(image: Path) -> bool:
    """Whether qemu-img finds neither errors nor lost clusters."""
    qemu_img("check", "-f", "qcow2", image)
    return True


def same(first: Path, second: Path) -> bool:
    """Whether qemu-img reads the same disk from both."""
    return qemu_img("compare", first, second).startswith("Images are identical")


def raw_of(image: Path, to: Path, *options: str) -> bytes:
    """The disk's bytes, as qemu-img reads them."""
    qemu_img("convert", "-O", "raw", *options, image, to)
    return to.read_bytes()
