"""Disks, network interfaces and graphics in libvirt's XML ⇄ their configuration."""

from pathlib import Path
from xml.etree import ElementTree as ET

from innkeeper.config import (
    DetectZeroes,
    Discard,
    DiskBus,
    DiskCache,
    DiskConfig,
    DiskDevice,
    DiskFormat,
    GraphicsConfig,
)
from innkeeper.config.disk import QUEUES_LIMIT as DISK_QUEUES
from innkeeper.config.graphics import GraphicsKind
from innkeeper.config.network import (
    LOOPBACK,
    QUEUES_LIMIT,
    CardModel,
    ForwardConfig,
    LinkState,
    NetworkConfig,
    NetworkKind,
    UserBackend,
)
from innkeeper.config.slots import FIRST, LAST
from innkeeper.config.targets import PREFIXES
from innkeeper.errors import ConfigError
from innkeeper.manager.elements import Element, attribute, choice, text_of, whole

CACHES = {"default": DiskCache.WRITEBACK}


def read_disk(disk: Element) -> DiskConfig:
    kind, target = disk.get("type", "file"), attribute(disk, "target", "dev") or "?"
    if kind not in ("file", "block"):
        raise ConfigError(f"disk {target} is of type {kind!r}; disks here are files or block devices")
    source = attribute(disk, "source", "file" if kind == "file" else "dev")
    device = choice(disk.get("device", "disk"), DiskDevice, f"the device of disk {target}")
    cache = attribute(disk, "driver", "cache") or "default"
    image_format = attribute(disk, "driver", "type")
    order, queues = attribute(disk, "boot", "order"), attribute(disk, "driver", "queues")
    bus = choice(attribute(disk, "target", "bus") or bus_of(target), DiskBus, f"the bus of disk {target}")
    return DiskConfig(
        path=Path(source) if source else None,
        device=device,
        bus=bus,
        format=choice(image_format, DiskFormat, f"the driver's type of disk {target}") if image_format else None,
        readonly=device is DiskDevice.CDROM or disk.find("readonly") is not None,
        cache=CACHES.get(cache) or choice(cache, DiskCache, f"the cache of disk {target}"),
        discard=choice(attribute(disk, "driver", "discard") or "unmap", Discard, f"the discard of disk {target}"),
        detect_zeroes=choice(attribute(disk, "driver", "detect_zeroes") or "off", DetectZeroes, f"disk {target}"),
        serial=text_of(disk, "serial") or "",
        boot_order=whole(order, f"the boot order of disk {target}") if order else None,
        target=attribute(disk, "target", "dev") or "",
        queues=min(whole(queues, f"the queues of disk {target}"), DISK_QUEUES) if queues else None,
        slot=slot_in(disk.find("address")) if bus is DiskBus.VIRTIO else None,
    )


def slot_in(address: Element | None) -> int | None:
    """The slot of PCI bus 0 that is meant; None for other buses, functions and slots, which this board has not."""
    if address is None or address.get("type") != "pci":
        return None
    domain, bus, slot, function = (
        whole(address.get(key, "0"), f"the {key} of an <address>") for key in ("domain", "bus", "slot", "function")
    )
    return slot if domain == bus == function == 0 and FIRST <= slot <= LAST else None


def put_slot(device: Element, slot: int) -> None:
    address = device.find("address")
    if address is None:
        address = ET.SubElement(device, "address")
    address.attrib.clear()
    address.attrib.update(type="pci", domain="0x0000", bus="0x00", slot=f"0x{slot:02x}", function="0x0")


def bus_of(target: str) -> str:
    """The bus that a target's name stands for, where none is given."""
    return next((bus for bus, prefix in PREFIXES.items() if target.startswith(prefix)), DiskBus.VIRTIO)


def is_block(path: Path | None) -> bool:
    """Whoever writes a document for another's manager may not be able to look; either word is read as either kind."""
    try:
        return path is not None and path.is_block_device()
    except PermissionError:
        return False


def write_disk(disk: DiskConfig, target: str) -> Element:
    part = ET.Element("disk", type="block" if is_block(disk.path) else "file", device=disk.device)
    driver = ET.SubElement(part, "driver", name="innkeeper")
    settings = {"type": disk.format, "cache": disk.cache, "discard": disk.discard, "detect_zeroes": disk.detect_zeroes}
    for key, value in settings.items():
        if value is not None and (disk.device is DiskDevice.DISK or key == "cache"):
            driver.set(key, value)
    if disk.queues is not None:
        driver.set("queues", str(disk.queues))
    if disk.device is DiskDevice.CDROM:
        driver.set("type", "raw")
    if disk.path is not None:
        ET.SubElement(part, "source", {"dev" if part.get("type") == "block" else "file": str(disk.path)})
    ET.SubElement(part, "target", dev=target, bus=disk.bus)
    if disk.readonly:
        ET.SubElement(part, "readonly")
    if disk.serial:
        ET.SubElement(part, "serial").text = disk.serial
    if disk.boot_order is not None:
        ET.SubElement(part, "boot", order=str(disk.boot_order))
    if disk.slot is not None:
        put_slot(part, disk.slot)
    return part


def read_interface(interface: Element) -> NetworkConfig:
    kind, mac = interface.get("type", "user"), attribute(interface, "mac", "address")
    model = attribute(interface, "model", "type") or CardModel.VIRTIO
    mtu, queues = attribute(interface, "mtu", "size"), attribute(interface, "driver", "queues")
    common = {
        "model": choice(model, CardModel, "the model of an interface"),
        "mac": mac,
        "link": choice(attribute(interface, "link", "state") or "up", LinkState, "the link of an interface"),
        "mtu": whole(mtu, "the MTU of an interface") if mtu else None,
        "queues": min(whole(queues, "the queues of an interface"), QUEUES_LIMIT) if queues else None,
        "slot": slot_in(interface.find("address")),
    }
    if kind == "user":
        return NetworkConfig(kind=NetworkKind.USER, **common, **read_user(interface))  # type: ignore[arg-type]
    if kind == "network":
        return NetworkConfig(kind=NetworkKind.NETWORK, name=attribute(interface, "source", "network") or "", **common)  # type: ignore[arg-type]
    if kind == "bridge":
        return NetworkConfig(kind=NetworkKind.BRIDGE, name=attribute(interface, "source", "bridge") or "", **common)  # type: ignore[arg-type]
    if kind == "ethernet":
        return NetworkConfig(kind=NetworkKind.TAP, name=attribute(interface, "target", "dev") or "", **common)  # type: ignore[arg-type]
    raise ConfigError(f"an interface is of type {kind!r}; types here are user, network, bridge and ethernet")


def read_user(interface: Element) -> dict[str, object]:
    """What only a user network has: forwards as libvirt writes them, and in elements of our own what guests boot from."""
    backend, tftp = attribute(interface, "backend", "type"), attribute(interface, "tftp", "root")
    return {
        "backend": choice(backend or "builtin", UserBackend, "the backend of an interface"),
        "forwards": tuple(rule for part in interface.findall("portForward") for rule in read_forward(part)),
        "tftp": Path(tftp) if tftp else None,
        "bootfile": attribute(interface, "bootp", "file") or "",
    }


def read_forward(part: Element) -> list[ForwardConfig]:
    found: list[ForwardConfig] = []
    for given in part.findall("range"):
        first = whole(given.get("start", ""), "the start of <portForward>")
        last = whole(given.get("end", str(first)), "the end of <portForward>")
        guest = whole(given.get("to", str(first)), "where <portForward> leads to")
        if part.get("dev") or given.get("exclude") not in (None, "no"):
            raise ConfigError("<portForward> has a dev, or excludes ports; here each rule says which ports it forwards")
        text = f"{first}-{last}:{guest}/{part.get('proto', 'tcp')}"
        found += ForwardConfig.parse(f"[{part.get('address', LOOPBACK)}]:{text}")
    return found


def write_interface(network: NetworkConfig) -> Element:
    kinds = {NetworkKind.BRIDGE: "bridge", NetworkKind.TAP: "ethernet", NetworkKind.NETWORK: "network"}
    part = ET.Element("interface", type=kinds.get(network.kind, "user"))
    if network.mac is not None:
        ET.SubElement(part, "mac", address=network.mac)
    if network.kind is NetworkKind.BRIDGE:
        ET.SubElement(part, "source", bridge=network.name)
    if network.kind is NetworkKind.NETWORK:
        ET.SubElement(part, "source", network=network.name)
    if network.kind is NetworkKind.TAP:
        ET.SubElement(part, "target", dev=network.name, managed="no")
    ET.SubElement(part, "model", type=network.model)
    if network.queues is not None:
        ET.SubElement(part, "driver", queues=str(network.queues))
    if network.mtu is not None:
        ET.SubElement(part, "mtu", size=str(network.mtu))
    if network.link is LinkState.DOWN:
        ET.SubElement(part, "link", state="down")
    write_user(part, network)
    if network.slot is not None:
        put_slot(part, network.slot)
    return part


def write_user(part: Element, network: NetworkConfig) -> None:
    if network.backend is not UserBackend.BUILTIN:
        ET.SubElement(part, "backend", type=network.backend)
    for rule in network.forwards:
        proto = "udp" if rule.udp else "tcp"
        forward = ET.SubElement(part, "portForward", proto=proto, address=rule.host)
        ET.SubElement(forward, "range", start=str(rule.port), to=str(rule.guest_port))
    if network.tftp is not None:
        ET.SubElement(part, "tftp", root=str(network.tftp))
    if network.bootfile:
        ET.SubElement(part, "bootp", file=network.bootfile)


def read_graphics(graphics: Element) -> GraphicsConfig | None:
    """None for a kind that is not VNC: it stays in the document, and the screen is not shown that way."""
    if graphics.get("type") != "vnc":
        return None
    port, socket = graphics.get("port"), graphics.get("socket") or attribute(graphics, "listen", "socket")
    number = whole(port, "the port of graphics") if port else -1
    websocket = graphics.get("websocket")
    return GraphicsConfig(
        kind=GraphicsKind.VNC,
        listen=graphics.get("listen") or attribute(graphics, "listen", "address") or "127.0.0.1",
        port=None if number == -1 or socket or graphics.get("autoport") == "yes" else number,
        socket=Path(socket) if socket else None,
        websocket=whole(websocket, "the websocket of graphics") if websocket not in (None, "-1") else None,
        password=graphics.get("passwd"),
    )


def write_graphics(graphics: GraphicsConfig) -> Element:
    part = ET.Element("graphics", type=graphics.kind)
    if graphics.socket is not None:
        part.set("socket", str(graphics.socket))
        return part
    part.set("port", str(-1 if graphics.port is None else graphics.port))
    part.set("autoport", "yes" if graphics.port is None else "no")
    part.set("listen", graphics.listen)
    if graphics.websocket is not None:
        part.set("websocket", str(graphics.websocket))
    if graphics.password is not None:
        part.set("passwd", graphics.password)
    return part
