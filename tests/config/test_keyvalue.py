"""Devices as virt-install describes them."""

from enum import StrEnum

import pytest

from innkeeper.config import DiskBus, DiskConfig, DiskDevice, DiskFormat, KeyValues
from innkeeper.errors import ConfigError


class Colour(StrEnum):
    RED = "red"


def test_quotes_and_backslashes_keep_a_comma() -> None:
    pairs = KeyValues("--x", r"""path="a,b",name=c\,d""")
    assert (pairs.text("path"), pairs.text("name")) == ("a,b", "c,d")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("size=1,size=2", "--x gives size twice"),
        ("a=1,b", "--x holds 'b', which is not of the form key=value"),
        ('path="a', "--x is 'path=\"a': no closing quotation"),
        ("szie=1", "--x has an unknown key 'szie'; did you mean 'size'?"),
        ("size=0", "--x has size=0; it must be a whole number between 1 and 9"),
        ("size=1.5", "--x has size=1.5; it must be a whole number between 1 and 9"),
        ("hot=maybe", "--x has hot=maybe; it must be yes or no"),
        ("colour=blue", "--x has colour=blue; it must be one of red"),
        ("weight=nan", "--x has weight=nan; it must be a number between 0 and 1"),
    ],
)
def test_mistakes_are_named(text: str, words: str) -> None:
    def read() -> None:
        pairs = KeyValues("--x", text)
        pairs.whole("size", 1, 9)
        pairs.flag("hot")
        pairs.choice("colour", Colour)
        pairs.number("weight", 0, 1)
        pairs.finish()

    with pytest.raises(ConfigError) as caught:
        read()
    assert str(caught.value) == words


def test_the_disk_of_the_usual_virt_install_line() -> None:
    disk = DiskConfig.parse("path=./myvm.disk,size=10,bus=virtio,format=qcow2")
    assert (str(disk.path), disk.size_gib, disk.bus, disk.format) == ("myvm.disk", 10, DiskBus.VIRTIO, DiskFormat.QCOW2)


def test_a_cdrom_drive_is_on_ide_and_read_only_unless_told() -> None:
    drive = DiskConfig.parse("device=cdrom")
    assert (drive.device, drive.bus, drive.readonly, drive.path) == (DiskDevice.CDROM, DiskBus.IDE, True, None)


@pytest.mark.parametrize(
    ("text", "word"),
    [("size=1", "path"), ("a.iso,device=cdrom,bus=virtio", "CD-ROM"), ("a,serial=" + 21 * "x", "serial")],
)
def test_disks_that_cannot_be(text: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        DiskConfig.parse(text)
