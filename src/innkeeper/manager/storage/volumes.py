"""Volumes as a service: the files of pools made, found, changed and removed.

Arguments and results are JSON's own kinds. What may take long is a generator of `Progress` that ends with the result; who closes it
stops the work. A volume has its name only when it is whole, and one that a machine uses is left alone.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from innkeeper.errors import ConfigError, HostError
from innkeeper.manager.served import served
from innkeeper.manager.storage import locks, wiping
from innkeeper.manager.storage.folder import BLOCK, VolumeInfo, image_format, look, names, own_file, place
from innkeeper.manager.storage.making import layout_of, like, make_copy, make_empty, make_reflink
from innkeeper.manager.storage.pool import brief
from innkeeper.manager.storage.pool_xml import unknown_parts
from innkeeper.manager.storage.pools import folder_of, table
from innkeeper.manager.storage.staging import Staging, exists, sync
from innkeeper.manager.storage.transfer import download, upload
from innkeeper.manager.storage.volume_xml import UNDERSTOOD, NewVolume, read_volume, write_volume
from innkeeper.manager.storage.work import Progress, Work, in_parts
from innkeeper.storage import resize

__all__ = ["Made", "Progress", "VolumeInfo", "Volumes"]


class Made(TypedDict):
    """A volume that was made, and the parts of its document that mean nothing here."""

    name: str
    path: str
    unknown: list[str]


def called(volume: VolumeInfo) -> str:
    return f"volume {volume['name']} of pool {volume['pool']}"


class Volumes:
    """The volumes of one store's pools. A volume is given by its name and pool, or by its path, which is its key too."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file

    # ---- looking --------------------------------------------------------------------------------

    @served
    def list(self, pool: str) -> "list[VolumeInfo]":
        """All of a pool, in the order of their names."""
        name, folder = self._pool(pool)
        found = []
        for each in names(folder):
            try:
                found.append(look(folder / each, name))
            except ConfigError:
                continue  # it has just gone
        return found

    @served
    def info(self, volume: str, pool: str | None = None) -> VolumeInfo:
        """Raises `ConfigError` if there is none, as everywhere here."""
        if pool is not None:
            name, folder = self._pool(pool)
            inside = Path(volume).name if Path(volume).parent == folder else volume
            return look(place(folder, inside), name)
        path = Path(volume)
        if not path.is_absolute():
            raise ConfigError(
                f"volume {brief(volume)} is in no pool that is named; say which with --pool, or give its path"
            )
        with table(self._file) as pools:
            for row in pools.all():
                if row.active and row.pool.path.resolve() == path.parent.resolve():
                    return look(place(folder_of(row), path.name), row.pool.name)
        raise ConfigError(f"{brief(volume)} is in the folder of no active pool; inn pool-list shows them")

    @served
    def image(self, path: str) -> VolumeInfo:
        """What a file is, be it in a pool or not. Raises `HostError` if there is none."""
        if not Path(path).is_file():
            raise HostError(f"{path} is no file that is there")
        return look(Path(path), "")

    @served
    def xml(self, volume: str, pool: str | None = None) -> str:
        found = self.info(volume, pool)
        return write_volume(found, layout_of(found))

    # ---- made -----------------------------------------------------------------------------------

    @served
    def create(self, pool: str, xml: str, *, prealloc_metadata: bool = False) -> Work[Made]:
        """An empty one, as its document describes it."""
        wanted = read_volume(xml, prealloc_metadata=prealloc_metadata)
        _, folder = self._pool(pool)
        target = self._free(folder, wanted.name)
        if wanted.options.backing_file is not None and not Path(wanted.options.backing_file).is_file():
            raise ConfigError(f"there is no backing volume {wanted.options.backing_file} for {wanted.name}")
        with Staging(folder) as staged, staged.known_as(target):
            yield from make_empty(staged.path, wanted)
            staged.publish(target)
        return {"name": wanted.name, "path": str(target), "unknown": unknown_parts(xml, "the volume", UNDERSTOOD)}

    @served
    def create_from(
        self,
        pool: str,
        xml: str,
        volume: str,
        source_pool: str | None = None,
        *,
        reflink: bool = False,
        prealloc_metadata: bool = False,
    ) -> Work[Made]:
        """One with another's contents, in the format that its document says, and at least as large."""
        source = self.info(volume, source_pool if source_pool is not None or volume.startswith("/") else pool)
        wanted = read_volume(xml, prealloc_metadata=prealloc_metadata)
        _, folder = self._pool(pool)
        yield from self._copied(folder, source, wanted, reflink=reflink)
        target = folder / wanted.name
        return {"name": wanted.name, "path": str(target), "unknown": unknown_parts(xml, "the volume", UNDERSTOOD)}

    @served
    def clone(
        self, volume: str, name: str, pool: str | None = None, *, reflink: bool = False, prealloc_metadata: bool = False
    ) -> Work[VolumeInfo]:
        """One that has the same contents and layout, in the same pool; an overlay's stands by itself."""
        source = self.info(volume, pool)
        folder = Path(source["path"]).parent
        mode = Path(source["path"]).stat().st_mode & 0o777
        options = replace(like(source), preallocation="metadata" if prealloc_metadata else "off")
        wanted = NewVolume(
            name=name, capacity=source["capacity"], format=image_format(source), mode=mode, options=options
        )
        yield from self._copied(folder, source, wanted, reflink=reflink)
        return look(folder / name, source["pool"])

    def _copied(self, folder: Path, source: VolumeInfo, wanted: NewVolume, *, reflink: bool) -> Work[None]:
        target = self._free(folder, wanted.name)
        path = Path(source["path"])
        with locks.reading(path, called(source)), Staging(folder) as staged, staged.known_as(target):
            if reflink:
                if wanted.format != image_format(source):
                    raise ConfigError(
                        f"volume {wanted.name} cannot share blocks with a {source['format']} one and be {wanted.format}"
                    )
                make_reflink(staged.path, source, wanted.mode)
            else:
                yield from make_copy(staged.path, source, wanted)
            staged.publish(target)

    # ---- changed --------------------------------------------------------------------------------

    @served
    def delete(self, volume: str, pool: str | None = None) -> str:
        """Removes a volume that nobody uses. Returns its name."""
        found = self.info(volume, pool)
        path = Path(found["path"])
        try:
            if path.is_symlink():
                path.unlink()  # what it leads to is not the pool's
            else:
                with locks.alone(path, called(found)):
                    path.unlink()
            sync(path.parent)
        except OSError as error:
            raise HostError(f"cannot remove {path}: {error.strerror}") from error
        return found["name"]

    @served
    def resize(
        self, volume: str, capacity: int, pool: str | None = None, *, shrink: bool = False, allocate: bool = False
    ) -> Work[VolumeInfo]:
        """Gives the disk another size; a smaller one only if `shrink`. `allocate`: with all of the space that is added."""
        found = self.info(volume, pool)
        path, size = own_file(found), -(-capacity // BLOCK) * BLOCK
        if size < found["capacity"] and not shrink:
            raise ConfigError(
                f"{called(found)} has {found['capacity']} bytes, and {capacity} are fewer: what lies beyond would be lost, "
                "which --shrink allows"
            )
        locks.check_unused(path, called(found))
        preallocation = "falloc" if allocate and size > found["capacity"] else "off"
        kind = image_format(found)
        yield from in_parts(
            lambda tell: resize(path, size, kind, shrink=shrink, preallocation=preallocation, progress=tell)
        )
        return look(path, found["pool"])

    @served
    def wipe(self, volume: str, pool: str | None = None, *, algorithm: str = "zero") -> Work[VolumeInfo]:
        """Overwrites a volume's contents; it stays, as large as it was, and reads as zeroes or as what was written last."""
        found = self.info(volume, pool)
        path = own_file(found)
        passes = wiping.passes_of(algorithm)
        with locks.alone(path, called(found)):
            yield from wiping.wipe(path, found, passes, layout_of(found))
        return look(path, found["pool"])

    @served
    def upload(
        self, volume: str, source: str, pool: str | None = None, *, offset: int = 0, length: int | None = None
    ) -> Work[VolumeInfo]:
        """Puts a file's bytes into a volume's file, from `offset` on; the rest stays."""
        found = self.info(volume, pool)
        path = own_file(found)
        with locks.alone(path, called(found)):
            yield from upload(Path(source), path, offset, length)
        return look(path, found["pool"])

    @served
    def download(
        self, volume: str, target: str, pool: str | None = None, *, offset: int = 0, length: int | None = None
    ) -> Work[int]:
        """Copies the bytes of a volume's file into another file; how many there were."""
        found = self.info(volume, pool)
        path = Path(found["path"])
        with locks.reading(path, called(found)):
            return (yield from download(path, Path(target), offset, length))

    # ---- inside ---------------------------------------------------------------------------------

    def _pool(self, pool: str) -> tuple[str, Path]:
        with table(self._file) as pools:
            row = pools.get(pool)
        return row.pool.name, folder_of(row)

    @staticmethod
    def _free(folder: Path, name: str) -> Path:
        target = place(folder, name)
        try:
            os.lstat(target)
        except FileNotFoundError:
            return target
        except OSError as error:
            raise ConfigError(f"a volume cannot be called {brief(name)} here: {error.strerror}") from error
        raise exists(target)
