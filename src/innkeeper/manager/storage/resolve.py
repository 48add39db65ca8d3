"""What virt-install's `--disk pool=NAME,size=10` and `--disk vol=POOL/VOL` mean: a file.

`resolve_volume(vol="POOL/VOL")` finds a volume; `resolve_volume(pool="NAME", machine="web", image_format="qcow2")` gives the path of one that
is to be made, as `create_if_missing` then does, whole or not at all.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import TypedDict

from innkeeper.errors import ConfigError
from innkeeper.manager.storage.folder import VolumeInfo, place
from innkeeper.manager.storage.pool import brief
from innkeeper.manager.storage.pools import folder_of, table
from innkeeper.manager.storage.volumes import Volumes

ENDINGS = {"qcow2": ".qcow2", "raw": ".img"}


class ResolvedVolume(TypedDict):
    """Where a volume is, or shall be: then there is no file yet. `format` is None where the caller may choose."""

    path: str
    pool: str
    name: str
    exists: bool
    format: str | None


def resolve_volume(
    *,
    vol: str | None = None,
    pool: str | None = None,
    machine: str = "",
    image_format: str | None = None,
    store: Path | None = None,
    besides: Collection[str] = (),
) -> ResolvedVolume:
    """Of exactly one of `vol` and `pool`. Raises `InnkeeperError`.

    A new volume is called after the machine, with a number if that name is taken: `web.qcow2`, `web-1.qcow2`. `besides` are
    paths that others shall have.
    """
    if (vol is None) == (pool is None):
        raise ConfigError("a disk is in a pool by pool=NAME with a size, or it is vol=POOL/VOLUME; give one of both")
    if vol is not None:
        name, slash, volume = vol.partition("/")
        if not slash or not name or not volume:
            raise ConfigError(f"vol is {brief(vol)}; write vol=POOL/VOLUME")
        return found(Volumes(store).info(volume, name))
    with table(store) as pools:
        row = pools.get(str(pool))
    folder = folder_of(row)
    name = free_name(folder, machine, ENDINGS[image_format or "qcow2"], besides)
    return {
        "path": str(folder / name),
        "pool": row.pool.name,
        "name": name,
        "exists": False,
        "format": image_format,
    }


def found(volume: VolumeInfo) -> ResolvedVolume:
    return {
        "path": volume["path"],
        "pool": volume["pool"],
        "name": volume["name"],
        "exists": True,
        "format": "raw" if volume["format"] == "iso" else volume["format"],
    }


def free_name(folder: Path, machine: str, ending: str, besides: Collection[str] = ()) -> str:
    number, name = 0, f"{machine}{ending}"
    while os.path.lexists(place(folder, name)) or str(folder / name) in besides:
        number += 1
        name = f"{machine}-{number}{ending}"
    return name
