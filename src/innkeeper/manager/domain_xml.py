"""libvirt's domain XML ⇄ definitions.

Spec: libvirt's "Domain XML format". What has no meaning here stays in the document, and `unknown_parts` names it.
"""

from pathlib import Path
from uuid import UUID, uuid4
from xml.etree import ElementTree as ET

from innkeeper.config import BootConfig, EngineChoice, FirmwareConfig, MachineConfig
from innkeeper.config.firmware import BootDevice, FirmwareKind
from innkeeper.config.targets import targets
from innkeeper.errors import ConfigError
from innkeeper.manager.definition import Action, Definition
from innkeeper.manager.device_xml import (
    read_disk,
    read_graphics,
    read_interface,
    slot_in,
    write_disk,
    write_graphics,
    write_interface,
)
from innkeeper.manager.elements import Element, attribute, choice, memory_bytes, parse, paths, text_of, whole, yes
from innkeeper.manager.small_devices_xml import (
    AGENT,
    read_agent,
    read_balloon,
    read_consoles,
    read_filesystem,
    read_inputs,
    read_rng,
    read_video,
    read_vsock,
    stand_ins,
    write_balloon,
    write_consoles,
    write_filesystem,
    write_vsock,
)

ENGINES = {
    "kvm": EngineChoice.KVM,
    "qemu": EngineChoice.BT,
    "bt": EngineChoice.BT,
    "interp": EngineChoice.INTERP,
    "auto": EngineChoice.AUTO,
}
ARCHITECTURES = ("x86_64", "i686")
MIB = 1 << 20
OSINFO = "http://libosinfo.org/xmlns/libvirt/domain/1.0"
OS_ID = f"metadata/{{{OSINFO}}}libosinfo/{{{OSINFO}}}os"

UNDERSTOOD = frozenset(
    [
        "name",
        "uuid",
        "title",
        "description",
        "memory",
        "currentMemory",
        "vcpu",
        "on_poweroff",
        "on_reboot",
        "on_crash",
        "metadata",
        "os",
        "os/type",
        "os/boot",
        "os/bootmenu",
        "os/bios",
        "os/kernel",
        "os/initrd",
        "os/cmdline",
        "os/loader",
        "os/nvram",
        "os/smbios",
        "features",
        "features/acpi",
        "features/apic",
        "features/pae",
        "cpu",
        "clock",
        "clock/timer",
        "pm",
        "pm/suspend-to-mem",
        "pm/suspend-to-disk",
        "devices",
        "devices/emulator",
        "devices/disk",
        "devices/disk/driver",
        "devices/disk/source",
        "devices/disk/target",
        "devices/disk/readonly",
        "devices/disk/serial",
        "devices/disk/boot",
        "devices/disk/alias",
        "devices/interface",
        "devices/interface/source",
        "devices/interface/mac",
        "devices/interface/model",
        "devices/interface/link",
        "devices/interface/target",
        "devices/interface/mtu",
        "devices/interface/alias",
        "devices/interface/driver",
        "devices/interface/boot",
        "devices/interface/backend",
        "devices/interface/portForward",
        "devices/interface/portForward/range",
        "devices/interface/tftp",
        "devices/interface/bootp",
        "devices/serial",
        "devices/serial/target",
        "devices/serial/target/model",
        "devices/serial/source",
        "devices/serial/alias",
        "devices/console",
        "devices/console/source",
        "devices/console/target",
        "devices/console/alias",
        "devices/channel",
        "devices/channel/source",
        "devices/channel/target",
        "devices/channel/alias",
        "devices/channel/address",
        "devices/graphics",
        "devices/graphics/listen",
        "devices/video",
        "devices/video/model",
        "devices/rng",
        "devices/rng/backend",
        "devices/input",
        "devices/memballoon",
        "devices/filesystem",
        "devices/filesystem/driver",
        "devices/filesystem/source",
        "devices/filesystem/target",
        "devices/filesystem/readonly",
        "devices/vsock",
        "devices/vsock/cid",
    ]
)
"""What has a meaning here, or asks for what every machine here has."""


ADDRESSES = ("devices/disk/address", "devices/interface/address")
"""Where a slot may be said, of the board's one bus."""


def read_xml(text: str) -> Definition:
    """Raises `ConfigError` for a document that is none, or that asks for what cannot be."""
    root = parse(text, "the domain")
    if root.tag != "domain":
        raise ConfigError(f"the document is a <{root.tag}>; a machine is a <domain>")
    name = text_of(root, "name")
    if name is None:
        raise ConfigError("the domain has no <name>; give it one")
    uuid = text_of(root, "uuid")
    return Definition(
        name=name,
        uuid=read_uuid(uuid) if uuid is not None else uuid4(),
        title=text_of(root, "title") or "",
        description=text_of(root, "description") or "",
        machine=read_machine(root, name),
        on_reboot=choice(text_of(root, "on_reboot") or "restart", Action, "<on_reboot>"),
        on_poweroff=choice(text_of(root, "on_poweroff") or "destroy", Action, "<on_poweroff>"),
        os_id=attribute(root, OS_ID, "id") or "",
    )


def read_uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ConfigError(f"<uuid> is {text!r}; it must be 32 hexadecimal digits") from None


def read_machine(root: Element, name: str) -> MachineConfig:
    memory = root.find("memory")
    if memory is None:
        raise ConfigError(f"domain {name} has no <memory>; say how much, as in <memory unit='MiB'>1024</memory>")
    os_part = root.find("os")
    os_part = ET.Element("os") if os_part is None else os_part
    devices = root.find("devices")
    devices = ET.Element("devices") if devices is None else devices
    kernel, initrd = text_of(os_part, "kernel"), text_of(os_part, "initrd")
    firmware = read_firmware(os_part)
    memory_mib, current = memory_bytes(memory) // MIB, root.find("currentMemory")
    current_mib = memory_bytes(current) // MIB if current is not None else memory_mib
    vcpus, most_vcpus = read_vcpus(root)
    vsock = devices.find("vsock")
    console, virtio_consoles = read_consoles(devices)
    return MachineConfig(
        name=name,
        kernel=Path(kernel) if kernel else None,
        initrd=Path(initrd) if initrd else None,
        append=text_of(os_part, "cmdline") or "",
        firmware=firmware,
        boot=None if kernel else read_boot(os_part),
        memory_mib=memory_mib,
        vcpus=vcpus,
        max_vcpus=most_vcpus,
        engine=read_engine(root, os_part),
        disks=tuple(read_disk(disk) for disk in devices.findall("disk")),
        networks=tuple(read_interface(interface) for interface in devices.findall("interface")),
        graphics=tuple(found for part in devices.findall("graphics") if (found := read_graphics(part)) is not None),
        filesystems=tuple(read_filesystem(part) for part in devices.findall("filesystem")),
        vsock=read_vsock(vsock) if vsock is not None else None,
        rng=read_rng(devices),
        balloon=read_balloon(devices, memory_mib, current_mib),
        video=read_video(devices, firmware=kernel is None or firmware is not None),
        inputs=read_inputs(devices),
        console=console,
        virtio_consoles=virtio_consoles,
        agent=read_agent(devices),
    )


def read_vcpus(root: Element) -> tuple[int, int | None]:
    """How many there are at first, and how many there may be if that is said."""
    most, current = whole(text_of(root, "vcpu") or "1", "<vcpu>"), attribute(root, "vcpu", "current")
    return (most, None) if current is None else (whole(current, "<vcpu>"), most)


def read_engine(root: Element, os_part: Element) -> EngineChoice:
    kind, arch = root.get("type", "auto"), attribute(os_part, "type", "arch") or "x86_64"
    if kind not in ENGINES:
        raise ConfigError(f"the domain is of type {kind!r}; types are {', '.join(ENGINES)}")
    if arch not in ARCHITECTURES:
        raise ConfigError(f"the domain is for {arch}; machines here are {' or '.join(ARCHITECTURES)}")
    if (os_type := text_of(os_part, "type") or "hvm") != "hvm":
        raise ConfigError(f"<os> has type {os_type!r}; it must be hvm")
    return ENGINES[kind]


def read_firmware(os_part: Element) -> FirmwareConfig | None:
    loader, variables = os_part.find("loader"), text_of(os_part, "nvram")
    template = attribute(os_part, "nvram", "template")
    uefi = os_part.get("firmware") == "efi" or (loader is not None and loader.get("type") == "pflash")
    path = text_of(os_part, "loader")
    if not uefi and (path is None or text_of(os_part, "kernel")):  # a kernel starts without a BIOS
        return None
    return FirmwareConfig(
        kind=FirmwareKind.UEFI if uefi else FirmwareKind.BIOS,
        path=Path(path) if path else None,
        vars=Path(variables) if variables and uefi else None,
        template=Path(template) if template and uefi else None,
    )


def read_boot(os_part: Element) -> BootConfig | None:
    order = tuple(choice(part.get("dev", ""), BootDevice, "<boot dev>") for part in os_part.findall("boot"))
    menu, useserial = yes(attribute(os_part, "bootmenu", "enable")), yes(attribute(os_part, "bios", "useserial"))
    if not order and not menu and not useserial:
        return None
    return BootConfig(order=tuple(dict.fromkeys(order)) or BootConfig().order, menu=menu, useserial=useserial)


def unknown_parts(text: str) -> list[str]:
    """The elements that mean nothing here, each place once; below one that is unknown nothing is named."""
    unknown: dict[str, None] = {}
    root = parse(text, "the domain")
    for path, part in paths(root):
        if path in ADDRESSES and slot_in(part) is not None:
            continue
        hidden = path.startswith("metadata/") or any(path.startswith(f"{each}/") for each in unknown)
        if path not in UNDERSTOOD and not path.startswith("cpu/") and not hidden:
            unknown[path] = None
    return [*unknown, *stand_ins(root)]


def write_xml(definition: Definition) -> str:
    """The document that a definition makes by itself."""
    ET.register_namespace("libosinfo", OSINFO)
    machine = definition.machine
    kinds = {engine: kind for kind, engine in reversed(ENGINES.items())}
    kinds[EngineChoice.BT] = "qemu"  # what libvirt's tools call a software processor
    root = ET.Element("domain", type=kinds[machine.engine])
    for tag, value in (("name", definition.name), ("uuid", str(definition.uuid))):
        ET.SubElement(root, tag).text = value
    for tag, value in (("title", definition.title), ("description", definition.description)):
        if value:
            ET.SubElement(root, tag).text = value
    if definition.os_id:
        about = ET.SubElement(ET.SubElement(root, "metadata"), f"{{{OSINFO}}}libosinfo")
        ET.SubElement(about, f"{{{OSINFO}}}os", id=definition.os_id)
    current = machine.balloon.memory_mib if machine.balloon is not None else None
    for tag, size in (("memory", machine.memory_mib), ("currentMemory", current or machine.memory_mib)):
        ET.SubElement(root, tag, unit="MiB").text = str(size)
    current_vcpus = {"current": str(machine.vcpus)} if machine.max_vcpus is not None else {}
    ET.SubElement(root, "vcpu", current_vcpus).text = str(machine.possible_vcpus)
    root.append(write_os(machine))
    features = ET.SubElement(root, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    ET.SubElement(root, "clock", offset="utc")
    ET.SubElement(root, "on_poweroff").text = definition.on_poweroff
    ET.SubElement(root, "on_reboot").text = definition.on_reboot
    ET.SubElement(root, "on_crash").text = "destroy"
    root.append(write_devices(machine))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def write_os(machine: MachineConfig) -> Element:
    part = ET.Element("os")
    ET.SubElement(part, "type", arch="x86_64", machine="pc").text = "hvm"
    for tag, value in (("kernel", machine.kernel), ("initrd", machine.initrd), ("cmdline", machine.append)):
        if value:
            ET.SubElement(part, tag).text = str(value)
    firmware = machine.firmware
    if firmware is not None and firmware.kind is FirmwareKind.UEFI:
        part.set("firmware", "efi")
        if firmware.vars is not None or firmware.template is not None:
            variables = ET.SubElement(part, "nvram")
            variables.text = str(firmware.vars) if firmware.vars is not None else None
            if firmware.template is not None:
                variables.set("template", str(firmware.template))
    if firmware is not None and firmware.path is not None:
        ET.SubElement(part, "loader").text = str(firmware.path)
    for device in machine.boot.order if machine.boot is not None else ():
        ET.SubElement(part, "boot", dev=device)
    if machine.boot is not None and machine.boot.menu:
        ET.SubElement(part, "bootmenu", enable="yes")
    if machine.boot is not None and machine.boot.useserial:
        ET.SubElement(part, "bios", useserial="yes")
    return part


def write_devices(machine: MachineConfig) -> Element:
    devices = ET.Element("devices")
    for disk, target in zip(machine.disks, targets(machine.disks), strict=True):
        devices.append(write_disk(disk, target))
    for network in machine.networks:
        devices.append(write_interface(network))
    for filesystem in machine.filesystems:
        devices.append(write_filesystem(filesystem))
    devices.extend(write_consoles(machine))
    if machine.agent:
        channel = ET.SubElement(devices, "channel", type="unix")
        ET.SubElement(channel, "target", type="virtio", name=AGENT)
    for kind in machine.inputs:
        ET.SubElement(devices, "input", type=kind, bus="virtio")
    for graphics in machine.graphics:
        devices.append(write_graphics(graphics))
    if machine.graphics or machine.video is not None:
        ET.SubElement(ET.SubElement(devices, "video"), "model", type=machine.card.value)
    if machine.rng:
        rng = ET.SubElement(devices, "rng", model="virtio")
        ET.SubElement(rng, "backend", model="random").text = "/dev/urandom"
    devices.append(write_balloon(machine.balloon))
    if machine.vsock is not None:
        devices.append(write_vsock(machine.vsock))
    return devices
