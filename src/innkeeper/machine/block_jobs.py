"""Work on the disks of a machine that runs on, in a thread for each: pulls, commits and copies, as virsh has them.

A disk has one job at a time. Jobs that mirror stay when all is copied, until somebody says whether the disk moves. A machine that ends takes
its jobs with it: its disks are complete where they are.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from innkeeper.config.disk import DiskDevice, DiskFormat
from innkeeper.errors import ConfigError, HostError, ImageError
from innkeeper.machine.asked import count, maybe, text
from innkeeper.machine.chains import between, depth_of
from innkeeper.machine.control import Command
from innkeeper.machine.figures import image_of
from innkeeper.records import dataclass

if TYPE_CHECKING:
    from innkeeper import _core
    from innkeeper.machine.drives import Drive
    from innkeeper.machine.virtio import VirtioDisk

RUNNING, READY = "running", "ready"
COMPLETED, ABORTED, FAILED = "completed", "aborted", "failed"
PULL, COMMIT, ACTIVE_COMMIT, COPY = "pull", "commit", "active-commit", "copy"
LONGEST_S = 0.5  # that a job sleeps at once, for its bandwidth

logger = logging.getLogger(__name__)


class Aborted(Exception):  # noqa: N818 - what it is
    """Somebody does not want the job to be done any more."""


class JobNow(TypedDict):
    """A disk's job, in bytes; `outcome` and `error` are those of the last one that has ended, whose number is `ended`."""

    number: int | None
    kind: str | None
    state: str | None
    done: int
    total: int
    bandwidth: int
    ended: int | None
    outcome: str | None
    error: str | None


class Place(TypedDict):
    """Where a disk is, and where it may move."""

    target: str
    source: str
    source_format: str
    path: str
    format: str


@dataclass(eq=False, slots=True)
class Running:
    """One job, and what is known of it."""

    number: int
    kind: str
    disk: VirtioDisk | Drive
    job: _core.BlockJob
    bandwidth: int = 0
    remove: Sequence[Path] = ()
    state: str = RUNNING
    done: int = 0
    total: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    _moment: float = field(default_factory=time.monotonic)

    def watch(self, done: int, total: int) -> None:
        """Between two parts; as slow as it is to be."""
        moved, self.done, self.total = done - self.done, done, total
        while self.bandwidth and not self.stop.is_set():
            left = self._moment + moved / self.bandwidth - time.monotonic()
            if left <= 0:
                break
            self.stop.wait(min(left, LONGEST_S))
        self._moment = time.monotonic()
        if self.stop.is_set():
            raise Aborted


class BlockJobs:
    """From any thread."""

    def __init__(self, disk: Callable[[str], VirtioDisk | Drive]) -> None:
        self._disk = disk
        self._numbers = itertools.count(1)
        self._jobs: dict[str, Running] = {}
        self._ended: dict[str, tuple[int, str, str | None]] = {}
        self._lock = threading.Lock()

    @property
    def active(self) -> list[str]:
        """The targets of disks that have one."""
        return list(self._jobs)

    def check_idle(self, target: str) -> None:
        """Raises `HostError` if a disk has one."""
        if target in self._jobs:
            raise HostError(f"disk {target} has a block job; wait for its end, or abort it with inn blockjob")

    def pull(self, target: str, base: str | None = None, *, name: str | None = None, bandwidth: int = 0) -> int:
        """Makes what lies below part of the image in use, down to `base` or all. Returns the job's number."""
        from innkeeper import _core

        disk = self._writable(target)
        image = image_of(disk)
        depth = depth_of(image.chain, base, disk.target) if base is not None else None
        if len(image.chain) < 2 or depth == 0:
            raise ConfigError(f"nothing lies below disk {disk.target} that could be pulled")
        called = None if depth is None else name or str(image.chain[depth].absolute())
        return self._begin(PULL, disk, lambda: _core.BlockJob.pull(image, depth, called), bandwidth)

    def commit(  # noqa: PLR0913 - virsh's words
        self,
        target: str,
        *,
        top: str | None,
        base: str | None,
        shallow: bool,
        name: str | None,
        bandwidth: int,
        delete: bool,
    ) -> int:
        """Writes what `top` (the image in use, if it is not named) and those above `base` have into that. Returns the job's number."""
        from innkeeper import _core

        disk = self._writable(target)
        image = image_of(disk)
        above, below = between(image.chain, top, base, disk.target, shallow=shallow)
        called = name or str(image.chain[below].absolute())
        kind = COMMIT if above else ACTIVE_COMMIT
        gone = image.chain[above:below] if delete else ()
        return self._begin(kind, disk, lambda: _core.BlockJob.commit(image, above, below, called), bandwidth, gone)

    def copy(self, target: str, path: Path, *, image_format: str, shallow: bool, blank: bool, bandwidth: int) -> int:
        """Copies a disk to an image that is there, and keeps the two alike. Returns the job's number."""
        from innkeeper import _core

        disk = self._writable(target)
        image = image_of(disk)

        def begin() -> _core.BlockJob:
            return _core.BlockJob.copy(image, path, format=image_format, shallow=shallow, blank=blank)

        return self._begin(COPY, disk, begin, bandwidth)

    def info(self, target: str) -> JobNow:
        target = self._disk(target).target
        running = self._jobs.get(target)
        ended, outcome, error = self._ended.get(target, (None, None, None))
        return JobNow(
            number=running.number if running is not None else None,
            kind=running.kind if running is not None else None,
            state=running.state if running is not None else None,
            done=running.done if running is not None else 0,
            total=running.total if running is not None else 0,
            bandwidth=running.bandwidth if running is not None else 0,
            ended=ended,
            outcome=outcome,
            error=error,
        )

    def set_bandwidth(self, target: str, bandwidth: int) -> None:
        """In bytes a second; 0 for as many as there can be."""
        self._running(target).bandwidth = bandwidth

    def be_strict(self, target: str, *, strict: bool) -> Place:
        """Sees to it that the disk cannot come to differ from where it may move; or no longer."""
        running = self._ready(target)
        try:
            running.job.be_strict(strict)
        except OSError as error:
            raise HostError(f"disk {running.disk.target} cannot move: {error.strerror or error}") from error
        return place_of(running)

    def abort(self, target: str, *, pivot: bool = False, patience_s: float | None = None) -> None:
        """Ends a job; with `pivot` the disk moves to the image that it was mirrored to. Returns when it has, or after that time."""
        if pivot:
            self._move(self._ready(target))
            return
        running = self._running(target)
        running.stop.set()
        if running.thread is not None:
            running.thread.join(patience_s)
        if running.state == READY:
            self._leave(running)
            self._end(running, COMPLETED)

    def close(self) -> None:
        """The machine has ended."""
        for running in list(self._jobs.values()):
            running.stop.set()
            if running.thread is not None:
                running.thread.join()
            self._leave(running)
            self._jobs.pop(running.disk.target, None)

    # ---- parts ----------------------------------------------------------------------------------

    def _writable(self, target: str) -> VirtioDisk | Drive:
        disk = self._disk(target)
        if image_of(disk) is None or disk.config.device is not DiskDevice.DISK or disk.config.readonly:
            raise ConfigError(f"disk {disk.target} is only read, so there is nothing to be done to it")
        return disk

    def _begin(
        self,
        kind: str,
        disk: VirtioDisk | Drive,
        make: Callable[[], _core.BlockJob],
        bandwidth: int,
        remove: Sequence[Path] = (),
    ) -> int:
        with self._lock:
            self.check_idle(disk.target)
            try:
                job = make()
            except OSError as error:
                raise HostError(str(error.strerror or error)) from error
            except ValueError as error:
                raise ImageError(str(error)) from error
            running = Running(next(self._numbers), kind, disk, job, bandwidth, remove)
            running.total = image_of(disk).size
            self._jobs[disk.target] = running
            running.thread = threading.Thread(target=self._run, args=(running,), name=f"job-{disk.target}", daemon=True)
            running.thread.start()
        return running.number

    def _run(self, running: Running) -> None:
        try:
            running.job.run(running.watch)
        except Aborted:
            self._leave(running)
            self._end(running, ABORTED)
        except Exception as error:
            logger.debug("a block job fails", exc_info=True)
            self._leave(running)
            self._end(running, FAILED, getattr(error, "strerror", None) or str(error))
        else:
            if running.job.destination is not None:
                running.state = READY
            else:
                self._end(running, COMPLETED, remove_all(running.remove))

    def _leave(self, running: Running) -> None:
        try:
            running.job.leave(pivot=False)
        except OSError:  # it only lets go
            logger.debug("a block job is not left", exc_info=True)

    def _move(self, running: Running) -> None:
        destination = running.job.destination
        assert destination is not None  # noqa: S101 - it is ready
        try:
            running.job.leave(pivot=True)
        except OSError as error:
            raise HostError(f"disk {running.disk.target} cannot move: {error.strerror or error}") from error
        path, image_format = destination
        running.disk.config = replace(running.disk.config, path=path, format=DiskFormat(image_format))
        self._end(running, COMPLETED, remove_all(running.remove))

    def _end(self, running: Running, outcome: str, error: str | None = None) -> None:
        with self._lock:
            self._jobs.pop(running.disk.target, None)
            self._ended[running.disk.target] = (running.number, outcome, error)

    def _running(self, target: str) -> Running:
        target = self._disk(target).target
        running = self._jobs.get(target)
        if running is None:
            raise HostError(f"disk {target} has no block job")
        return running

    def _ready(self, target: str) -> Running:
        running = self._running(target)
        if running.state != READY:
            if running.kind in (PULL, COMMIT):
                raise ConfigError(
                    f"disk {running.disk.target} stays where it is when its job has ended; leave out --pivot"
                )
            raise HostError(
                f"disk {running.disk.target} cannot move yet: {running.done} of {running.total} bytes are there"
            )
        return running

    def commands(self) -> dict[str, Command]:
        """For the control socket."""
        return {
            "block-pull": lambda asked: self.pull(
                text(asked, "disk"),
                maybe(asked, "base"),
                name=maybe(asked, "name"),
                bandwidth=count(asked, "bandwidth"),
            ),
            "block-commit": lambda asked: self.commit(
                text(asked, "disk"),
                top=maybe(asked, "top"),
                base=maybe(asked, "base"),
                shallow=bool(asked.get("shallow")),
                name=maybe(asked, "name"),
                bandwidth=count(asked, "bandwidth"),
                delete=bool(asked.get("delete")),
            ),
            "block-copy": lambda asked: self.copy(
                text(asked, "disk"),
                Path(text(asked, "place")),
                image_format=text(asked, "format"),
                shallow=bool(asked.get("shallow")),
                blank=bool(asked.get("blank")),
                bandwidth=count(asked, "bandwidth"),
            ),
            "block-job": lambda asked: self.info(text(asked, "disk")),
            "block-speed": lambda asked: self.set_bandwidth(text(asked, "disk"), count(asked, "bandwidth")),
            "block-strict": lambda asked: self.be_strict(text(asked, "disk"), strict=bool(asked.get("strict"))),
            "block-abort": lambda asked: self.abort(
                text(asked, "disk"), pivot=bool(asked.get("pivot")), patience_s=0.0 if asked.get("at_once") else None
            ),
        }


def place_of(running: Running) -> Place:
    image, destination = image_of(running.disk), running.job.destination
    assert destination is not None  # noqa: S101 - it is ready
    return Place(
        target=running.disk.target,
        source=str(running.disk.config.path),
        source_format=image.format,
        path=str(destination[0]),
        format=destination[1],
    )


def remove_all(paths: Sequence[Path]) -> str | None:
    """Why one of them is still there, if it is."""
    wrong = None
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            wrong = f"{path} is needed no more and cannot be removed: {error.strerror}"
    return wrong
