"""Elements of a network's document, added, changed and removed one by one."""

import pytest

from innkeeper.errors import ConfigError
from innkeeper.manager.networks.network_xml import read_network
from innkeeper.manager.networks.update import Command, Section, updated

XML = """
<network><name>n</name><forward mode='nat'/><bridge name='br9'/>
  <ip address='10.0.2.1' prefix='24'>
    <dhcp><range start='10.0.2.2' end='10.0.2.99'/><host mac='52:54:00:00:00:01' ip='10.0.2.10'/></dhcp>
  </ip>
  <ip family='ipv6' address='fd00::1' prefix='64'/>
</network>"""
HOST = Section.DHCP_HOST


def hosts(text: str) -> list[str]:
    return [host.described for address in read_network(text).addresses for host in address.hosts]


def test_hosts_come_and_go() -> None:
    two = updated(XML, Command.ADD, HOST, "<host mac='52:54:00:00:00:02' name='b' ip='10.0.2.11'/>")
    assert hosts(two) == ["52:54:00:00:00:01 10.0.2.10", "52:54:00:00:00:02 b 10.0.2.11"]
    first = updated(XML, Command.ADD_FIRST, HOST, "<host mac='52:54:00:00:00:02' ip='10.0.2.11'/>")
    assert hosts(first)[0].startswith("52:54:00:00:00:02")
    moved = updated(two, Command.MODIFY, HOST, "<host mac='52:54:00:00:00:02' name='b' ip='10.0.2.12'/>")
    assert hosts(moved)[1].endswith("10.0.2.12")
    assert hosts(updated(moved, Command.DELETE, HOST, "<host mac='52:54:00:00:00:01'/>")) == hosts(moved)[1:]
    six = updated(XML, Command.ADD, HOST, "<host name='c' ip='fd00::5'/>")
    assert hosts(six)[1] == "c fd00::5"


def test_other_sections() -> None:
    changed = updated(XML, Command.MODIFY, Section.BRIDGE, "<bridge name='br8'/>")
    changed = updated(changed, Command.MODIFY, Section.DOMAIN, "<domain name='inn.test'/>")
    changed = updated(changed, Command.ADD, Section.FORWARD_INTERFACE, "<interface dev='eth1'/>")
    changed = updated(changed, Command.ADD, Section.DNS_HOST, "<host ip='10.0.2.9'><hostname>nine</hostname></host>")
    changed = updated(changed, Command.DELETE, Section.DHCP_RANGE, "<range start='10.0.2.2' end='10.0.2.99'/>")
    network = read_network(changed)
    assert (network.bridge, network.domain, network.devices) == ("br8", "inn.test", ("eth1",))
    assert network.dns.hosts[0][1] == ("nine",)
    assert network.addresses[0].ranges == ()


@pytest.mark.parametrize(
    ("command", "section", "part", "words"),
    [
        (Command.ADD, HOST, "<range/>", "the element is a <range>; section ip-dhcp-host has a <host>"),
        (Command.ADD, HOST, "<host", "the element is no XML"),
        (Command.ADD, HOST, "<host mac='52:54:00:00:00:01' ip='10.0.2.20'/>", "already; modify it"),
        (Command.DELETE, HOST, "<host mac='52:54:00:00:00:09'/>", "nothing like"),
        (Command.DELETE, HOST, "<host id='1:2' ip='fd00::9'/>", "has no DHCP there"),
        (Command.ADD, Section.BRIDGE, "<bridge name='br8'/>", "can only be modified"),
    ],
)
def test_what_cannot_be_done(command: Command, section: Section, part: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        updated(XML, command, section, part)


def test_a_parent_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="there is none with index 2"):
        updated(XML, Command.ADD, HOST, "<host mac='52:54:00:00:00:02' ip='10.0.2.11'/>", 2)
