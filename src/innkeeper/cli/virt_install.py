"""`inn virt-install …`, and plain `inn install …`: makes a machine and installs it, with the options of the tool of that name.

Spec: virt-install(1). An option that cannot be had is an error that names it; none is ignored. Beyond the manual, a machine restarts from
what was installed also when nobody waits for it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.cli.installing import again, answering, definitions, devices, options, refused, steps, waiting
from innkeeper.cli.installing.words import taken
from innkeeper.cli.machines import common, connection
from innkeeper.cli.progress import ProgressBar
from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.config import BootDevice, DiskConfig, MachineConfig
from innkeeper.errors import ConfigError, HostError
from innkeeper.image.iso9660 import Disc
from innkeeper.manager import Definition
from innkeeper.manager.definition import Action
from innkeeper.manager.domain_xml import read_xml
from innkeeper.manager.installation import answers, engines, media, seed, systems
from innkeeper.manager.installation.disks import Disks
from innkeeper.manager.installation.journal import ANSWERS, INITRD, KERNEL, SEED, Forget, Journal, folder_of, sweep
from innkeeper.records import dataclass

if TYPE_CHECKING:
    from innkeeper.manager.service import Manager

CHECKS = ("path_in_use", "disk_size", "mac_in_use", "all")
DEFAULT_POOL = "default"
NOTICE_S = 10.0  # to notice a password, as the manual has it


def register(parser: argparse.ArgumentParser) -> None:
    options.register(parser)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be done. `first` is the machine at its first start, if that differs."""

    definition: Definition
    first: MachineConfig | None
    steps: steps.Steps
    disks: Disks
    unattended: answers.Unattended | None
    seed: seed.Seed | None
    documents: definitions.Documents
    again: bool = False
    """The machine is there already."""

    @property
    def installs(self) -> bool:
        """Whether an installer runs at first: it ends by restarting the machine, or by turning it off."""
        return self.steps.first is not None

    def then(self, *, noreboot: bool) -> str | None:
        """How it goes on when its first start has ended, if that was another."""
        if self.first is None or noreboot:
            return None
        return self.documents.kept if self.installs or self.definition.on_reboot is Action.RESTART else None


def execute(arguments: argparse.Namespace) -> int:
    connection.check(arguments)
    refused.check(arguments)
    waiting.mode(arguments)
    if arguments.osinfo == "list":
        print("\n".join(sorted(systems.known())))
        return Status.DONE
    plan = plan_again(arguments) if arguments.reinstall is not None else make_plan(arguments)
    if arguments.print_xml is not None:
        print(plan.documents.step(arguments.print_xml), end="")
        return Status.DONE
    manager = common.manager(arguments)
    tell_removed(sweep(forgets(manager)))
    check(arguments, manager, plan)
    if arguments.dry_run:
        name = plan.definition.name
        tell(arguments, f"Domain '{name}' could be installed again" if plan.again else f"Domain '{name}' could be made")
        return Status.DONE
    return install(arguments, manager, plan)


def install(arguments: argparse.Namespace, manager: Manager, plan: Plan) -> int:
    """Whatever ends it before the machine runs, or before the installer has ended that is waited for, undoes it."""
    name, installs = plan.definition.name, plan.installs
    with ending_signals(), Journal(name) as journal:
        try:
            make(arguments, manager, plan, journal)
        except BaseException:
            give_up(arguments, name, journal)
            raise
        try:
            return waiting.follow(arguments, manager, name, installs=installs)
        except (KeyboardInterrupt, SystemExit, waiting.InstallationFailed):
            if installs:
                give_up(arguments, name, journal)
            raise


# ---- what is to be done -----------------------------------------------------------------------------


def make_plan(arguments: argparse.Namespace) -> Plan:
    """Raises `ConfigError` for what cannot be."""
    name = definitions.name_of(arguments)
    wanted = steps.read(arguments)
    system = system_of(arguments, wanted)
    disks = Disks(wanted_disks(arguments, name, wanted))
    definition = definitions.define(arguments, wanted, disks.resolved(), system)
    unattended = answering.unattended(arguments.unattended, system) if arguments.unattended is not None else None
    if unattended is not None and wanted.location is None:
        raise ConfigError("--unattended answers an installer that --location or --cdrom names; give one")
    cloud = answering.cloud_init(arguments.cloud_init) if arguments.cloud_init is not None else None
    first = first_start(definition, wanted, unattended is not None, cloud is not None)
    if first is not None and first.boot is not None and first.boot.order[0] is BootDevice.NETWORK:
        devices.check_server(first)
    if wanted.first is None and arguments.noreboot:
        raise ConfigError("--noreboot is for installations, and nothing is installed; leave it out")
    if wanted.ejects:
        definition = replace(definition, machine=definitions.without_disc(definition.machine, wanted.cdrom))
    if arguments.transient and (wanted.first is not None or arguments.autostart):
        raise ConfigError(
            "--transient is for a machine that is forgotten when it ends; give --import or --boot, and no --autostart"
        )
    return Plan(definition, first, wanted, disks, unattended, cloud, definitions.documents(definition, first))


def plan_again(arguments: argparse.Namespace) -> Plan:
    """Of a machine that there is. Raises `InnkeeperError`."""
    defaults = argparse.ArgumentParser()
    options.register(defaults)
    again.refuse_others(arguments, defaults.parse_args([]))
    manager = common.manager(arguments)
    kept = manager.domains.definition(arguments.reinstall)
    definition = read_xml(kept)
    if waiting.runs(manager, definition.name):
        raise HostError(f"machine {definition.name} runs; end it first, with inn destroy {definition.name}")
    wanted = steps.read(arguments, again.start_of(definition.machine))
    if wanted.first is None:
        raise ConfigError("--reinstall needs what to install from; give --cdrom, --location or --pxe")
    system = system_of(arguments, wanted)
    unattended = answering.unattended(arguments.unattended, system) if arguments.unattended is not None else None
    if unattended is not None and wanted.location is None:
        raise ConfigError("--unattended answers an installer that --location or --cdrom names; give one")
    cloud = answering.cloud_init(arguments.cloud_init) if arguments.cloud_init is not None else None
    machine = definition.machine
    if wanted.cdrom is not None:
        kept, machine = again.with_drive(kept, machine), again.with_disc(machine, wanted.cdrom)
    started = replace(definition, machine=machine)
    first = first_start(started, wanted, unattended is not None, cloud is not None)
    if first is not None and first.boot is not None and first.boot.order[0] is BootDevice.NETWORK:
        devices.check_server(first)
    documents = replace(definitions.documents(started, first), kept=kept)
    return Plan(definition, first, wanted, Disks([]), unattended, cloud, documents, again=True)


def first_start(definition: Definition, wanted: steps.Steps, answered: bool, cloud: bool) -> MachineConfig | None:  # noqa: FBT001 - two facts
    """The machine as it first starts: its kernel and its seed are in the folder of the installation."""
    first, folder = wanted.first, folder_of(definition.name)
    if first is None and not cloud:
        return None
    machine = definition.machine
    if first is not None and wanted.location is not None:
        words = [first.append] if first.append else []
        told = answered and not wanted.only_these_words
        words += [answers.kernel_words(on_serial=not machine.graphics)] if told else []
        first = replace(first, kernel=folder / KERNEL, initrd=folder / INITRD, append=" ".join(reversed(words)))
    elif first is not None and first.kernel is not None and first.initrd is not None:
        first = replace(first, initrd=folder / INITRD)
    if first is not None:
        machine = first.of(machine)
    if cloud:
        machine = replace(machine, disks=(*machine.disks, DiskConfig.cdrom(folder / SEED)))
    return machine


def system_of(arguments: argparse.Namespace, wanted: steps.Steps) -> systems.System | None:
    """What `--osinfo` says, or the medium. Raises `ConfigError` if it must be known and is not."""
    text = arguments.osinfo or "detect=on,require=off"
    pairs = (
        {"name": text} if "=" not in text else taken("--osinfo", text, "name", "short-id", "id", "detect", "require")
    )
    for key in ("detect", "require"):
        if pairs.get(key) not in (None, "on", "off", "yes", "no"):
            raise ConfigError(f"--osinfo has {key}={pairs[key]}; it must be on or off")
    found = None
    if pairs.get("detect") in ("on", "yes"):
        place = wanted.location or (media.Location(path=wanted.cdrom) if wanted.cdrom is not None else None)
        if place is not None:
            with place.open() as tree:
                found = media.system_of(tree)
    name = found or pairs.get("name") or pairs.get("short-id") or pairs.get("id")
    if name is None and pairs.get("require") in ("on", "yes"):
        raise ConfigError(
            "--osinfo requires to know what will be installed, and the medium does not say; give --osinfo NAME"
        )
    return systems.system(name) if name is not None else None


def wanted_disks(arguments: argparse.Namespace, name: str, wanted: steps.Steps) -> list[DiskConfig]:
    texts = [] if arguments.nodisks or arguments.disk == ["none"] else arguments.disk
    if not arguments.disk and not arguments.nodisks and not arguments.boot and not arguments.filesystem:
        raise ConfigError("no disk is given; write --disk path=FILE,size=GIB, or --disk none")
    disks: list[DiskConfig] = []
    for text in texts:
        disk, places = devices.disk(text)
        if places:
            disk = devices.volume(places, disk, name, disks)
        elif disk.path == Path(devices.UNNAMED):
            if disk.size_gib is None:
                raise ConfigError("--disk has neither a path nor a size; say which file, or size=GIB to have one made")
            disk = devices.volume({"pool": DEFAULT_POOL}, disk, name, disks)
        disks.append(disk)
    if wanted.cdrom is not None:
        disks.append(DiskConfig.cdrom(wanted.cdrom))
    return disks


def check(arguments: argparse.Namespace, manager: Manager, plan: Plan) -> None:
    """What `--check` can turn off, and whether the host can run it. Raises `InnkeeperError`."""
    off = {key for text in arguments.check for key in off_of(text)}
    name, listed = plan.definition.name, manager.domains.all()
    known = next((each for each in listed if each["name"] == name), None)
    if known is not None and not plan.again:
        if not known["persistent"]:
            raise ConfigError(f"a machine named {name} runs already, without being kept; inn destroy {name} ends it")
        raise ConfigError(f"a machine named {name} exists already; inn undefine {name} forgets it")
    others = {
        each["name"]: read_xml(manager.domains.xml(each["name"])).machine
        for each in listed
        if each["persistent"] and each["name"] != name
    }
    if not {"path_in_use", "all"} & off:
        plan.disks.check_unused(others)
    if not {"disk_size", "all"} & off:
        plan.disks.check_space()
    if not {"mac_in_use", "all"} & off:
        devices.check_addresses(plan.definition.machine.networks, others)
    for machine in (plan.first, plan.definition.machine):
        if machine is not None:
            engines.check(machine)
    if plan.steps.location is not None:
        with plan.steps.location.open() as tree:
            media.boot_files(plan.steps.location, tree)
    elif plan.steps.cdrom is not None:
        with Disc(plan.steps.cdrom):
            pass  # it is one


def off_of(text: str) -> list[str]:
    pairs = taken("--check", text, *CHECKS)
    for key, value in pairs.items():
        if value not in ("on", "off", "yes", "no"):
            raise ConfigError(f"--check has {key}={value}; it must be on or off")
    return [key for key, value in pairs.items() if value in ("off", "no")]


# ---- doing it ---------------------------------------------------------------------------------------


def make(arguments: argparse.Namespace, manager: Manager, plan: Plan, journal: Journal) -> None:
    """Disks, the files of the first start, definition, machine. Each is written down before it is made."""
    definition = plan.definition
    tell(arguments, "\nStarting install..." if plan.installs else "\nCreating domain...")
    for disk in plan.disks.missing():
        assert disk.path is not None  # noqa: S101 - of those that are missing
        journal.will_make(disk.path)
        with ProgressBar(f"Allocating '{disk.path}'") as bar:
            plan.disks.create(disk, bar)
    prepare(arguments, plan, journal.folder)
    scratch = str(journal.folder) if plan.first is not None else None
    if plan.seed is not None and plan.seed.expires:
        time.sleep(NOTICE_S)
    first, then = plan.documents.first, plan.then(noreboot=arguments.noreboot)
    if arguments.transient:
        manager.domains.create(first or plan.documents.kept, then=then, scratch=scratch)
    else:
        keep(arguments, manager, plan, journal)
        restarts = plan.installs or definition.on_poweroff is Action.RESTART
        manager.domains.start(definition.name, first, then=then, scratch=scratch, installs=restarts)
    common.tell_notes(manager, definition.name)
    journal.succeeded(goes_on=plan.first is not None)


def keep(arguments: argparse.Namespace, manager: Manager, plan: Plan, journal: Journal) -> None:
    """Defines the machine. One that was there stays whatever happens, with the drive that it was given."""
    if plan.again and manager.domains.definition(plan.definition.name) == plan.documents.kept:
        return
    if not plan.again:
        journal.will_define(str(plan.definition.uuid))
    for part in manager.domains.define(plan.documents.kept)["unknown"]:
        if not plan.again:
            say(f"note: {part}", file=sys.stderr)
    if arguments.autostart:
        manager.domains.autostart(plan.definition.name, on=True)


def prepare(arguments: argparse.Namespace, plan: Plan, folder: Path) -> None:
    """The files that only the first start needs."""
    inject = list(arguments.initrd_inject)
    if plan.unattended is not None:
        answered = folder / ANSWERS
        answered.touch(mode=0o600)
        answered.write_text(answers.preseed(plan.unattended, plan.definition.name))
        inject.append(answered)
    if plan.steps.location is not None:
        media.fetch(plan.steps.location, folder, inject)
    elif plan.steps.first is not None and plan.steps.first.initrd is not None:
        media.Folder(plan.steps.first.initrd.parent).extract(plan.steps.first.initrd.name, folder / INITRD)
        media.add_to_initrd(folder / INITRD, inject)
    if plan.seed is not None:
        seed.write_seed(plan.seed, plan.definition.name, folder / SEED)


@contextmanager
def ending_signals() -> Iterator[None]:
    """While it lasts, a signal that would kill the command interrupts it instead, as ^C does."""

    def interrupt(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {
        number: signal.signal(number, interrupt) for number in numbers if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def give_up(arguments: argparse.Namespace, name: str, journal: Journal) -> None:
    """Nothing of a failed or interrupted installation stays."""
    try:
        manager = common.manager(arguments)  # the other may have been asked something that it has not answered yet
        if manager.domains.settled(name):  # what asked for its start may have been interrupted before it had started
            manager.domains.destroy(name)
        tell_removed(journal.undo(forgets(manager)), always=True)
    except HostError as error:  # the manager may have been killed
        say(f"what the installation had made is removed by the next command: {error}", file=sys.stderr)


def forgets(manager: Manager) -> Forget:
    def forget(uuid: str) -> None:
        if any(each["uuid"] == uuid for each in manager.domains.all()):
            manager.domains.undefine(uuid)

    return forget


def tell_removed(files: list[str], *, always: bool = False) -> None:
    if files or always:
        also = f", and {', '.join(files)}" if files else ""
        say(f"what the installation had made is removed{also}; the same command can be run again", file=sys.stderr)


def tell(arguments: argparse.Namespace, words: str) -> None:
    if not arguments.quiet:
        say(words, file=sys.stderr)
