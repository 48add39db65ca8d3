"""The service of work on machines' disks: chains of images made shorter, disks copied; of machines that run, and of those that are shut off.

Arguments and results are JSON's own kinds. A disk is named by its target or its file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from innkeeper import storage
from innkeeper.errors import ConfigError, InnkeeperError
from innkeeper.machine.block_jobs import JobNow
from innkeeper.machine.chains import between, depth_of
from innkeeper.machine.control import ask
from innkeeper.machine.names import control_of
from innkeeper.manager.naming import kept_in
from innkeeper.manager.served import served
from innkeeper.manager.snapshots import moving
from innkeeper.manager.snapshots.drives import Drive
from innkeeper.manager.snapshots.recovery import settle_all, still, swept
from innkeeper.manager.snapshots.table import SnapshotTable
from innkeeper.manager.storage.staging import exists, sync
from innkeeper.manager.storage.work import Work
from innkeeper.manager.store import Row, Store
from innkeeper.storage import ImageOptions

if TYPE_CHECKING:
    from innkeeper.manager.domains import Domains
    from innkeeper.manager.snapshots import Snapshots


class Failed(TypedDict):
    """A disk whose last request failed."""

    disk: str
    error: str


class Blocks:
    """Methods raise `InnkeeperError`."""

    def __init__(self, domains: Domains, snapshots: Snapshots) -> None:
        self._domains = domains
        self._alone = snapshots.alone

    # ---- while it runs ----------------------------------------------------------------------------

    @served
    def commit(  # noqa: PLR0913 - virsh's words
        self,
        domain: str,
        path: str,
        *,
        base: str | None = None,
        top: str | None = None,
        shallow: bool = False,
        active: bool = False,
        delete: bool = False,
        keep_relative: bool = False,
        bandwidth: int = 0,
    ) -> int:
        """Begins to write what the images from `top` on down have into `base`. Returns the job's number."""
        with self._live(domain) as (name, table):
            target, chain = chain_of(name, path)
            above, below = between(chain, top, base, target, shallow=shallow)
            if not active and above == 0:
                raise ConfigError(
                    f"{chain[0]} is the image in use, which its machine goes on to write: add --active, and say where it ends with "
                    "--pivot or --keep-overlay, or later with inn blockjob"
                )
            if active and above:
                raise ConfigError(f"{chain[above]} is not the image in use; leave out --active")
            if table is not None:
                moving.check_same(table, target, str(chain[0]))
                moving.check_no_snapshot(table, target, chain[above : below + 1])
            called = relative(chain, above - 1, below) if keep_relative else None
            values: dict[str, Any] = {
                "top": str(chain[above]),
                "base": str(chain[below]),
                "name": called,
                "delete": delete,
            }
            return int(ask(control_of(name), "block-commit", disk=target, bandwidth=bandwidth, **values))

    @served
    def pull(
        self, domain: str, path: str, *, base: str | None = None, keep_relative: bool = False, bandwidth: int = 0
    ) -> int:
        """Begins to make what lies below the image in use part of it, down to `base` or all. Returns the job's number."""
        with self._live(domain) as (name, table):
            target, chain = chain_of(name, path)
            if table is not None:
                moving.check_same(table, target, str(chain[0]))
            called = relative(chain, 0, depth_of(chain, base, target)) if keep_relative and base is not None else None
            values: dict[str, Any] = {"base": base, "name": called, "bandwidth": bandwidth}
            return int(ask(control_of(name), "block-pull", disk=target, **values))

    @served
    def copy(  # noqa: PLR0913 - virsh's words
        self,
        domain: str,
        path: str,
        place: str,
        *,
        image_format: str | None = None,
        shallow: bool = False,
        reuse: bool = False,
        bandwidth: int = 0,
    ) -> int:
        """Begins to copy a disk to another image, which is made unless it is there (`reuse`). Returns the job's number."""
        with self._live(domain) as (name, table):
            target, chain = chain_of(name, path)
            if table is not None:
                moving.check_same(table, target, str(chain[0]))
            now = now_of(name, target)
            file = Path(place)
            kind = image_format or (storage.probe(file) if reuse else str(now["format"]))
            if not reuse:
                make(file, kind, int(now["size"]), chain[1] if shallow and len(chain) > 1 else None)
            values: dict[str, Any] = {
                "place": str(file),
                "format": kind,
                "shallow": shallow,
                "blank": not reuse,
                "bandwidth": bandwidth,
            }
            try:
                return int(ask(control_of(name), "block-copy", disk=target, **values))
            except InnkeeperError:
                if not reuse:
                    file.unlink(missing_ok=True)
                raise

    @served
    def info(self, name: str, path: str) -> JobNow:
        """What is being done to a disk of a running machine, and what became of the last that was."""
        found: JobNow = ask(control_of(self._domains.running_name(name)), "block-job", disk=path)
        return found

    @served
    def set_bandwidth(self, name: str, path: str, bandwidth: int) -> None:
        """In bytes a second; 0 for as many as there can be."""
        ask(control_of(self._domains.running_name(name)), "block-speed", disk=path, bandwidth=bandwidth)

    @served
    def abort(self, name: str, path: str, *, at_once: bool = False) -> None:
        """Ends a disk's job; the machine stays on the image that it is on. `at_once`: returns before that is done."""
        ask(control_of(self._domains.running_name(name)), "block-abort", disk=path, at_once=at_once)

    @served
    def pivot(self, domain: str, path: str) -> None:
        """Ends a disk's job by having the machine, and its definition, move to the other image."""
        with self._live(domain) as (name, table):
            if table is None:
                ask(control_of(name), "block-abort", disk=path, pivot=True)
            else:
                moving.move(table, path)

    @served
    def errors(self, name: str) -> list[Failed]:
        """The disks of a running machine whose last request failed."""
        figures = ask(control_of(self._domains.running_name(name)), "disk-errors")
        return [Failed(disk=disk, error=error) for disk, error in figures.items()]

    # ---- while it is shut off -----------------------------------------------------------------------

    @served
    def commit_still(  # noqa: PLR0913 - virsh's words
        self,
        name: str,
        path: str,
        *,
        base: str | None = None,
        top: str | None = None,
        shallow: bool = False,
        keep_overlay: bool = False,
        delete: bool = False,
        keep_relative: bool = False,
    ) -> Work[str]:
        """As `commit`, to its end, of a machine that is shut off; it is on `base` then, unless its overlay is kept. Gives the disk's target."""
        with Store() as store, still(store, kept_in(store, name)) as table:
            drive, chain = chain_still(table.domain, path)
            above, below = between(chain, top, base, drive.target, shallow=shallow)
            called = relative(chain, above - 1, below) if keep_relative else None
            yield from moving.commit(table, drive, chain, above, below, stays=keep_overlay, delete=delete, name=called)
        return drive.target

    @served
    def pull_still(self, name: str, path: str, *, base: str | None = None, keep_relative: bool = False) -> Work[str]:
        """As `pull`, to its end, of a machine that is shut off. Gives the disk's target."""
        with Store() as store, still(store, kept_in(store, name)) as table:
            drive, chain = chain_still(table.domain, path)
            if len(chain) < 2:
                raise ConfigError(f"nothing lies below disk {drive.target} that could be pulled")
            depth = depth_of(chain, base, drive.target) if base is not None else None
            called = relative(chain, 0, depth) if keep_relative and depth is not None else None
            yield from moving.pull(drive, chain, depth, name=called)
        return drive.target

    # ---- parts --------------------------------------------------------------------------------------

    @contextmanager
    def _live(self, name: str) -> Iterator[tuple[str, SnapshotTable | None]]:
        """A machine that runs, and nothing of its disks is being changed elsewhere; None if it is not kept."""
        name = self._domains.running_name(name)
        with self._alone, Store() as store, swept(store):
            row = store.find(name)
            if row is None:
                yield name, None
                return
            settle_all(SnapshotTable(store, row))
            yield name, SnapshotTable(store, store.get(name))


def now_of(name: str, path: str) -> dict[str, Any]:
    """What a running machine says of one of its disks. Raises `ConfigError` if it has none such."""
    disks = ask(control_of(name), "devices")["disks"]
    for disk in disks:
        if path in (disk["target"], disk["source"]):
            return dict(disk)
    raise ConfigError(f"machine {name} has no disk {path[:200]}; it has {', '.join(disk['target'] for disk in disks)}")


def chain_of(name: str, path: str) -> tuple[str, list[Path]]:
    """The target of a running machine's disk, and its images downwards."""
    now = now_of(name, path)
    return str(now["target"]), [Path(each) for each in now["chain"]]


def chain_still(row: Row, path: str) -> tuple[Drive, list[Path]]:
    drive = moving.find(row.xml, path)
    chain = [Path(str(each["filename"])) for each in storage.backing_chain(drive.file, drive.kind)]
    return drive, chain


def relative(chain: list[Path], overlay: int, base: int) -> str | None:
    """What an image calls the one below it, from its own folder on."""
    if overlay < 0:
        return None
    return os.path.relpath(chain[base].absolute(), chain[overlay].absolute().parent)


def make(path: Path, image_format: str, size: int, below: Path | None) -> None:
    """Raises `InnkeeperError`."""
    if path.exists() or path.is_symlink():
        raise exists(path)
    if below is not None and image_format != "qcow2":
        raise ConfigError(f"a shallow copy lies over {below}, so its format must be qcow2, and not {image_format}")
    options = ImageOptions()
    if below is not None:
        options = ImageOptions(backing_file=str(below.absolute()), backing_fmt=storage.probe(below))
    storage.create(path, size, image_format=image_format, options=options, open_backing=False)
    path.chmod(0o600)
    sync(path)
