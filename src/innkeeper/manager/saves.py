"""The service of saved machines: to files that a user names, and to those that the manager keeps until the next start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar
from uuid import UUID

from innkeeper.errors import ConfigError, HostError, ImageError
from innkeeper.folders import state_folder
from innkeeper.machine.control import ask
from innkeeper.machine.names import control_of, running
from innkeeper.machine.state_file import describe_anew, description_of
from innkeeper.manager.domain_xml import read_xml
from innkeeper.manager.naming import check_free, kept_row, row_of
from innkeeper.manager.normal import normalised
from innkeeper.manager.served import served
from innkeeper.manager.storage.work import Progress, Work
from innkeeper.manager.store import Row, Store

if TYPE_CHECKING:
    from innkeeper.manager.domains import Domains

Result = TypeVar("Result")

LOOK_S = 0.2  # from one report of progress to the next
MOST_XML = 1 << 20


class Finished(TypedDict):
    """A save that has ended, well or not; bytes of memory, and milliseconds."""

    failed: bool
    total: int
    elapsed: int


def managed_file(uuid: UUID) -> Path:
    """Where a machine is saved that goes on with its next start."""
    folder = state_folder() / "saved"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / str(uuid)


def check_no_save(row: Row) -> None:
    """What a machine was doing goes on from its disks as they are, and from no others. Raises `HostError` if it was saved."""
    if managed_file(row.uuid).exists():
        raise HostError(
            f"machine {row.name} has a managed save, which goes on from its disks as they are; start it, or forget what "
            f"it was doing with inn managedsave-remove {row.name}"
        )


def xml_of(path: Path) -> str:
    """The machine in a file, as it was defined when it was started, or as somebody has said since. Raises `InnkeeperError`."""
    return said_of(path, description_of(path))


def said_of(path: Path, description: dict[str, Any]) -> str:
    xml = description.get("xml")
    if not isinstance(xml, str) or len(xml) > MOST_XML:
        raise ImageError(
            f"{path} does not say which machine is in it; only those that the manager started are restored"
        )
    return xml


def going_on(path: Path, *, xml: str | None = None, paused: bool | None = None) -> dict[str, Any]:
    """The order that has the machine in a file go on; see `manager.host`. Raises `InnkeeperError`."""
    description = description_of(path)
    known = said_of(path, description)
    return {
        "xml": known if xml is None else same_machine(xml, known, path),
        "restore": str(path),
        "relocated": xml is not None or bool(description.get("relocated")),
        "paused": bool(description.get("paused")) if paused is None else paused,
    }


def same_machine(xml: str, known: str, path: Path) -> str:
    """Another document of a saved machine. Raises `ConfigError` if it is of another machine."""
    given, there = read_xml(xml), read_xml(known)
    if given.name != there.name or (given.uuid != there.uuid and "<uuid>" in xml):
        raise ConfigError(
            f"the document is of machine {given.name} with UUID {given.uuid}; the one in {path} is {there.name} with UUID "
            f"{there.uuid}"
        )
    if "<uuid>" not in xml:
        raise ConfigError("the document has no <uuid>; change what inn save-image-dumpxml shows, and no identity")
    return normalised(xml)


class Saves:
    """Methods raise `InnkeeperError`; a machine that cannot be saved runs on."""

    def __init__(self, domains: Domains) -> None:
        self._domains = domains
        self.finished: dict[str, Finished] = {}
        """The last save of each machine, by name."""

    @served
    def save(
        self, name: str, path: str, *, xml: str | None = None, paused: bool | None = None, bypass_cache: bool = False
    ) -> Work[str]:
        """Saves a machine to a file and ends it; yields how far that is, and gives its name.

        It is restored as `xml` says, if that is given, and `paused` or not if that is said; otherwise as it is now.
        """
        name = self._domains.running_name(name)
        about: dict[str, Any] = {} if paused is None else {"paused": paused}
        if xml is not None:
            about |= {"xml": self._document_of(name, xml), "relocated": True}
        yield from self._written(name, Path(path), about, bypass_cache=bypass_cache)
        return name

    @served
    def restore(
        self, path: str, *, xml: str | None = None, paused: bool | None = None, bypass_cache: bool = False
    ) -> str:
        """Starts the machine that is in a file, which stays; `xml` and `paused` as in `save`. Gives its name."""
        order = going_on(Path(path), xml=xml, paused=paused) | {"bypass_cache": bypass_cache}
        definition = read_xml(order["xml"])
        name = definition.name
        uuid = read_xml(xml_of(Path(path))).uuid
        other = next((row for row in rows() if (row.name == name) != (row.uuid == uuid)), None)
        if other is not None:
            raise ConfigError(
                f"the machine in {path} is {name} with UUID {uuid}, and there is a machine {other.name} with "
                f"UUID {other.uuid}; undefine that one first"
            )
        with Store() as store:
            check_free(store, name, uuid)
        self._domains.launch(name, order, "restored")
        return name

    # ---- what is said of those that are saved -----------------------------------------------------

    @served
    def image_xml(self, path: str) -> str:
        """The machine in a file, as XML."""
        return xml_of(Path(path))

    @served
    def image_define(self, path: str, xml: str | None = None, *, paused: bool | None = None) -> None:
        """How the machine in a file is to be restored: as this document says, and `paused` or not."""
        file = Path(path)
        description = description_of(file)
        known = said_of(file, description)
        if xml is not None and xml != known:
            description |= {"xml": same_machine(xml, known, file), "relocated": True}
        if paused is not None:
            description["paused"] = paused
        describe_anew(file, description)

    @served
    def managed_xml(self, name: str) -> str:
        """A machine that goes on with its next start, as XML."""
        return xml_of(self._managed(name))

    @served
    def managed_define(self, name: str, xml: str | None = None, *, paused: bool | None = None) -> str:
        """As `image_define`, of a machine that goes on with its next start. Gives its name."""
        self.image_define(str(self._managed(name)), xml, paused=paused)
        return kept_row(name).name

    # ---- until the next start ---------------------------------------------------------------------

    @served
    def managed_save(self, name: str, *, paused: bool | None = None, bypass_cache: bool = False) -> Work[str]:
        """Saves a machine where its next start finds it, and ends it; yields how far that is, and gives its name."""
        name = self._domains.running_name(name)
        with Store() as store:
            row = store.find(name)
        if row is None:
            raise ConfigError(f"machine {name} is not kept, so it has no next start; inn save {name} FILE saves it")
        about = {} if paused is None else {"paused": paused}
        file = managed_file(row.uuid)
        yield from self._written(name, file, about, bypass_cache=bypass_cache)
        with Store() as store:
            if store.find(name) is None:
                raise HostError(f"machine {name} was undefined while it was saved; inn restore {file} goes on with it")
        return name

    @served
    def managed_save_remove(self, name: str) -> bool:
        """Forgets where a machine was saved, so that its next start is from the beginning; tells whether it was."""
        row = kept_row(name)
        try:
            managed_file(row.uuid).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise HostError(f"cannot remove the managed save of {row.name}: {error.strerror}") from error
        return True

    @staticmethod
    def _document_of(name: str, xml: str) -> str:
        given = read_xml(xml)
        if given.name != name or "<uuid>" not in xml or row_of(name).uuid != given.uuid:
            raise ConfigError(
                f"the document is of another machine than {name}; change what inn dumpxml {name} shows, and neither its name "
                "nor its UUID"
            )
        return normalised(xml)

    @staticmethod
    def _managed(name: str) -> Path:
        row = kept_row(name)
        file = managed_file(row.uuid)
        if not file.exists():
            raise HostError(
                f"machine {row.name} has no managed save; inn managedsave {row.name} makes one while it runs"
            )
        return file

    def _written(self, name: str, path: Path, about: dict[str, Any], *, bypass_cache: bool) -> Work[None]:
        """Who stops listening does not stop it: half a save is none, and the whole one is what was asked for."""
        totals: list[int] = []
        begun = time.monotonic()

        def save() -> None:
            try:
                totals.append(ask(control_of(name), "save", file=str(path), about=about, bypass_cache=bypass_cache))
            finally:
                elapsed = int((time.monotonic() - begun) * 1000)
                self.finished[name] = Finished(failed=not totals, total=sum(totals), elapsed=elapsed)

        yield from watched(name, save)
        self._domains.wait_for_end(name)


def watched(name: str, work: Callable[[], Result]) -> Work[Result]:
    """Does what saves a machine, and tells how far that is. Who stops listening does not stop it."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            errors.append(error)

    thread = threading.Thread(target=run, name="save", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(LOOK_S)
        report = progress(name) if thread.is_alive() else None
        if report is not None:
            yield report
    if errors:
        raise errors[0]
    return results[0]


def rows() -> list[Row]:
    with Store() as store:
        return store.all()


def progress(name: str) -> Progress | None:
    """None if it is not being saved, or not any more."""
    found = progress_of(name)
    return None if found is None else Progress(done=found[0], total=found[1])


def progress_of(name: str) -> tuple[int, int, int] | None:
    """Bytes written and to be written, and for how many milliseconds. None if it is not being saved, or not any more."""
    if name not in running():
        return None
    try:
        found = ask(control_of(name), "save-progress")
    except HostError:
        return None
    return None if found is None else (int(found[0]), int(found[1]), int(found[2]))
