"""libvirt's network XML ⇄ networks.

Spec: libvirt's "Network XML format"; forward mode `user` is ours. What has no meaning here stays in the document, and `unknown_parts` names it.
"""

import ipaddress
from collections.abc import Iterator
from uuid import UUID, uuid4
from xml.etree import ElementTree as ET

from innkeeper.errors import ConfigError
from innkeeper.manager.elements import Element, attribute, choice, parse, paths, text_of, whole
from innkeeper.net.host.network import Address, Dns, Interface, IPAddress, Mode, Network, Range, StaticHost

UNITS_S = {"seconds": 1, "minutes": 60, "hours": 3600}
DEFAULT_PREFIX_6 = 64

UNDERSTOOD = frozenset(
    [
        "name", "uuid", "title", "description", "metadata", "bridge", "mac", "mtu", "domain",
        "forward", "forward/interface", "forward/nat", "forward/nat/port",
        "dns", "dns/host", "dns/host/hostname", "dns/forwarder",
        "ip", "ip/dhcp", "ip/dhcp/range", "ip/dhcp/range/lease", "ip/dhcp/host", "ip/dhcp/host/lease",
    ]
)  # fmt: skip
"""What has a meaning here; `ip/dhcp/host/lease` is that of all."""


def root_of(text: str) -> Element:
    """Raises `ConfigError` for a document that is no network's."""
    root = parse(text, "the network")
    if root.tag != "network":
        raise ConfigError(f"the document is a <{root.tag}>; a network is a <network>")
    return root


def read_network(text: str) -> Network:
    """Raises `ConfigError` for a document that is none, or that asks for what cannot be."""
    return read_root(root_of(text))


def read_root(root: Element) -> Network:
    name = text_of(root, "name")
    if name is None:
        raise ConfigError("the network has no <name>; give it one")
    uuid, mtu, mac = text_of(root, "uuid"), attribute(root, "mtu", "size"), attribute(root, "mac", "address")
    forward = root.find("forward")
    return Network(
        name=name,
        uuid=read_uuid(uuid) if uuid is not None else uuid4(),
        title=text_of(root, "title") or "",
        description=text_of(root, "description") or "",
        mode=read_mode(forward),
        bridge=attribute(root, "bridge", "name") or "",
        mac=mac.lower() if mac is not None else None,
        stp=attribute(root, "bridge", "stp") in ("on", "yes"),
        mtu=whole(mtu, "the MTU of a network") if mtu is not None else None,
        domain=attribute(root, "domain", "name"),
        domain_is_local=attribute(root, "domain", "localOnly") == "yes",
        devices=read_devices(forward),
        nat_ports=read_ports(forward),
        nat_ipv6=forward is not None and attribute(forward, "nat", "ipv6") == "yes",
        addresses=tuple(read_address(part) for part in root.findall("ip")),
        dns=read_dns(root.find("dns")),
    )


def read_uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ConfigError(f"<uuid> is {text!r}; it must be 32 hexadecimal digits") from None


def read_mode(forward: Element | None) -> Mode:
    return Mode.NONE if forward is None else choice(forward.get("mode", "nat"), Mode, "the forward mode of a network")


def read_devices(forward: Element | None) -> tuple[str, ...]:
    if forward is None:
        return ()
    named = [forward.get("dev"), *(part.get("dev") for part in forward.findall("interface"))]
    return tuple(dict.fromkeys(name for name in named if name))


def read_ports(forward: Element | None) -> tuple[int, int] | None:
    port = None if forward is None else forward.find("nat/port")
    if port is None:
        return None
    return whole(port.get("start", ""), "<port start>"), whole(port.get("end", ""), "<port end>")


def read_ip(text: str | None, place: str) -> IPAddress:
    try:
        return ipaddress.ip_address(text or "")
    except ValueError:
        raise ConfigError(f"{place} is {text!r}; it must be an IP address") from None


def read_interface_address(part: Element) -> Interface:
    address = read_ip(part.get("address"), "<ip address>")
    family = part.get("family", "ipv6" if address.version == 6 else "ipv4")
    if family != f"ipv{address.version}":
        raise ConfigError(f"<ip address> is {address}, and its family {family!r}; it is ipv{address.version}")
    mask, prefix = part.get("netmask"), part.get("prefix")
    if mask is not None and prefix is not None:
        raise ConfigError(f"<ip address> {address} has a netmask and a prefix; give it one of them")
    length = mask or prefix or (str(DEFAULT_PREFIX_6) if address.version == 6 else None)
    if length is None:
        raise ConfigError(f"<ip address> {address} has no prefix; give it one, as in prefix='24'")
    try:
        return ipaddress.ip_interface(f"{address}/{length}")
    except ValueError:
        raise ConfigError(f"<ip address> {address} has the prefix {length!r}, which cannot be") from None


def read_address(part: Element) -> Address:
    dhcp = part.find("dhcp")
    ranges = [] if dhcp is None else dhcp.findall("range")
    hosts = [] if dhcp is None else dhcp.findall("host")
    return Address(
        read_interface_address(part),
        tuple(read_range(each) for each in ranges),
        tuple(read_host(each) for each in hosts),
    )


def read_range(part: Element) -> Range:
    start, end = read_ip(part.get("start"), "<range start>"), read_ip(part.get("end"), "<range end>")
    if start.version != end.version:
        raise ConfigError(f"a DHCP range goes from {start} to {end}, which are of two kinds")
    lease = part.find("lease")
    if lease is None:
        return Range(start, end)
    unit = lease.get("unit", "minutes")
    if unit not in UNITS_S:
        raise ConfigError(f"<lease> has unit {unit!r}; units are {', '.join(UNITS_S)}")
    return Range(start, end, whole(lease.get("expiry", ""), "<lease expiry>") * UNITS_S[unit])


def read_host(part: Element) -> StaticHost:
    mac, duid, address = part.get("mac"), part.get("id"), part.get("ip")
    return StaticHost(
        mac=mac.lower() if mac else None,
        duid=duid.lower() if duid else None,
        name=part.get("name"),
        address=read_ip(address, "<host ip>") if address else None,
    )


def read_dns(part: Element | None) -> Dns:
    if part is None:
        return Dns()
    hosts = [
        (read_ip(host.get("ip"), "<host ip>"), tuple((name.text or "").strip() for name in host.findall("hostname")))
        for host in part.findall("host")
    ]
    forwarders = [
        (read_ip(address, "<forwarder addr>") if (address := each.get("addr")) else None, each.get("domain"))
        for each in part.findall("forwarder")
    ]
    return Dns(enabled=part.get("enable", "yes") == "yes", hosts=tuple(hosts), forwarders=tuple(forwarders))


def unknown_parts(text: str) -> list[str]:
    """The elements that mean nothing here, each place once; below one that is unknown nothing is named."""
    unknown: dict[str, None] = {}
    for path, _ in paths(root_of(text)):
        hidden = path.startswith("metadata/") or any(path.startswith(f"{each}/") for each in unknown)
        if path not in UNDERSTOOD and not hidden:
            unknown[path] = None
    return list(unknown)


# ---- writing ------------------------------------------------------------------------------------


def write_network(network: Network) -> str:
    """The document that a network makes by itself."""
    root = ET.Element("network")
    settings = {
        "name": network.name,
        "uuid": str(network.uuid),
        "title": network.title,
        "description": network.description,
    }
    for tag, value in settings.items():
        if value:
            ET.SubElement(root, tag).text = value
    if network.mode is not Mode.NONE:
        root.append(write_forward(network))
    root.extend(write_link(network))
    if network.dns != Dns():
        root.append(write_dns(network.dns))
    root.extend(write_address(address) for address in network.addresses)
    return document(root)


def write_link(network: Network) -> Iterator[Element]:
    """Bridge, MTU, hardware address and domain."""
    if network.bridge:
        bridge = ET.Element("bridge", name=network.bridge)
        if network.mode is not Mode.BRIDGE:
            bridge.attrib.update(stp="on" if network.stp else "off", delay="0")
        yield bridge
    if network.mtu is not None:
        yield ET.Element("mtu", size=str(network.mtu))
    if network.mac is not None:
        yield ET.Element("mac", address=network.mac)
    if network.domain is not None:
        yield ET.Element("domain", {"name": network.domain} | ({"localOnly": "yes"} if network.domain_is_local else {}))


def document(root: Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def write_forward(network: Network) -> Element:
    part = ET.Element("forward", mode=network.mode)
    if network.devices:
        part.set("dev", network.devices[0])
    for device in network.devices:
        ET.SubElement(part, "interface", dev=device)
    if network.nat_ipv6 or network.nat_ports is not None:
        nat = ET.SubElement(part, "nat")
        if network.nat_ipv6:
            nat.set("ipv6", "yes")
        if network.nat_ports is not None:
            ET.SubElement(nat, "port", start=str(network.nat_ports[0]), end=str(network.nat_ports[1]))
    return part


def write_dns(dns: Dns) -> Element:
    part = ET.Element("dns")
    if not dns.enabled:
        part.set("enable", "no")
    for server, domain in dns.forwarders:
        each = ET.SubElement(part, "forwarder")
        if domain is not None:
            each.set("domain", domain)
        if server is not None:
            each.set("addr", str(server))
    for address, names in dns.hosts:
        host = ET.SubElement(part, "host", ip=str(address))
        for name in names:
            ET.SubElement(host, "hostname").text = name
    return part


def write_address(address: Address) -> Element:
    interface = address.interface
    part = ET.Element("ip")
    if interface.version == 6:
        part.attrib.update(family="ipv6", address=str(interface.ip), prefix=str(interface.network.prefixlen))
    else:
        part.attrib.update(address=str(interface.ip), netmask=str(interface.network.netmask))
    if address.serves_dhcp:
        dhcp = ET.SubElement(part, "dhcp")
        for each in address.ranges:
            span = ET.SubElement(dhcp, "range", start=str(each.start), end=str(each.end))
            if each.lease_s is not None:
                ET.SubElement(span, "lease", expiry=str(each.lease_s), unit="seconds")
        for host in address.hosts:
            dhcp.append(write_host(host))
    return part


def write_host(host: StaticHost) -> Element:
    settings = {"mac": host.mac, "id": host.duid, "name": host.name, "ip": host.address}
    return ET.Element("host", {key: str(value) for key, value in settings.items() if value is not None})
