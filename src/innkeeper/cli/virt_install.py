"""`inn virt-install …`, and plain `inn install …`: makes a machine and installs it, with the options of the tool of that name.

Spec: virt-install(1). An option that cannot be had is an error that names it; none is ignored. Beyond the manual, a machine restarts from
what was installed also when nobody waits for it.
"""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from innkeeper.cli.installing import again, answering, definitions, devices, options, refused, steps, waiting
from innkeeper.cli.installing.going import Installation, tell
from innkeeper.cli.installing.host import Host
from innkeeper.cli.installing.words import taken
from innkeeper.cli.machines import common, connection
from innkeeper.cli.status import Status
from innkeeper.config import DiskConfig, MachineConfig
from innkeeper.config.plain import to_plain
from innkeeper.errors import ConfigError, HostError
from innkeeper.manager import Definition
from innkeeper.manager.definition import Action
from innkeeper.manager.domain_xml import read_xml
from innkeeper.manager.installation import answers, seed, systems
from innkeeper.manager.installation.journal import INITRD, KERNEL, SEED
from innkeeper.manager.installation.media import Location
from innkeeper.manager.installation.order import CHECKS, Order, SeedFile, Wanted
from innkeeper.records import dataclass

NOTICE_S = 10.0  # to notice a password, as the manual has it


def register(parser: argparse.ArgumentParser) -> None:
    options.register(parser)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be done. `first` is the machine at its first start, if that differs; `disks` are those that are to be made."""

    definition: Definition
    first: MachineConfig | None
    steps: steps.Steps
    disks: tuple[DiskConfig, ...]
    unattended: answers.Unattended | None
    seed: seed.Seed | None
    documents: definitions.Documents
    again: bool = False
    """The machine is there already."""

    @property
    def installs(self) -> bool:
        """Whether an installer runs at first: it ends by restarting the machine, or by turning it off."""
        return self.steps.first is not None

    def then(self, *, noreboot: bool) -> bool:
        """Whether it goes on when its first start has ended, if that was another."""
        if self.first is None or noreboot:
            return False
        return self.installs or self.definition.on_reboot is Action.RESTART

    def order(self, arguments: argparse.Namespace) -> Order:
        """What the manager is asked for. What this user alone may be able to read is in it."""
        name, first = self.definition.name, self.steps.first
        seeded = self.seed.files(name) if self.seed is not None else {}
        return Order(
            kept=self.documents.kept,
            first=self.documents.first,
            then=self.then(noreboot=arguments.noreboot),
            installs=self.installs,
            ends_by_itself=self.installs or self.definition.on_poweroff is Action.RESTART,
            again=self.again,
            transient=arguments.transient,
            autostart=arguments.autostart,
            disks=self.disks,
            location=self.steps.location,
            cdrom=self.steps.cdrom,
            initrd=first.initrd if first is not None else None,
            inject=tuple(path.absolute() for path in arguments.initrd_inject),
            answers=answers.preseed(self.unattended, name) if self.unattended is not None else None,
            seed=tuple(SeedFile(name=file, text=data.decode()) for file, data in seeded.items()),
        )


def execute(arguments: argparse.Namespace) -> int:
    connection.check(arguments)
    refused.check(arguments)
    waiting.mode(arguments)
    if arguments.osinfo == "list":
        print("\n".join(sorted(systems.known())))
        return Status.DONE
    off, host = [key for text in arguments.check for key in off_of(text)], Host(arguments)
    plan = plan_again(arguments, host) if arguments.reinstall is not None else make_plan(arguments, host)
    if arguments.print_xml is not None:
        print(plan.documents.step(arguments.print_xml), end="")
        return Status.DONE
    order = to_plain(plan.order(arguments))
    host.manager.installations.check(order, off)
    if arguments.dry_run:
        name = plan.definition.name
        tell(arguments, f"Domain '{name}' could be installed again" if plan.again else f"Domain '{name}' could be made")
        return Status.DONE
    tell(arguments, "\nStarting install..." if plan.installs else "\nCreating domain...")
    if plan.seed is not None and plan.seed.expires:
        time.sleep(NOTICE_S)
    return install(arguments, host, plan, order)


def install(arguments: argparse.Namespace, host: Host, plan: Plan, order: dict[str, object]) -> int:
    """Whatever ends it before the machine runs, or before the installer has ended that is waited for, undoes it."""
    name = plan.definition.name
    with ending_signals(), Installation(arguments, name, order) as installation:
        installation.make()
        try:
            common.tell_notes(host.manager, name)
            return waiting.follow(arguments, host.manager, name, installation if plan.installs else None)
        except (KeyboardInterrupt, SystemExit, waiting.InstallationFailed):
            if plan.installs:
                installation.give_up()
            raise


# ---- what is to be done -----------------------------------------------------------------------------


def make_plan(arguments: argparse.Namespace, host: Host) -> Plan:
    """Raises `ConfigError` for what cannot be."""
    name = definitions.name_of(arguments)
    wanted = steps.read(arguments, host)
    system = system_of(arguments, host, wanted)
    disks, missing = host.disks(name, wanted_disks(arguments, wanted))
    definition = definitions.define(arguments, host, wanted, disks, system)
    unattended = answered(arguments, wanted, system)
    cloud = answering.cloud_init(arguments.cloud_init) if arguments.cloud_init is not None else None
    first = first_start(definition, host, wanted, answered=unattended is not None, cloud=cloud is not None)
    if wanted.first is None and arguments.noreboot:
        raise ConfigError("--noreboot is for installations, and nothing is installed; leave it out")
    if wanted.ejects:
        definition = replace(definition, machine=definitions.without_disc(definition.machine, wanted.cdrom))
    if arguments.transient and (wanted.first is not None or arguments.autostart):
        raise ConfigError(
            "--transient is for a machine that is forgotten when it ends; give --import or --boot, and no --autostart"
        )
    documents = definitions.documents(definition, first)
    return Plan(definition, first, wanted, tuple(missing), unattended, cloud, documents)


def plan_again(arguments: argparse.Namespace, host: Host) -> Plan:
    """Of a machine that there is. Raises `InnkeeperError`."""
    defaults = argparse.ArgumentParser()
    options.register(defaults)
    again.refuse_others(arguments, defaults.parse_args([]))
    kept = host.manager.domains.definition(arguments.reinstall)
    definition = read_xml(kept)
    if waiting.runs(host.manager, definition.name):
        raise HostError(f"machine {definition.name} runs; end it first, with inn destroy {definition.name}")
    wanted = steps.read(arguments, host, again.start_of(definition.machine))
    if wanted.first is None:
        raise ConfigError("--reinstall needs what to install from; give --cdrom, --location or --pxe")
    system = system_of(arguments, host, wanted)
    unattended = answered(arguments, wanted, system)
    cloud = answering.cloud_init(arguments.cloud_init) if arguments.cloud_init is not None else None
    machine = definition.machine
    if wanted.cdrom is not None:
        kept, machine = again.with_drive(kept, machine), again.with_disc(machine, wanted.cdrom)
    started = replace(definition, machine=machine)
    first = first_start(started, host, wanted, answered=unattended is not None, cloud=cloud is not None)
    documents = replace(definitions.documents(started, first), kept=kept)
    return Plan(definition, first, wanted, (), unattended, cloud, documents, again=True)


def first_start(
    definition: Definition, host: Host, wanted: steps.Steps, *, answered: bool, cloud: bool
) -> MachineConfig | None:
    """The machine as it first starts: its kernel and its seed are in the folder of the installation."""
    first = wanted.first
    if first is None and not cloud:
        return None
    folder = host.folder(definition.name)
    machine = definition.machine
    if first is not None and wanted.location is not None:
        words = [first.append] if first.append else []
        told = answered and not wanted.only_these_words
        words += [answers.kernel_words(on_serial=not machine.graphics)] if told else []
        first = replace(first, kernel=folder / KERNEL, initrd=folder / INITRD, append=" ".join(reversed(words)))
    elif first is not None and first.kernel is not None and first.initrd is not None:
        first = replace(first, initrd=folder / INITRD)
    if first is not None:
        kept = machine.firmware
        machine = first.of(machine)
        if machine.firmware is not None:
            machine = replace(machine, firmware=kept)  # what an installer notes in UEFI's variables is for all starts
    if cloud:
        machine = replace(machine, disks=(*machine.disks, DiskConfig.cdrom(folder / SEED)))
    return machine


def answered(
    arguments: argparse.Namespace, wanted: steps.Steps, system: systems.System | None
) -> answers.Unattended | None:
    """What answers the installer, if nobody is there to."""
    if arguments.unattended is None:
        return None
    if wanted.location is None:
        raise ConfigError("--unattended answers an installer that --location or --cdrom names; give one")
    return answering.unattended(arguments.unattended, system)


def system_of(arguments: argparse.Namespace, host: Host, wanted: steps.Steps) -> systems.System | None:
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
        place = wanted.location or (Location(path=wanted.cdrom) if wanted.cdrom is not None else None)
        found = host.system(place) if place is not None else None
    name = found or pairs.get("name") or pairs.get("short-id") or pairs.get("id")
    if name is None and pairs.get("require") in ("on", "yes"):
        raise ConfigError(
            "--osinfo requires to know what will be installed, and the medium does not say; give --osinfo NAME"
        )
    return systems.system(name) if name is not None else None


def wanted_disks(arguments: argparse.Namespace, wanted: steps.Steps) -> list[Wanted]:
    texts = [] if arguments.nodisks or arguments.disk == ["none"] else arguments.disk
    if not arguments.disk and not arguments.nodisks and not arguments.boot and not arguments.filesystem:
        raise ConfigError("no disk is given; write --disk path=FILE,size=GIB, or --disk none")
    disks = [devices.disk(text) for text in texts]
    return [*disks, Wanted(disk=DiskConfig.cdrom(wanted.cdrom))] if wanted.cdrom is not None else disks


def off_of(text: str) -> list[str]:
    pairs = taken("--check", text, *CHECKS)
    for key, value in pairs.items():
        if value not in ("on", "off", "yes", "no"):
            raise ConfigError(f"--check has {key}={value}; it must be on or off")
    return [key for key, value in pairs.items() if value in ("off", "no")]


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
