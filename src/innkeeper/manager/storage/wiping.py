"""Overwriting what a volume held: `vol-wipe`.

Passes are those of virsh(1). The whole file is overwritten in place, for a qcow2 volume all but the header first; then an empty image
takes its place, and last the old header goes. A kill leaves a volume that is partly wiped and can be wiped again. What the file system or
the medium under it keeps of old blocks is beyond reach. Left out: Gutmann's 35 passes, which are for encodings of old drives.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from innkeeper.errors import ConfigError
from innkeeper.manager.storage.folder import VolumeInfo
from innkeeper.manager.storage.making import make_empty
from innkeeper.manager.storage.staging import Staging, sync
from innkeeper.manager.storage.transfer import opened
from innkeeper.manager.storage.volume_xml import NewVolume
from innkeeper.manager.storage.work import Work
from innkeeper.storage import ImageOptions

CHUNK = 4 << 20
HEADER = 1 << 16  # a qcow2 file's first bytes, which say what it is
RANDOM, TRIM = -1, -2
PASSES: dict[str, tuple[int, ...]] = {
    "zero": (0,),
    "nnsa": (RANDOM, RANDOM, 0),
    "dod": (RANDOM, 0, 0xFF),
    "bsi": (0xFF, 0xFE, 0xFD, 0xFB, 0xF7, 0xEF, 0xDF, 0xBF, 0x7F),
    "schneier": (0, 0xFF, RANDOM, RANDOM, RANDOM, RANDOM, RANDOM),
    "pfitzner7": (RANDOM,) * 7,
    "pfitzner33": (RANDOM,) * 33,
    "random": (RANDOM,),
    "trim": (TRIM,),
}


def passes_of(algorithm: str) -> tuple[int, ...]:
    if algorithm not in PASSES:
        raise ConfigError(f"algorithm {algorithm!r} is unknown; algorithms are {', '.join(PASSES)}")
    return PASSES[algorithm]


def wipe(path: Path, volume: VolumeInfo, passes: Sequence[int], layout: dict[str, str]) -> Work[None]:
    """Raises `InnkeeperError`, `OSError`."""
    is_image = bool(layout)
    start = HEADER if is_image else 0
    with opened(path, os.O_RDWR | os.O_NOFOLLOW) as file:
        size = os.fstat(file).st_size
        total = max(size - start, 0) * len(passes)
        for number, value in enumerate(passes):
            done = number * max(size - start, 0)
            for at in range(start, size, CHUNK):
                length = min(CHUNK, size - at)
                overwrite(file, at, length, value)
                yield {"done": done + at - start + length, "total": total}
            os.fsync(file)
        if is_image:
            wanted = fresh(path, volume, layout)
            with Staging(path.parent) as staged, staged.known_as(path):
                yield from make_empty(staged.path, wanted)
                staged.publish(path, replace=True)
            for value in passes:
                overwrite(file, 0, min(HEADER, size), value)
                os.fsync(file)
    sync(path.parent)


def fresh(path: Path, volume: VolumeInfo, layout: dict[str, str]) -> NewVolume:
    """As large, with nothing in it, and nothing below it."""
    options = ImageOptions(
        compat=layout["compat"],
        cluster_size=int(layout["cluster_size"]),
        refcount_bits=int(layout["refcount_bits"]),
        lazy_refcounts=layout["lazy_refcounts"] == "yes",
        extended_l2=layout["extended_l2"] == "yes",
        compression_type=layout["compression_type"],
    )
    mode = path.stat().st_mode & 0o777
    return NewVolume(name=volume["name"], capacity=volume["capacity"], format="qcow2", mode=mode, options=options)


def overwrite(file: int, at: int, length: int, value: int) -> None:
    if value == TRIM:
        punch(file, at, length)
        return
    data = os.urandom(length) if value == RANDOM else bytes([value]) * length
    while data:
        written = os.pwrite(file, data, at)
        at, data = at + written, data[written:]


def punch(file: int, at: int, length: int) -> None:
    """Gives the space back: a hole reads as zeroes. Truncating would do that for the end only."""
    import ctypes

    keep_size, punch_hole = 1, 2
    libc = ctypes.CDLL(None, use_errno=True)
    answer = libc.fallocate(file, keep_size | punch_hole, ctypes.c_longlong(at), ctypes.c_longlong(length))
    if answer != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
