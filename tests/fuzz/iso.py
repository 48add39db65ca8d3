"""Discs that are not what they say: real ones, with the fields of descriptors and records changed, bytes spoilt, and ends cut off.

`python -m tests.fuzz.iso --seconds N --seed S` (needs xorriso). Whatever is asked of such a disc is answered or refused by an error of ours,
in bounded time, and nothing is made out of it that is larger than the disc. A failure prints the seed that repeats it.
"""

import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from innkeeper import _core
from innkeeper.errors import InnkeeperError
from innkeeper.image.iso9660 import SECTOR
from innkeeper.manager.installation.media import Location, boot_files, fetch, system_of
from tests.fuzz import rounds

TREEINFO = "[general]\nname = x\n[images-x86_64]\nkernel = boot/a long name of a kernel\ninitrd = boot/initrd\n"
FILES = {
    ".disk/info": b'Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST with firmware 20240210-11:27\n',
    ".treeinfo": TREEINFO.encode(),
    "boot/a long name of a kernel": b"K" * 9000,
    "boot/initrd": b"I" * 5000,
    "install.amd/vmlinuz": b"k" * 3000,
    "install.amd/initrd.gz": b"i" * 100,
    "a/b/c/d/e/f": b"deep",
} | {f"many/{'long' * 20}-{number}": b"" for number in range(40)}
KINDS: tuple[list[str], ...] = (["-r", "-J"], ["-r"], ["-J"], [])
PLACES = (
    ".disk/info",
    "many/../boot/initrd",
    "a/b/c/d/e/f",
    "",
    "/",
    "install.amd",
    "BOOT/INITRD",
    "\udcff/\0",
    f"many/{'long' * 20}-7",
)
FIELDS = ((0, 1), (1, 1), (2, 4), (6, 4), (10, 4), (14, 4), (25, 1), (28, 2), (32, 1), (33, 1), (34, 2), (36, 1))
"""Of a directory record, and of what follows its name: offset and size in bytes."""
INTERESTING = (
    0,
    1,
    2,
    4,
    5,
    32,
    33,
    34,
    127,
    128,
    254,
    255,
    2047,
    2048,
    2049,
    1 << 16,
    1 << 24,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
)
LIMIT_S = 10.0


def real_discs(folder: Path) -> list[bytes]:
    """What xorriso makes of one tree, with and without longer names."""
    for name, content in FILES.items():
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tree" / name).write_bytes(content)
    made = []
    for options in KINDS:
        target = folder / "disc.iso"
        command = [
            "xorriso",
            "-as",
            "mkisofs",
            "-quiet",
            *options,
            "-V",
            "FUZZ",
            "-o",
            str(target),
            str(folder / "tree"),
        ]
        subprocess.run(command, check=True, capture_output=True)
        made.append(target.read_bytes())
        target.unlink()
    return made


def records(disc: bytes) -> list[int]:
    """Where directory records begin: in the volume descriptors, and in all that looks like a folder."""
    found = []
    for start in range(16 * SECTOR, len(disc), SECTOR):
        if disc[start + 1 : start + 6] == b"CD001":
            found.append(start + 156)
        at = start
        while disc[start + 32 : start + 34] == b"\1\0" and at < start + SECTOR and disc[at]:
            found.append(at)
            at += disc[at]
    return found


def spoil(dice: random.Random, disc: bytes, places: list[int]) -> bytes:
    data = bytearray(disc)
    for _ in range(dice.choice((0, 1, 1, 2, 5, 30))):
        offset, size = dice.choice(FIELDS)
        at = dice.choice(places) + offset
        near = dice.choice(places) // SECTOR  # a folder that is in itself, or another one
        value = dice.choice((dice.choice(INTERESTING), near, dice.getrandbits(8 * size)))
        data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    for _ in range(dice.choice((0, 0, 1, 10, 200))):
        data[dice.randrange(16 * SECTOR, len(data))] = dice.getrandbits(8)
    if dice.random() < 0.2:
        del data[dice.randrange(len(data)) :]
    return bytes(data)


def ask(path: Path, size: int, folder: Path) -> bool:
    """All that is asked of a disc; whether it was one."""
    location = Location(path=path)
    with suppress(OSError):
        _core.probe_iso(_core.Disk(path, format="raw", read_only=True, lock=False))
    try:
        opened = location.open()
    except InnkeeperError:
        return False
    with opened as disc:
        for place in PLACES:
            with suppress(InnkeeperError):
                text = disc.text(place)
                assert text is None or len(text) <= size, f"{place} has {len(text or '')} characters"
        with suppress(InnkeeperError):
            system_of(disc)
        with suppress(InnkeeperError):
            boot_files(location, disc)
    with suppress(InnkeeperError):
        fetch(location, folder, [])
    for made in folder.iterdir():
        assert made.stat().st_size <= size, f"{made.name} has {made.stat().st_size} bytes, of a disc of {size}"
        made.unlink()
    return True


def case(seed: int, discs: list[tuple[bytes, list[int]]], folder: Path, file: int) -> bool:
    """One disc, in the memory of `file`."""
    dice = random.Random(seed)
    data = spoil(dice, *dice.choice(discs))
    os.ftruncate(file, 0)
    os.pwrite(file, data, 0)
    begun = time.monotonic()
    was_one = ask(Path(f"/proc/self/fd/{file}"), len(data), folder)
    assert time.monotonic() - begun < LIMIT_S, f"took {time.monotonic() - begun:.1f} s"
    return was_one


def main() -> int:
    asked, opened = rounds.options(__doc__), 0
    with TemporaryDirectory(prefix="innkeeper-fuzz-") as name:
        discs = [(disc, records(disc)) for disc in real_discs(Path(name))]
        (out := Path(name) / "out").mkdir()
        file = os.memfd_create("disc")

        def one(seed: int) -> None:
            nonlocal opened
            opened += case(seed, discs, out, file)

        done = rounds.run("iso", asked, one)
    print(f"iso: {done} discs, of which {opened} could be opened, without a fault")
    return 0


if __name__ == "__main__":
    sys.exit(main())
