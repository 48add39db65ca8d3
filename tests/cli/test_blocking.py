"""Work on machines' disks in virsh's words."""

import json
import re
from pathlib import Path

import pytest
from tests.cli.conftest import Inn

from innkeeper import storage
from innkeeper.cli.machines import blocking
from innkeeper.testing.guests import SPIN, flat_guest

MIB = 1 << 20


@pytest.fixture(autouse=True)
def web(user: Path, inn: Inn, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that runs from a disk with three images. Gives its folder."""
    monkeypatch.chdir(user)
    (user / "guest").write_bytes(flat_guest(SPIN))
    storage.create(user / "disk.qcow2", 8 * MIB, image_format="qcow2")
    disk = f"<disk type='file'><driver type='qcow2'/><source file='{user}/disk.qcow2'/><target dev='vda'/></disk>"
    os_part = f"<os><type>hvm</type><kernel>{user}/guest</kernel></os>"
    (user / "web.xml").write_text(
        f"<domain type='bt'><name>web</name><memory unit='MiB'>16</memory>{os_part}<devices>{disk}</devices></domain>"
    )
    inn("define web.xml")
    for name in ("one", "two"):
        inn(f"snapshot-create-as web {name} --disk-only --no-metadata")
    inn("start web")
    return user


def source(inn: Inn) -> str:
    return inn("domblklist web").splitlines()[2].split()[1]


def test_a_machine_moves_to_the_image_below(inn: Inn, web: Path) -> None:
    assert inn("virsh blockcommit web vda --pivot --verbose --shallow") == "Successfully pivoted\n\n"
    assert source(inn) == str(web / "disk.one")
    assert inn("blockcommit web vda --active --wait") == "Now in synchronized phase\n\n"
    assert inn("blockjob web vda") == "Active Block Commit: [100 %]\n\n"
    assert inn("virsh blockjob web vda --info --raw --bytes") == (
        f" type=Active Block Commit\n bandwidth=0\n cur={8 * MIB}\n end={8 * MIB}\n\n"
    )
    assert json.loads(inn("blockjob web vda --json"))["state"] == "ready"
    assert inn("blockjob web vda --pivot") == ""
    assert inn("blockjob web vda") == "No current block job for vda\n\n"
    assert source(inn) == str(web / "disk.qcow2")


def test_a_machine_stays_on_its_image(inn: Inn, web: Path) -> None:
    assert inn("blockcommit web vda --keep-overlay") == "Commit complete, overlay image kept\n\n"
    assert source(inn) == str(web / "disk.two")
    assert inn("blockcommit web vda --active") == "Active Block Commit started\n\n"
    assert inn("blockjob web vda --abort") == ""
    assert source(inn) == str(web / "disk.two")


def test_a_chain_is_made_shorter(inn: Inn, web: Path) -> None:
    assert inn(f"blockcommit web vda --top {web}/disk.one --wait --delete") == "Commit complete\n\n"
    assert not (web / "disk.one").exists()
    assert json.loads(inn("virsh blockpull --domain web --path vda --wait --json")) == {"disk": "vda", "done": True}
    inn("destroy web")
    (web / "disk.qcow2").unlink()
    inn("start web")
    assert inn("blockpull web vda 1", status=2).startswith("error: nothing lies below disk vda")


def test_a_slow_job_is_shown_hurried_and_given_up(inn: Inn) -> None:
    assert inn("blockpull web vda 1 --bytes") == "Block Pull started\n\n"
    assert re.fullmatch(
        r"Block Pull: \[ ( 0|50) %\]    Bandwidth limit: 1 bytes/s \(0\.000 MiB/s\)\n\n", inn("blockjob web vda")
    )
    assert inn("blockjob web vda 2") == ""
    assert "Bandwidth limit: 2097152 bytes/s (2.000 MiB/s)" in inn("blockjob web vda")
    assert "stays where it is when its job has ended" in inn("blockjob web vda --pivot", status=2)
    assert inn("blockjob web vda --abort --async") == ""
    while "No current" not in inn("blockjob web vda"):
        pass
    said = inn("blockcopy web vda copy 1 --bytes --wait --timeout 0.3", status=2)
    assert said == ""
    assert inn("domblkerror web") == "No errors found\n\n"
    assert inn("domblkerror web --json") == "[]\n"


def test_a_disk_is_copied(inn: Inn, web: Path) -> None:
    assert inn("blockcopy web vda copy --finish") == "Successfully copied\n\n"
    assert source(inn) == str(web / "disk.two")
    assert inn("blockcopy web vda other --shallow --pivot --verbose") == "Successfully pivoted\n\n"
    assert source(inn) == str(web / "other")
    (web / "copy.xml").write_text(f"<disk type='file'><driver type='raw'/><source file='{web}/third'/></disk>")
    assert f'<source file="{web}/third" />' in inn("blockcopy web vda --xml copy.xml --print-xml")
    assert inn("blockcopy web vda --xml copy.xml --wait") == "Now in mirroring phase\n\n"
    assert inn("blockjob web vda --abort") == ""
    assert storage.probe(web / "third") == "raw"


def test_disks_of_a_machine_that_is_shut_off(inn: Inn, web: Path) -> None:
    inn("destroy web")
    assert inn("blockpull web vda --base vda[2]") == "Pull complete\n\n"
    assert inn("blockcommit web vda --active --pivot --delete") == "Commit complete\n\n"
    assert source(inn) == str(web / "disk.qcow2")
    assert not (web / "disk.two").exists()
    assert "machine web does not run" in inn("blockcopy web vda copy", status=2)
    assert "machine web does not run" in inn("blockjob web vda", status=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("blockcommit web vda", "is the image in use, which its machine goes on to write: add --active"),
        ("blockcommit web vda --top vda[1] --active", "is not the image in use; leave out --active"),
        ("blockcommit web vda --base vda[1] --shallow --active", "--shallow is about the image directly below"),
        ("blockcommit web vda --base nothing --active", "disk vda has no image nothing in its chain; it has"),
        ("blockcommit web vdz --active", "machine web has no disk vdz; it has vda"),
        ("blockcommit web vda --verbose", "--verbose is for those who wait; add --wait"),
        ("blockcommit web vda --keep-overlay --delete", "exclude each other"),
        ("blockcopy web vda", "the copy's place is DEST, or --xml describes it"),
        ("blockcopy web vda copy --granularity 4096", "--granularity cannot be had here"),
        ("blockcopy web vda copy --buf-size 4096", "--buf-size cannot be had here"),
        ("blockcopy web vda copy --blockdev", "is no block device of this host"),
        ("blockjob web vda --info --abort", "exclude each other; give one of them"),
        ("blockjob web vda --abort", "disk vda has no block job"),
        ("blockpull web", "path is missing"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(inn: Inn, words: str, said: str) -> None:
    assert said in inn(words, status=2)


def test_percents_are_whole_only_at_the_end() -> None:
    now = {"state": "running", "done": 999, "total": 1000}
    assert blocking.percent(now) == 99  # type: ignore[arg-type]
