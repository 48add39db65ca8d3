"""Options → the definition of a machine, of its first start and of the others."""

import argparse
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from innkeeper.cli.installing import devices
from innkeeper.cli.installing.host import Host
from innkeeper.cli.installing.steps import Steps
from innkeeper.cli.installing.words import taken
from innkeeper.config import DiskConfig, DiskDevice, FirmwareKind, MachineConfig
from innkeeper.errors import ConfigError
from innkeeper.manager import Definition, write_xml
from innkeeper.manager.definition import Action
from innkeeper.manager.domain_toml import lost_in
from innkeeper.manager.domain_xml import ENGINES, read_uuid, read_xml
from innkeeper.manager.installation.systems import System
from innkeeper.manager.normal import normalised
from innkeeper.records import dataclass

HOST_CPU = ("host", "host-model", "host-model-only", "host-passthrough", "maximum", "hv-default")
TOPOLOGY = ("vcpus", "maxvcpus", "sockets", "dies", "cores", "threads", "cpuset", "placement", "vcpu.current")
EVENTS = ("on_poweroff", "on_reboot", "on_crash", "on_lockfailure")
ALWAYS_ON = ("acpi", "apic", "pae")


@dataclass(frozen=True, slots=True)
class Documents:
    """`first` is of the first start, None if it is like the others; `kept` is of the machine."""

    kept: str
    first: str | None

    def step(self, which: str) -> str:
        """What `--print-xml` shows."""
        steps = [document for document in (self.first, self.kept) if document is not None]
        if which == "all":
            return "".join(steps)
        if not which.isascii() or not which.isdigit() or not 1 <= int(which) <= len(steps):
            raise ConfigError(
                f"--print-xml is {which!r}; this machine has {len(steps)} step(s): give their number, or all"
            )
        return steps[int(which) - 1]


def name_of(arguments: argparse.Namespace) -> str:
    name = metadata(arguments).get("name") or arguments.name
    if not name:
        raise ConfigError("the machine has no name; give it one, as in --name web")
    return str(name)


def metadata(arguments: argparse.Namespace) -> dict[str, str]:
    given = taken("--metadata", arguments.metadata or "", "name", "uuid", "title", "description")
    return {key: value for key in ("uuid", "title", "description") if (value := getattr(arguments, key))} | given


def define(
    arguments: argparse.Namespace, host: Host, steps: Steps, disks: list[DiskConfig], system: System | None
) -> Definition:
    """The machine as it is kept. Raises `ConfigError` for what cannot be."""
    check_fixed(arguments)
    name, about, memory, current = name_of(arguments), metadata(arguments), *read_memory(arguments.memory)
    vcpus, most_vcpus = read_vcpus(arguments.vcpus)
    events = taken("--events", arguments.events or "", *EVENTS)
    machine = MachineConfig(
        name=name,
        memory_mib=memory,
        vcpus=vcpus,
        max_vcpus=most_vcpus,
        engine=ENGINES[arguments.virt_type],
        disks=tuple(disks),
        networks=devices.networks(arguments),
        graphics=devices.graphics(arguments),
        video=devices.video(arguments.video),
        filesystems=tuple(devices.filesystem(text) for text in arguments.filesystem),
        console=devices.serial(arguments.serial),
        virtio_consoles=devices.consoles(arguments.console),
        agent=devices.agent(arguments.channel),
        inputs=devices.inputs(arguments.input),
        rng=devices.rng(arguments.rng),
        balloon=devices.balloon(arguments.memballoon, current),
        vsock=devices.vsock(arguments.vsock),
    )
    return Definition(
        name=name,
        uuid=read_uuid(about["uuid"]) if "uuid" in about else uuid4(),
        title=about.get("title", ""),
        description=about.get("description", ""),
        machine=with_variables(steps.later.of(machine), name, host),
        on_reboot=action("on_reboot", events, Action.RESTART),
        on_poweroff=action("on_poweroff", events, Action.DESTROY),
        os_id=system.identity if system is not None else "",
    )


def with_variables(machine: MachineConfig, name: str, host: Host) -> MachineConfig:
    """UEFI's variables outlive each start."""
    firmware = machine.firmware
    if firmware is None or firmware.kind is not FirmwareKind.UEFI or firmware.vars is not None:
        return machine
    return replace(machine, firmware=replace(firmware, vars=host.variables(name)))


def without_disc(machine: MachineConfig, disc: Path | None) -> MachineConfig:
    """With the drive empty that it was in."""
    disks = [
        replace(disk, path=None) if disk.device is DiskDevice.CDROM and disk.path == disc else disk
        for disk in machine.disks
    ]
    return replace(machine, disks=tuple(disks))


def documents(definition: Definition, first: MachineConfig | None) -> Documents:
    kept = normalised(write_xml(definition))
    check_whole(definition.machine, read_xml(kept).machine)
    if first is None:
        return Documents(kept, None)
    started = replace(definition, machine=first, on_reboot=Action.DESTROY, on_poweroff=Action.DESTROY)
    return Documents(kept, normalised(write_xml(started)))


def check_whole(machine: MachineConfig, kept: MachineConfig) -> None:
    """Raises `ConfigError` if an option would be forgotten. What a screen's card is at first, firmware decides."""
    if lost := lost_in(replace(machine, video=None), kept):
        raise ConfigError(f"the options say {min(lost)}, which only inn run can do so far; leave it out")


def action(key: str, events: dict[str, str], default: Action) -> Action:
    for other in ("on_crash", "on_lockfailure"):
        if other in events and events[other] not in ("destroy", "restart"):
            raise ConfigError(f"--events has {other}={events[other]}; it can be destroy or restart")
    if key not in events:
        return default
    if events[key] not in list(Action):
        raise ConfigError(f"--events has {key}={events[key]}; it can be {' or '.join(Action)}")
    return Action(events[key])


def read_memory(text: str) -> tuple[int, int | None]:
    """All of it, and what is left to the guest at first if that is less."""
    pairs = taken("--memory", text, "memory", "currentMemory", "maxmemory", "maxMemory", first="memory")
    if "maxMemory" in pairs:
        raise ConfigError(
            "--memory has maxMemory; memory cannot be plugged in: give maxmemory and memory for a balloon"
        )
    numbers = {key: mebibytes(key, value) for key, value in pairs.items()}
    if "maxmemory" in numbers:
        whole, current = numbers["maxmemory"], numbers.get("currentMemory", numbers.get("memory"))
    else:
        whole, current = numbers.get("memory", numbers.get("currentMemory", 0)), numbers.get("currentMemory")
    if current is not None and current > whole:
        raise ConfigError(f"--memory leaves {current} MiB of {whole} MiB to the guest; it must be at most all")
    return whole, current if current != whole else None


def mebibytes(key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"--memory has {key}={text[:40]}; it must be a number of MiB")
    return int(text)


def read_vcpus(text: str) -> tuple[int, int | None]:
    """How many at first, and how many there may be if those are more. Sockets, cores and threads cannot be chosen here.

    >>> read_vcpus("2"), read_vcpus("2,maxvcpus=4"), read_vcpus("4,vcpu.current=2")
    ((2, None), (2, 4), (2, 4))
    """
    pairs = taken("--vcpus", text, *TOPOLOGY, first="vcpus")
    numbers = {key: value for key, value in pairs.items() if key not in ("cpuset", "placement")}
    for key, value in numbers.items():
        if not (value.isascii() and value.isdigit() and int(value) > 0):
            raise ConfigError(f"--vcpus has {key}={value[:40]}; it must be a number above 0")
    for key in ("cpuset", "placement"):
        if key in pairs:
            raise ConfigError(
                f"--vcpus has {key}={pairs[key]}; the host's processors cannot be chosen: taskset does it"
            )
    product = 1
    for key in ("sockets", "dies", "cores", "threads"):
        product *= int(numbers.get(key, "1"))
    most = int(numbers.get("maxvcpus", numbers.get("vcpus", str(product))))
    count = int(numbers.get("vcpu.current", numbers.get("vcpus", most)))
    if product not in (1, most) or int(numbers.get("threads", "1")) > 1:
        raise ConfigError(
            f"--vcpus is {text!r}; each virtual processor is a core of its own here: give their number alone"
        )
    if count > most:
        raise ConfigError(f"--vcpus is {text!r}; a machine that has at most {most} cannot start with {count}")
    return count, most if most != count else None


def check_fixed(arguments: argparse.Namespace) -> None:
    """Options that may ask for what every machine here has, and for nothing else."""
    if arguments.cpu is not None:
        model, *rest = [word for word in arguments.cpu.split(",") if word]
        if model.removeprefix("mode=").removeprefix("model=") not in HOST_CPU or [
            w for w in rest if w != "migratable=on"
        ]:
            raise ConfigError(
                f"--cpu is {arguments.cpu!r}; the engine says which processor a guest sees: give {', '.join(HOST_CPU[:4])}"
                " without features, or leave it out"
            )
    for word in (arguments.features or "").split(","):
        key, _, value = word.partition("=")
        if word and (key not in ALWAYS_ON or value not in ("on", "yes", "")):
            raise ConfigError(
                f"--features has {word}; machines here have {', '.join(ALWAYS_ON)} on, and nothing to choose"
            )
    if (clock := arguments.clock) not in (None, "offset=utc", "utc"):
        raise ConfigError(f"--clock is {clock!r}; a machine's clock is in UTC: offset=utc")
