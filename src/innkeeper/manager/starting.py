"""The part of the machines' service that starts them: from the beginning, where they were saved, or without keeping them."""

import logging
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any, TypedDict
from uuid import UUID

from innkeeper.errors import ConfigError, HostError, InnkeeperError
from innkeeper.machine.happenings import RUNNING
from innkeeper.machine.names import running
from innkeeper.machine.suspending import PAUSED
from innkeeper.manager.domain_xml import read_xml, unknown_parts
from innkeeper.manager.events import Events
from innkeeper.manager.launcher import Launcher
from innkeeper.manager.naming import check_free, kept_row
from innkeeper.manager.normal import normalised
from innkeeper.manager.saves import check_no_save, going_on, managed_file
from innkeeper.manager.served import served
from innkeeper.manager.store import Row, Store, uuid_taken
from innkeeper.manager.watching import Watch

logger = logging.getLogger(__name__)


class Created(TypedDict):
    """A machine that was started, and the parts of its document that mean nothing here."""

    name: str
    unknown: list[str]


class Starting:
    """What it uses is its service's. Methods raise `InnkeeperError`."""

    _launcher: Launcher
    _events: Events
    _watch: Watch
    _locks: defaultdict[str, threading.RLock]
    """One change of a machine at a time."""

    def _row(self, name: str) -> Row:
        raise NotImplementedError

    @served
    def start(
        self,
        name: str,
        xml: str | None = None,
        *,
        force_boot: bool = False,
        paused: bool = False,
        bypass_cache: bool = False,
        reset_nvram: bool = False,
    ) -> int:
        """Returns the number of its process. `xml` is for this time only. A managed save is gone on with, unless it is
        to be forgotten: `force_boot`; without the host's cache if that is to be bypassed. With `paused` it stands still from the
        start, with `reset_nvram` its UEFI variables are its firmware's.
        """
        row = self._row(name)
        if not row.persistent:
            raise HostError(f"machine {row.name} runs already")
        with self._locks[row.name]:
            row = kept_row(row.name)  # nobody has undefined it meanwhile
            saved, active = managed_file(row.uuid), row.name in running()
            if force_boot:
                saved.unlink(missing_ok=True)
            if saved.exists() and not active:
                if reset_nvram:
                    raise ConfigError(
                        f"machine {row.name} has a managed save, which goes on with its UEFI variables; leave out "
                        "--reset-nvram, or add --force-boot"
                    )
                return self._go_on(row.name, saved, paused=paused, bypass_cache=bypass_cache)
            document = row.xml if xml is None else xml
            if reset_nvram and not active:
                reset_variables(document)
            return self.launch(row.name, {"xml": document, "paused": paused}, "booted")

    def _go_on(self, name: str, saved: Path, *, paused: bool, bypass_cache: bool) -> int:
        try:
            order = going_on(saved, paused=True if paused else None) | {"consume": True, "bypass_cache": bypass_cache}
            return self.launch(name, order, "restored")
        except InnkeeperError as error:
            raise type(error)(
                f"{error}; inn start --force-boot {name} forgets it and starts from the beginning"
            ) from error

    def launch(self, name: str, order: dict[str, Any], how: str = "booted") -> int:
        """Starts a machine's process; see `manager.host`."""
        paused = bool(order.get("paused"))
        with self._locks[name]:
            process = self._launcher.launch(name, order)
            self._events.publish(name, "started", how)  # before its end, however soon that is
            if paused:
                self._events.publish(name, "suspended", "paused")
            self._watch.begin(name, PAUSED if paused else RUNNING)
        return process

    @served
    def create(self, xml: str, *, paused: bool = False, reset_nvram: bool = False) -> Created:
        """Starts a machine that is forgotten when it ends, or one that is kept as this document says, for this time only."""
        made, _ = self.create_by(xml, {"paused": paused}, reset_nvram=reset_nvram)
        return made

    def create_by(self, xml: str, order: dict[str, Any], *, reset_nvram: bool = False) -> tuple[Created, int]:
        """The same with more of an order (see `manager.host`), and the number of its process."""
        given = "<uuid>" in xml
        xml = normalised(xml)
        definition = read_xml(xml)
        name = definition.name
        with self._locks[name]:
            check_creatable(definition.name, definition.uuid, given=given)
            if reset_nvram and name not in running():
                reset_variables(xml)
            process = self.launch(name, {"xml": xml} | order)
        return Created(name=name, unknown=unknown_parts(xml)), process

    def start_marked(self) -> None:
        """Those that are to start with the manager; what goes wrong with one is told as an event."""
        active = running()
        with Store() as store:
            marked = [row.name for row in store.all() if row.autostart and row.name not in active]
        for name in marked:
            try:
                self.start(name)
            except InnkeeperError as error:
                logger.warning("%s is marked to start, and cannot: %s", name, error)
                self._events.publish(name, "failed", str(error))


def check_creatable(name: str, uuid: UUID, *, given: bool) -> None:
    """Raises `InnkeeperError` unless a document may be started: of a machine that nobody knows, or with its UUID `given` of one that is kept."""
    with Store() as store:
        known, other = store.find(name), store.find(str(uuid))
        if known is not None and not (given and known.uuid == uuid):
            raise ConfigError(
                f"a machine named {name} exists already; inn start {name} starts it, and with its UUID, {known.uuid}, "
                "in the document it starts as that says"
            )
        if known is None and other is not None:
            raise uuid_taken(uuid, other.name)
        if name not in running():
            check_free(store, name, uuid)
    if known is not None:
        check_no_save(known)


def reset_variables(xml: str) -> None:
    """Removes the file of UEFI variables, which a start makes anew from its firmware's template. Raises `InnkeeperError`."""
    firmware = read_xml(xml).machine.firmware
    if firmware is None or firmware.vars is None:
        raise ConfigError(
            "the machine keeps no UEFI variables in a file, so there are none to reset; leave out --reset-nvram"
        )
    try:
        firmware.vars.unlink(missing_ok=True)
    except OSError as error:
        raise HostError(f"cannot remove {firmware.vars}: {error.strerror}") from error
