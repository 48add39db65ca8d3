"""The service of saved machines: to files that a user names, and to those that the manager keeps until the next start."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from innkeeper.errors import ConfigError, HostError, ImageError
from innkeeper.folders import state_folder
from innkeeper.machine.control import ask
from innkeeper.machine.names import control_of, running
from innkeeper.machine.state_file import description_of
from innkeeper.manager.domain_xml import read_xml
from innkeeper.manager.served import served
from innkeeper.manager.storage.work import Progress, Work
from innkeeper.manager.store import Row, Store

if TYPE_CHECKING:
    from innkeeper.manager.domains import Domains

LOOK_S = 0.2  # from one report of progress to the next
MOST_XML = 1 << 20


def managed_file(uuid: UUID) -> Path:
    """Where a machine is saved that goes on with its next start."""
    folder = state_folder() / "saved"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / str(uuid)


def xml_of(path: Path) -> str:
    """The machine in a file, as it was defined when it was started. Raises `InnkeeperError`."""
    xml = description_of(path).get("xml")
    if not isinstance(xml, str) or len(xml) > MOST_XML:
        raise ImageError(
            f"{path} does not say which machine is in it; only those that the manager started are restored"
        )
    return xml


class Saves:
    """Methods raise `InnkeeperError`; a machine that cannot be saved runs on."""

    def __init__(self, domains: Domains) -> None:
        self._domains = domains

    @served
    def save(self, name: str, path: str) -> Work[str]:
        """Saves a machine to a file and ends it; yields how far that is, and gives its name."""
        name = self._domains.running_name(name)
        yield from self._written(name, Path(path))
        return name

    @served
    def restore(self, path: str) -> str:
        """Starts the machine that is in a file, which stays. Gives its name."""
        xml = xml_of(Path(path))
        definition = read_xml(xml)
        name = definition.name
        other = next((row for row in rows() if (row.name == name) != (row.uuid == definition.uuid)), None)
        if other is not None:
            raise ConfigError(
                f"the machine in {path} is {name} with UUID {definition.uuid}, and there is a machine {other.name} with "
                f"UUID {other.uuid}; undefine that one first"
            )
        self._domains.launch(name, {"xml": xml, "restore": path}, "restored")
        return name

    @served
    def image_xml(self, path: str) -> str:
        """The machine in a file, as XML."""
        return xml_of(Path(path))

    @served
    def managed_save(self, name: str) -> Work[str]:
        """Saves a machine where its next start finds it, and ends it; yields how far that is, and gives its name."""
        row = next((row for row in rows() if name in (row.name, str(row.uuid))), None)
        if row is None:
            name = self._domains.running_name(name)
            raise ConfigError(f"machine {name} is not kept, so it has no next start; inn save {name} FILE saves it")
        self._domains.running_name(row.name)
        yield from self._written(row.name, managed_file(row.uuid))
        return row.name

    @served
    def managed_save_remove(self, name: str) -> bool:
        """Forgets where a machine was saved, so that its next start is from the beginning; tells whether it was."""
        row = kept(name)
        try:
            managed_file(row.uuid).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise HostError(f"cannot remove the managed save of {row.name}: {error.strerror}") from error
        return True

    def _written(self, name: str, path: Path) -> Work[None]:
        """Who stops listening does not stop it: half a save is none, and the whole one is what was asked for."""
        errors: list[HostError] = []

        def save() -> None:
            try:
                ask(control_of(name), "save", file=str(path))
            except HostError as error:
                errors.append(error)

        thread = threading.Thread(target=save, name="save", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(LOOK_S)
            report = progress(name) if thread.is_alive() else None
            if report is not None:
                yield report
        if errors:
            raise errors[0]
        self._domains.wait_for_end(name)


def rows() -> list[Row]:
    with Store() as store:
        return store.all()


def kept(name: str) -> Row:
    with Store() as store:
        return store.get(name)


def progress(name: str) -> Progress | None:
    """None if it is not being saved, or not any more."""
    if name not in running():
        return None
    try:
        found = ask(control_of(name), "save-progress")
    except HostError:
        return None
    return None if found is None else Progress(done=found[0], total=found[1])
