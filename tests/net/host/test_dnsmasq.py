"""What dnsmasq is told of a network, and what it says of its leases."""

from pathlib import Path

from innkeeper.manager.networks.network_xml import read_network
from innkeeper.net.host.dnsmasq import Lease, configuration, dhcp_hosts, read_lease

FOLDER = Path("/f")


def lines(*parts: str, forward: str = "<forward mode='nat'/>") -> list[str]:
    network = read_network(f"<network><name>n</name>{forward}<bridge name='br9'/>{''.join(parts)}</network>")
    return configuration(network, FOLDER).splitlines()


def dhcp(inside: str, *, six: bool = False) -> str:
    where = "family='ipv6' address='fd00::1' prefix='64'" if six else "address='10.0.2.1' prefix='24'"
    return f"<ip {where}><dhcp>{inside}</dhcp></ip>"


RANGE = "<range start='10.0.2.9' end='10.0.2.11'/>"


def test_a_range_is_served_on_the_bridge_alone() -> None:
    told = lines(dhcp(RANGE))
    assert {"bind-dynamic", "except-interface=lo", "interface=br9", "dhcp-lease-max=4099"} <= set(told)
    assert "dhcp-range=10.0.2.9,10.0.2.11,255.255.255.0,3600" in told
    assert "dhcp-option=option:router" not in told
    assert "no-resolv" not in told


def test_lease_times() -> None:
    for words, said in (("expiry='0'", "infinite"), ("expiry='5'", "300"), ("expiry='1' unit='seconds'", "120")):
        told = lines(dhcp(f"<range start='10.0.2.9' end='10.0.2.11'><lease {words}/></range>"))
        assert f"dhcp-range=10.0.2.9,10.0.2.11,255.255.255.0,{said}" in told


def test_an_isolated_network_has_no_router_and_asks_nobody() -> None:
    told = lines(dhcp(RANGE), forward="")
    assert {"dhcp-option=option:router", "no-resolv"} <= set(told)
    assert "ra-param=br9,0,0" in lines("<ip family='ipv6' address='fd00::1' prefix='64'/>", forward="")


def test_names() -> None:
    told = lines(dhcp(RANGE), "<domain name='inn.test' localOnly='yes'/>", "<dns><forwarder addr='192.0.2.1'/></dns>")
    assert {"domain=inn.test", "local=/inn.test/", "server=192.0.2.1", "no-resolv"} <= set(told)
    told = lines(dhcp(RANGE), "<dns><forwarder domain='a.test'/></dns>")
    assert "server=/a.test/#" in told
    assert "no-resolv" not in told
    told = lines(dhcp(RANGE), "<dns enable='no'/>")
    assert {"port=0", "dhcp-option=option:dns-server"} <= set(told)


def test_ipv6_is_advertised() -> None:
    assert {"enable-ra", "dhcp-range=fd00::,ra-only,64"} <= set(
        lines("<ip family='ipv6' address='fd00::1' prefix='64'/>")
    )
    told = lines(dhcp("<range start='fd00::9' end='fd00::a'/>", six=True))
    assert "dhcp-range=fd00::9,fd00::a,64,3600" in told


def test_hosts() -> None:
    four = read_network(
        "<network><name>n</name><bridge name='b'/>"
        + dhcp("<host mac='52:54:00:00:00:01' name='a' ip='10.0.2.5'/><host mac='52:54:00:00:00:02' name='b'/>")
        + dhcp("<host id='0:1' name='c' ip='fd00::5'/>", six=True)
        + "</network>"
    )
    assert [line for it in four.addresses for line in dhcp_hosts(it)] == [
        "52:54:00:00:00:01,10.0.2.5,a",
        "52:54:00:00:00:02,b",
        "id:0:1,[fd00::5],c",
    ]


def test_leases() -> None:
    assert read_lease("0 52:54:00:00:00:01 10.0.2.15 * *") == Lease(0, "52:54:00:00:00:01", "10.0.2.15", None, None)
    assert read_lease("duid 00:01:00:01:2c") is None
    assert read_lease("") is None
