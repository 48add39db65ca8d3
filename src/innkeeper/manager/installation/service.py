"""The service of installations: what a command must know before it asks for a machine, the making of it, and waiting for the end.

All of it happens in the manager that runs the machine, with its rights, in its folders and by its store; a command brings only what its own
user can read: passwords, keys, words. `install` is a conversation: if the command leaves before it was told that the machine runs, all is undone;
if the manager is killed, the next one does that. Callers are trusted as much as whoever defines machines is.
"""

import logging
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypedDict

from innkeeper.config.plain import from_plain, to_plain
from innkeeper.errors import ConfigError, HostError, InnkeeperError
from innkeeper.folders import state_folder
from innkeeper.machine.names import running
from innkeeper.manager.definition import check_domain_name
from innkeeper.manager.domains import Domains
from innkeeper.manager.host_files import log_of
from innkeeper.manager.installation import checks, disks, media
from innkeeper.manager.installation.journal import Journal, folder_of
from innkeeper.manager.installation.making import Step, make
from innkeeper.manager.installation.media import Location
from innkeeper.manager.installation.order import Order, Wanted
from innkeeper.manager.served import served
from innkeeper.manager.store import Store

LOOK_S = 0.2
PATIENCE_S = 30.0  # for a conversation that was hung up on, to undo what it had made
UNDONE_LIMIT = 64  # of those whose command has not asked yet what became of them

logger = logging.getLogger(__name__)


class Places(TypedDict):
    """Of one machine: the folder of its first start's files, and the file of its UEFI variables."""

    folder: str
    variables: str


class Disks(TypedDict):
    """As `DiskConfig`s: how the machine has them, and those that are to be made."""

    disks: list[dict[str, Any]]
    missing: list[dict[str, Any]]


class Installations:
    """Paths are whole ones. Methods raise `InnkeeperError`."""

    def __init__(self, domains: Domains) -> None:
        self._domains = domains
        self._undone: dict[str, list[str]] = {}
        """By their tokens, until their commands have asked."""

    # ---- looking --------------------------------------------------------------------------------

    @served
    def places(self, name: str) -> Places:
        check_domain_name(name)
        return {"folder": str(folder_of(name)), "variables": str(state_folder() / f"{name}.nvram")}

    @served
    def system(self, location: dict[str, Any]) -> str | None:
        """What is on a medium, by its short name; None if it does not say."""
        with from_plain(Location, location).open() as tree:
            return media.system_of(tree)

    @served
    def disks(self, name: str, wanted: list[dict[str, Any]]) -> Disks:
        """What becomes of disks that a machine shall have (`Wanted`)."""
        found = disks.placed(name, [from_plain(Wanted, each) for each in wanted])
        return {
            "disks": [to_plain(disk) for disk in disks.once_made(found)],
            "missing": [to_plain(disk) for disk in disks.missing(found)],
        }

    @served
    def check(self, order: dict[str, Any], off: list[str]) -> None:
        """Whether `install` could do it. `off` are checks that are not wanted."""
        self._domains.sweep_installations()
        checks.check(from_plain(Order, order), off)

    @served
    def sweep(self) -> list[str]:
        """Undoes what killed managers have left; tells which files went."""
        return self._domains.sweep_installations()

    # ---- doing ----------------------------------------------------------------------------------

    @served
    def install(self, order: dict[str, Any]) -> Generator[Step, None, None]:
        """Makes and starts a machine. Of an installer the end is waited for, for as long as somebody listens."""
        wanted = from_plain(Order, order)
        name = wanted.definition.name
        self._domains.sweep_installations()
        with Store() as store:
            checks.check_identity(wanted, store.all())  # or the folder might be that of one that goes on
        with Journal(name) as journal:
            try:
                yield {"begun": journal.token}
                yield from make(wanted, journal, self._domains)  # who has left by its last step does not want it
            except BaseException:
                try:
                    self._undo(name, journal)
                except InnkeeperError as error:
                    logger.warning(
                        "%s", error
                    )  # the command will hear of it when it asks, and the next sweep tries again
                raise
            journal.succeeded(goes_on=wanted.first is not None)
            if wanted.installs:
                yield from self._watched(name, journal)

    @served
    def follow(self, name: str, token: str) -> Generator[Step, None, None]:
        """Waits for the end of an installation, for who has lost the manager that did."""
        with self._resumed(name, token) as journal:
            if journal is not None:
                yield from self._watched(name, journal)

    @served
    def goes_on(self, name: str) -> bool:
        """Whether the machine's first start, or the making of it, has not ended."""
        return folder_of(check_domain_name(name)).exists()

    @served
    def give_up(self, name: str, token: str) -> list[str] | None:
        """Ends the machine and removes all that was made of it; tells which files went. None if it had ended well by itself."""
        with self._resumed(name, token) as journal:
            if journal is not None and token not in self._undone:
                self._undo(name, journal)
        return self._undone.pop(token, None)

    # ---- parts ----------------------------------------------------------------------------------

    def _watched(self, name: str, journal: Journal) -> Iterator[Step]:
        """The machine's process removes the folder when the installer has ended."""
        while journal.folder.exists():
            if name not in running():
                time.sleep(LOOK_S)  # it may be about to do that
                if journal.folder.exists():
                    self._undo(name, journal)
                    raise HostError(f"machine {name} has ended, and its installer had not; {log_of(name)} says why")
            yield {}
            time.sleep(LOOK_S)

    @contextmanager
    def _resumed(self, name: str, token: str) -> Iterator[Journal | None]:
        """The journal of an installation, once nobody else is at it; None if it has ended, or was undone."""
        folder, deadline = folder_of(check_domain_name(name)), time.monotonic() + PATIENCE_S
        while folder.exists() and token not in self._undone:
            try:
                journal = Journal(name, resumes=True)
            except ConfigError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_S / 4)
                continue
            with journal:
                yield journal if journal.token == token else None
            return
        yield None

    def _undo(self, name: str, journal: Journal) -> None:
        """Raises `InnkeeperError` if that cannot be: the next sweep tries again."""
        if not journal.claim() and name in running():
            self._domains.destroy(name)
        self._undone[journal.token] = journal.undo(self._forget)
        for token in list(self._undone)[:-UNDONE_LIMIT]:
            self._undone.pop(token, None)

    def _forget(self, uuid: str) -> None:
        with Store() as store:
            kept = any(str(row.uuid) == uuid for row in store.all())
        if kept:
            self._domains.undefine(uuid, snapshots_metadata=True, managed_save=True)
