"""The service of machines: kept, started, watched, ended, forgotten."""

import logging
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypedDict

from innkeeper.errors import ConfigError, HostError, InnkeeperError
from innkeeper.machine.control import ask
from innkeeper.machine.names import control_of, process_of, running, signal_to
from innkeeper.manager.domain_files import files_of, open_line, remove_debris
from innkeeper.manager.domain_toml import as_xml, read_toml, write_toml
from innkeeper.manager.domain_xml import read_xml, unknown_parts
from innkeeper.manager.events import Events
from innkeeper.manager.host_files import log_of
from innkeeper.manager.installation.journal import sweep
from innkeeper.manager.launcher import Launcher
from innkeeper.manager.naming import check_free, find, kept_row, row_of
from innkeeper.manager.normal import normalised
from innkeeper.manager.saves import managed_file
from innkeeper.manager.served import served
from innkeeper.manager.snapshots.table import SnapshotTable, domains_with_snapshots
from innkeeper.manager.starting import Starting
from innkeeper.manager.store import Row, Store
from innkeeper.manager.watching import Watch
from innkeeper.manager.wire import Descriptor

SHUT_OFF = "shut off"
ANSWER_S = 5.0  # for a process to say that it ends
PATIENCE_S = 20.0  # for a machine whose plug is pulled
LOOK_S = 0.01
HELD_LOOK_S = 0.5
KIB = 1024

logger = logging.getLogger(__name__)


class Listed(TypedDict):
    """`id` is the number of its process; `persistent` is whether it stays when it has ended."""

    id: int | None
    name: str
    uuid: str | None
    state: str
    title: str | None
    autostart: bool
    persistent: bool
    managed_save: bool
    snapshots: bool


class Defined(TypedDict):
    """`unknown` are the parts of the document that mean nothing here."""

    name: str
    uuid: str
    new: bool
    unknown: list[str]


class Info(TypedDict):
    """What `inn dominfo` shows; `id` as in `Listed`."""

    id: int | None
    name: str
    uuid: str
    state: str
    vcpus: int
    memory_kib: int
    engine: str
    autostart: bool
    persistent: bool
    title: str
    managed_save: bool


class Removed(TypedDict):
    """What came of the files that were to go; `failed` says why, for each that is still there. It may run on."""

    name: str
    runs: bool
    removed: list[str]
    failed: dict[str, str]


class Domains(Starting):
    """Machines are named by their name or their UUID. Methods raise `InnkeeperError`."""

    def __init__(self, launcher: Launcher, events: Events) -> None:
        self._launcher, self._events = launcher, events
        self._watch = Watch(events)
        self._locks = defaultdict(threading.RLock)
        remove_debris()
        for name in running():
            self._watch.begin(name)

    # ---- looking --------------------------------------------------------------------------------

    @served
    def all(self, *, titles: bool = False) -> list[Listed]:
        """All machines, by name: those that are kept, and those that run without being kept. Titles cost time."""
        self.sweep_installations()
        active = running(taken=False)
        with Store() as store:
            rows = {row.name: row for row in store.all()}
            snapshots = domains_with_snapshots(store)
        found = [self._listed(name, rows.get(name), active) for name in sorted({*rows, *active})]
        for each in found:
            each["snapshots"] = each["uuid"] in snapshots
        for each in found if titles else ():
            if each["uuid"] is not None:
                with suppress(InnkeeperError):  # a transient one has ended meanwhile
                    each["title"] = read_xml((rows.get(each["name"]) or row_of(each["name"])).xml).title
        return found

    def _listed(self, name: str, row: Row | None, active: list[str]) -> Listed:
        return Listed(
            id=self._watch.process(name) if name in active else None,
            name=name,
            uuid=str(row.uuid) if row is not None else self._watch.uuid(name),
            state=self._watch.state(name) if name in active else SHUT_OFF,
            title=None,
            autostart=row is not None and row.autostart,
            persistent=row is not None,
            managed_save=row is not None and managed_file(row.uuid).exists(),
            snapshots=False,
        )

    @served
    def info(self, name: str) -> Info:
        row = self._row(name)
        definition = read_xml(row.xml)
        machine = definition.machine
        listed = self._listed(row.name, row, running(taken=False))
        return Info(
            id=listed["id"],
            name=row.name,
            uuid=str(row.uuid),
            state=listed["state"],
            vcpus=machine.vcpus,
            memory_kib=machine.memory_mib * KIB,
            engine=machine.engine.value,
            autostart=row.autostart,
            persistent=row.persistent,
            title=definition.title,
            managed_save=managed_file(row.uuid).exists(),
        )

    @served
    def state(self, name: str) -> str:
        self.sweep_installations()
        name, active = find(name)
        return self._watch.state(name) if active else SHUT_OFF

    @served
    def xml(self, name: str) -> str:
        """As it is kept; of one that is transient, as it runs."""
        return self._row(name).xml

    @served
    def definition(self, name: str) -> str:
        """As it is kept. Raises `ConfigError` for one that is transient."""
        return self._kept(name).xml

    @served
    def toml(self, name: str) -> str:
        """What of it is understood, as TOML."""
        return write_toml(read_xml(self._row(name).xml))

    # ---- keeping --------------------------------------------------------------------------------

    @served
    def define(self, text: str) -> Defined:
        """Keeps a machine that XML or TOML describes, or changes one with the same name and UUID. What runs goes on as it was started."""
        xml = normalised(text if text.lstrip().startswith("<") else as_xml(read_toml(text)))
        definition = read_xml(xml)
        with self._locks[definition.name], Store() as store:
            check_free(store, definition.name, definition.uuid)
            new = store.put(definition.name, definition.uuid, xml)
        self._events.publish(definition.name, "defined", "added" if new else "updated")
        return Defined(name=definition.name, uuid=str(definition.uuid), new=new, unknown=unknown_parts(xml))

    @served
    def undefine(
        self,
        name: str,
        *,
        storage: bool = False,
        disks: Sequence[str] = (),
        nvram: bool = False,
        snapshots_metadata: bool = False,
        managed_save: bool = False,
    ) -> Removed:
        """Forgets a machine, and with `storage` its disks' files, or those of some `disks`, with `nvram` that of its UEFI variables.

        One that runs is transient from then on: its files stay. One that has snapshots is forgotten only with
        `snapshots_metadata`: what they keep stays in the images. One that was saved only with `managed_save`, and what it was doing with it.
        """
        row = self._kept(name)
        with self._locks[row.name], Store() as store:
            active = row.name in running()
            if active:
                check_transient(SnapshotTable(store, row), files=storage or bool(disks) or nvram)
            count = len(SnapshotTable(store, row).all())
            if count and not snapshots_metadata:
                raise ConfigError(
                    f"machine {row.name} has {count} snapshots, which nobody could find again: delete them, "
                    "or have them forgotten with --snapshots-metadata"
                )
            files = files_of(row, storage=storage, disks=disks, nvram=nvram)
            if (saved := managed_file(row.uuid)).exists():
                if not managed_save:
                    raise HostError(
                        f"machine {row.name} has a managed save; inn undefine --managed-save forgets it too"
                    )
                files.append(saved)
            store.remove(row.name, debris=files)
        self._events.publish(row.name, "undefined", "removed")
        removed, failed = remove_debris()
        return Removed(name=row.name, runs=active, removed=removed, failed=failed)

    @served
    def autostart(self, name: str, *, on: bool) -> str:
        name = self._kept(name).name
        with Store() as store:
            store.set_autostart(name, on=on)
        return name

    # ---- running --------------------------------------------------------------------------------

    @served
    def shutdown(self, name: str) -> str:
        """Presses the power button."""
        return self._press(name, "power-button")

    @served
    def reset(self, name: str) -> str:
        return self._press(name, "reset")

    def _press(self, name: str, button: str) -> str:
        name = self._running(name)
        ask(control_of(name), button)
        return name

    @served
    def destroy(self, name: str, *, graceful: bool = False, remove_log: bool = False) -> str:
        """Pulls the plug, and returns when nothing of the machine is left. If it is to be `graceful`, no process is killed."""
        name = self._running(name)
        process = process_of(name)
        try:
            ask(control_of(name), "stop", patience_s=ANSWER_S)
        except HostError as error:  # it may have ended before it could answer, which is what was asked for
            logger.info("%s is sent a signal: %s", name, error)
            signal_to(name, process, signal.SIGTERM)
        try:
            self.wait_for_end(name)
        except HostError:
            if graceful:
                raise
            logger.warning("%s is killed: it has not ended by itself", name)
            signal_to(name, process, signal.SIGKILL)
            self.wait_for_end(name)
        if remove_log:
            log_of(name).unlink(missing_ok=True)
        return name

    def wait_for_end(self, name: str) -> None:
        """Raises `HostError` if it takes too long."""
        deadline = time.monotonic() + PATIENCE_S
        while name in running():
            if time.monotonic() > deadline:
                raise HostError(f"machine {name} still runs after {PATIENCE_S:g} s; its log says why")
            time.sleep(LOOK_S)

    @served
    def control(self, name: str, do: str, values: dict[str, Any] | None = None) -> Any:
        """What a running machine answers to a command of its control socket; `patience_s` among the values is for how long to wait."""
        return ask(control_of(self._running(name)), do, **(values or {}))

    @served
    def console(self, name: str, process: int, *, force: bool = False, safe: bool = False) -> Descriptor:
        """The serial console of a running machine, for a process that holds it alone.

        `force` takes it from another; `safe` is for lines that nobody else can open.
        """
        name = self._running(name)
        line = ask(control_of(name), "hold-console", process=process, opener=os.getpid(), force=force)
        if safe and line["kind"] == "pty":
            raise HostError(
                f"the console of {name} is {line['path']}, which others can open meanwhile; leave out --safe"
            )
        return open_line(line["path"], name)

    @served
    def line(self, name: str) -> Descriptor:
        """The serial console of a running machine, beside whoever holds it."""
        name = self._running(name)
        line = ask(control_of(name), "console")
        if line["path"] is None:
            raise HostError(
                f"the serial console of {name} is {line['kind']} of its inn run, which nobody else can open"
            )
        return open_line(line["path"], name)

    @served
    def screen(self, name: str) -> Descriptor:
        """A conversation with a running machine's VNC server that asks for no password."""
        name = self._running(name)
        return open_line(ask(control_of(name), "view")["path"], name)

    @served
    def hold(self, name: str) -> Generator[None, None, None]:
        """Until the caller leaves, or the machine ends; a machine that has not is ended then."""
        name = self._running(name)
        process = process_of(name)
        try:
            while process_of(name) == process:
                yield None
                time.sleep(HELD_LOOK_S)
        finally:
            with suppress(InnkeeperError):  # it has ended meanwhile
                if process_of(name) == process:
                    self.destroy(name)

    @contextmanager
    def changing(self, *names: str) -> Iterator[None]:
        """Nobody else changes or starts these machines meanwhile."""
        with ExitStack() as held:
            for name in sorted(names):
                held.enter_context(self._locks[name])
            yield

    def publish(self, name: str, what: str, detail: str) -> None:
        """Something has happened to a machine that another service has done."""
        self._events.publish(name, what, detail)

    def running_name(self, name: str) -> str:
        """The name of a machine that runs. Raises `InnkeeperError` unless it does."""
        return self._running(name)

    # ---- parts ----------------------------------------------------------------------------------

    def _row(self, name: str) -> Row:
        self.sweep_installations()
        return row_of(name)

    def _kept(self, name: str) -> Row:
        self.sweep_installations()
        return kept_row(name)

    def sweep_installations(self) -> list[str]:
        """Undoes what was being made when a manager was killed; tells which files went."""

        def forget(uuid: str) -> None:
            with suppress(ConfigError), Store() as store:
                store.remove(uuid)

        removed = sweep(forget)
        for path in removed:
            logger.info("%s is removed: its installation was cut short", path)
        return removed

    def _running(self, name: str) -> str:
        """Raises `InnkeeperError` unless it runs."""
        self.sweep_installations()
        name, active = find(name)
        if not active:
            raise HostError(f"machine {name} does not run; inn start {name} starts it")
        return name


def check_transient(table: SnapshotTable, *, files: bool) -> None:
    """Raises `HostError` unless a machine that runs can go on without its definition. `files` of its are to go too."""
    name = table.domain.name
    if files:
        raise HostError(
            f"machine {name} runs, and uses the files that are to be removed; end it first, with inn destroy {name}, or leave the "
            "files where they are"
        )
    try:
        saving = ask(control_of(name), "save-progress", patience_s=ANSWER_S) is not None
    except HostError as error:
        raise HostError(f"machine {name} is about to start or to end, or busy with snapshots; try again") from error
    if saving or table.noted():
        raise HostError(f"machine {name} is being saved, or its disks are being changed; undefine it when that is done")
