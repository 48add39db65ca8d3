"""Doing what an `Order` says: disks, the files of the first start, the definition, the machine. Each is written down before it is made."""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from innkeeper.errors import ConfigError
from innkeeper.image.iso9660 import write_disc
from innkeeper.manager.domain_xml import unknown_parts
from innkeeper.manager.installation import checks, disks, media
from innkeeper.manager.installation.journal import ANSWERS, INITRD, JOURNAL, SEED, STARTED, Journal
from innkeeper.manager.installation.order import Order
from innkeeper.manager.installation.seed import LABEL
from innkeeper.manager.store import Store

if TYPE_CHECKING:
    from innkeeper.manager.domains import Domains


class Step(TypedDict, total=False):
    """How far it is: `begun` names the installation; `path` is the disk that is made, with bytes; `process` runs the machine, and `unknown`
    are the parts of its document that mean nothing here. Nothing is said as long as an installer goes on.
    """

    begun: str
    path: str
    done: int
    total: int
    process: int
    unknown: list[str]


def make(order: Order, journal: Journal, domains: "Domains") -> Generator[Step, None, None]:
    """Ends when somebody was told that the machine runs. Raises `InnkeeperError`."""
    for disk in order.disks:
        for step in disks.create(disk, journal):
            yield {"path": str(disk.path), "done": step["done"], "total": step["total"]}
    prepare(order, journal.folder)
    firmware = order.definition.machine.firmware
    if firmware is not None and firmware.vars is not None and not firmware.vars.exists():
        journal.will_make(firmware.vars)  # by the machine's process
    process = start_unkept(order, journal, domains) if order.transient else start_kept(order, journal, domains)
    yield {"process": process, "unknown": unknown_parts(order.kept) if not order.again else []}


def prepare(order: Order, folder: Path) -> None:
    """The files that only the first start needs."""
    inject = list(order.inject)
    if order.answers is not None:
        answered = folder / ANSWERS
        answered.touch(mode=0o600)
        answered.write_text(order.answers)
        inject.append(answered)
    if order.location is not None:
        media.fetch(order.location, folder, inject)
    elif order.initrd is not None:
        tree = media.Folder(order.initrd.parent)
        if not tree.has(order.initrd.name):
            raise ConfigError(f"there is no file {order.initrd}")
        tree.extract(order.initrd.name, folder / INITRD)
        media.add_to_initrd(folder / INITRD, inject)
    if order.seed:
        write_disc(folder / SEED, LABEL, {file.name: file.text.encode() for file in order.seed})


def start_kept(order: Order, journal: Journal, domains: "Domains") -> int:
    """One that was there stays whatever happens, with the drive that it was given."""
    name, uuid = order.definition.name, str(order.definition.uuid)
    with domains.changing(name):
        with Store() as store:
            rows = store.all()
        checks.check_identity(order, rows)
        if not order.again:
            journal.will_define(uuid)  # nobody has it by now
        if order.kept not in [row.xml for row in rows if row.name == name]:
            domains.define(order.kept)
        if order.autostart:
            domains.autostart(name, on=True)
        return domains.launch(name, first_of(order, journal))


def start_unkept(order: Order, journal: Journal, domains: "Domains") -> int:
    more = first_of(order, journal) | {"installs": False}
    _, process = domains.create_by(more.pop("xml"), more)
    return process


def first_of(order: Order, journal: Journal) -> dict[str, Any]:
    """What the process is told of the first start; see `manager.host`."""
    return {
        "xml": order.first or order.kept,
        "then": order.kept if order.then else None,
        "scratch": str(journal.folder) if order.first is not None else None,
        "installs": order.ends_by_itself,
        "journal": [str(journal.folder / JOURNAL), str(journal.folder / STARTED)],
    }
