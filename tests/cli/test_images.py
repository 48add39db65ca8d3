"""`inn image` and its tools for disk images, as people and scripts call them."""

import json
from pathlib import Path

import pytest
from tests.storage.qemu import needs_qemu, qemu_img, qemu_json

from innkeeper.cli import main


def inn(*words: object) -> int:
    return main(["image", *map(str, words)])


def test_an_image_is_made_and_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "disk.qcow2"

    assert inn("create", "-f", "qcow2", "-o", "cluster_size=128k", path, "3G") == 0
    assert capsys.readouterr().out == f"{path}: qcow2, a disk of 3 GiB (3221225472 bytes)\n"
    assert inn("snapshot", "-c", "first", path) == 0
    assert inn("info", path) == 0

    said = capsys.readouterr().out
    assert f"image: {path}\nfile format: qcow2\nvirtual size: 3 GiB (3221225472 bytes)\n" in said
    assert "cluster_size: 131072\nSnapshot list:\nID " in said
    assert "    refcount bits: 16\n" in said


@needs_qemu
def test_what_is_said_to_people_is_what_qemu_img_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, over = tmp_path / "base.raw", tmp_path / "over.qcow2"
    inn("create", "-q", base, "1G")
    inn("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", over)
    inn("snapshot", "-c", "a snapshot", over)
    capsys.readouterr()

    for words in (["info", over], ["info", "--backing-chain", over], ["snapshot", "-l", over], ["map", over]):
        assert inn(*words) == 0
        ours = capsys.readouterr().out.rstrip("\n").splitlines()
        theirs = qemu_img(*words).rstrip("\n").splitlines()
        # The clock of a snapshot is shown to the second.
        assert [line.split(".")[0] for line in ours] == [line.split(".")[0] for line in theirs]


@needs_qemu
def test_programs_get_qemu_imgs_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "disk.qcow2"
    inn("create", "-q", "-f", "qcow2", path, "1G")

    for verb in ("info", "check", "map"):
        assert inn(verb, "--output", "json", path) == 0
        ours = json.loads(capsys.readouterr().out)
        if verb == "map":
            for row in ours:
                assert row.pop("compressed") is False
        assert ours == qemu_json(verb, path)


def test_options_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert inn("create", "-f", "qcow2", "-o", "help") == 0
    assert "compression_type" in capsys.readouterr().out
    assert inn("convert", "-O", "raw", "-o", "help") == 0
    assert "compression_type" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["create", "x.raw"], "the size of x.raw is not given"),
        (["create"], "no image is named"),
        (["create", "-o", "size=1G", "x.raw", "1G"], "the size is given twice"),
        (["create", "x.raw", "1Q"], "size '1Q' is no number of bytes"),
        (["create", "-b", "y", "-F", "raw", "x.raw"], "a raw image cannot have a backing file"),
        (["convert", "x.raw"], "two images are needed"),
        (["convert", "-m", "0", "x", "y"], "-m 0 threads"),
        (["convert", "-S", "1000", "x", "y"], "sparse size 1000"),
        (["info", "absent"], "cannot open absent: no such file"),
        (["resize", "absent", "+1G"], "cannot open absent"),
        (["rebase", "-b", "y", "x"], "the format of backing file y is not given"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert inn(*words) == 2

    said = capsys.readouterr().err
    assert said.startswith(f"error: {sentence}")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_disk_grows_by_and_shrinks_by(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "disk.raw"
    inn("create", "-q", path, "1M")

    assert inn("resize", path, "+1M") == 0
    assert path.stat().st_size == 2 << 20
    assert inn("resize", "--shrink", "-q", path, "--", "-512k") == 0
    assert path.stat().st_size == 1536 << 10
    assert inn("resize", "--shrink", path, "--", "-1G") == 2
    assert "and 1073741824 less cannot be" in capsys.readouterr().err


def test_statuses_of_check_and_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, other, image = tmp_path / "a.raw", tmp_path / "b.raw", tmp_path / "c.qcow2"
    raw.write_bytes(b"x" * 4096)
    other.write_bytes(b"x" * 4000 + b"y" * 96)
    assert inn("convert", "-O", "qcow2", raw, image) == 0

    assert inn("check", raw) == 63
    assert inn("check", image) == 0
    assert inn("check", tmp_path / "absent") == 1
    assert inn("compare", raw, image) == 0
    assert inn("compare", raw, other) == 1
    assert "the contents differ at offset 4000" in capsys.readouterr().out
    assert inn("compare", raw, tmp_path / "absent") == 2


def test_progress_is_shown_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "a.raw"
    raw.write_bytes(b"x" * 4096)

    inn("convert", "-O", "qcow2", raw, tmp_path / "b")
    assert capsys.readouterr().err == ""
    inn("convert", "-p", "-O", "qcow2", raw, tmp_path / "b")
    assert capsys.readouterr().err == "convert: 100%\n"
