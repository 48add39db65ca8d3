"""Networks in libvirt's XML: read, written, and what cannot be."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.errors import ConfigError
from innkeeper.manager.networks.network_xml import read_network, unknown_parts, write_network
from innkeeper.manager.networks.plain import Words, document_of
from innkeeper.net.host import dnsmasq, rules
from innkeeper.net.host.network import Mode

FULL = """
<network ipv6='yes'>
  <name>full</name>
  <uuid>3e3fce45-4f53-4fa7-bb32-11f34168b82b</uuid>
  <title>A title</title>
  <description>Two
lines</description>
  <metadata><app:a xmlns:app='urn:x'>b</app:a></metadata>
  <forward mode='nat' dev='eth0'>
    <interface dev='eth0'/>
    <nat ipv6='yes'><port start='1024' end='65535'/></nat>
  </forward>
  <bridge name='virbr7' stp='on' delay='0'/>
  <mtu size='1400'/>
  <mac address='52:54:00:AA:BB:CC'/>
  <domain name='inn.test' localOnly='yes'/>
  <bandwidth><inbound average='1000'/></bandwidth>
  <dns>
    <forwarder domain='corp.test' addr='192.0.2.53'/>
    <host ip='10.1.0.9'><hostname>nine</hostname><hostname>neuf.inn.test</hostname></host>
  </dns>
  <ip address='10.1.0.1' netmask='255.255.255.0'>
    <tftp root='/srv'/>
    <dhcp>
      <range start='10.1.0.100' end='10.1.0.200'><lease expiry='2' unit='hours'/></range>
      <host mac='52:54:00:00:00:01' name='web' ip='10.1.0.10'/>
    </dhcp>
  </ip>
  <ip family='ipv6' address='fd00:7::1' prefix='64'>
    <dhcp><host id='0:3:0:1:52:54:0:0:0:1' name='web6' ip='fd00:7::10'/></dhcp>
  </ip>
</network>
"""


def document(*parts: str, forward: str = "<forward mode='nat'/>") -> str:
    return f"<network><name>n</name>{forward}<bridge name='br9'/>{''.join(parts)}</network>"


ADDRESS = "<ip address='10.0.2.1' netmask='255.255.255.0'/>"


def test_what_is_read_is_written_and_read_again_the_same() -> None:
    network = read_network(FULL)
    assert read_network(write_network(network)) == network
    assert (network.mode, network.bridge, network.mac, network.mtu) == (Mode.NAT, "virbr7", "52:54:00:aa:bb:cc", 1400)
    assert [str(it.interface) for it in network.addresses] == ["10.1.0.1/24", "fd00:7::1/64"]
    assert network.addresses[0].ranges[0].lease_s == 7200
    assert network.devices == ("eth0",)
    assert network.nat_ports == (1024, 65535)


def test_what_has_no_meaning_here_is_named() -> None:
    assert unknown_parts(FULL) == ["bandwidth", "ip/tftp"]


@pytest.mark.parametrize(
    ("mode", "forward"),
    [
        (Mode.NONE, ""),
        (Mode.NAT, "<forward/>"),
        (Mode.ROUTE, "<forward mode='route'/>"),
        (Mode.OPEN, "<forward mode='open'/>"),
    ],
)
def test_each_forward_mode(mode: Mode, forward: str) -> None:
    network = read_network(document(ADDRESS, forward=forward))
    assert network.mode is mode
    assert read_network(write_network(network)).mode is mode


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<domain/>", "the document is a <domain>"),
        ("<network/>", "has no <name>"),
        ("<network><name>../x</name></network>", "a network's name is '../x'"),
        (f"<network><name>{'x' * 10000}</name></network>", "a network's name is 'xxx"),
        ("<network><name>网络</name></network>", "a network's name is '网络'"),
        (document(forward="<forward mode='vepa'/>"), "the forward mode of a network is 'vepa'; here it can be nat"),
        (document(), "is of mode nat and has no address"),
        (document("<uuid>1</uuid>", ADDRESS), "32 hexadecimal digits"),
        (document(ADDRESS, ADDRESS), "which overlap"),
        (document("<mtu size='10'/>", ADDRESS), "an MTU of 10; it must be between 68 and 65535"),
        (document("<mtu size='1000'/>", ADDRESS, "<ip family='ipv6' address='fd00::1' prefix='64'/>"), "between 1280"),
        (document("<domain name='a b'/>", ADDRESS), "the domain 'a b'; it must be a domain name"),
        (document("<domain name='a\n'/>", ADDRESS), "must be a domain name"),
        (document("<mac address='53:00:00:00:00:00'/>", ADDRESS), "the MAC '53:00:00:00:00:00'"),
        (document("<ip address='10.0.2.1'/>"), "has no prefix"),
        (document("<ip address='10.0.2.1' netmask='255.0.255.0'/>"), "which cannot be"),
        (document("<ip address='10.0.2.0' prefix='24'/>"), "take 10.0.2.1/24"),
        (document("<ip address='10.0.2.1' prefix='31'/>"), "8 to 30 can be"),
        (document("<ip address='127.0.0.1' prefix='8'/>"), "is nobody's own"),
        (document("<ip family='ipv6' address='10.0.2.1' prefix='24'/>"), "its family 'ipv6'"),
        (document("<ip address='ten' prefix='24'/>"), "must be an IP address"),
        (
            document("<ip address='10.0.2.1' prefix='24'><dhcp><range start='10.0.3.1' end='10.0.3.9'/></dhcp></ip>"),
            "a DHCP range ends at 10.0.3.1, which is not in 10.0.2.0/24",
        ),
        (
            document("<ip address='10.0.2.1' prefix='24'><dhcp><range start='10.0.2.9' end='10.0.2.2'/></dhcp></ip>"),
            "write it upwards",
        ),
        (
            document("<ip address='10.0.2.1' prefix='24'><dhcp><range start='10.0.2.2' end='10.0.2.255'/></dhcp></ip>"),
            "at most it is 10.0.2.1 to 10.0.2.254",
        ),
        (
            document("<ip address='10.0.2.1' prefix='24'><dhcp><host mac='1' ip='10.0.2.2'/></dhcp></ip>"),
            "the MAC '1'",
        ),
        (
            document(
                "<ip address='10.0.2.1' prefix='24'><dhcp><host mac='52:54:00:00:00:01' name='a,b' ip='10.0.2.2'/></dhcp></ip>"
            ),
            "the name 'a,b'",
        ),
        (
            document(
                "<ip address='10.0.2.1' prefix='24'><dhcp><host mac='52:54:00:00:00:01' ip='10.0.2.1'/></dhcp></ip>"
            ),
            "the address of the host itself",
        ),
        (
            document(
                "<ip address='10.0.2.1' prefix='24'><dhcp><host mac='52:54:00:00:00:01' ip='10.0.2.2'/>"
                "<host mac='52:54:00:00:00:02' ip='10.0.2.2'/></dhcp></ip>"
            ),
            "have the same 10.0.2.2",
        ),
        (
            "<network><name>n</name><forward mode='user'/><ip address='10.0.2.1' prefix='24'/></network>",
            "takes no bridge, address, domain or MTU",
        ),
        (document(ADDRESS, forward="<forward mode='bridge'/>"), "takes no address"),
        ("<network><name>n</name><bridge name='-x'/></network>", "an interface's name is 1 to 15 letters"),
        ("<network><name>n</name><bridge name='a;b'/></network>", "an interface's name is 1 to 15 letters"),
        (
            "<network><name>n</name><bridge name='0123456789abcdef'/></network>",
            "an interface's name is 1 to 15 letters",
        ),
        (document(ADDRESS, forward="<forward mode='nat' dev='eth 0'/>"), "the way out of network n is 'eth 0'"),
        (document(ADDRESS, forward="<forward><nat><port start='9' end='1'/></nat></forward>"), "ports 9 to 1"),
        (document("<dns><host ip='10.0.2.5'><hostname>a b</hostname></host></dns>", ADDRESS), "must be a domain name"),
        (document("<dns><forwarder/></dns>", ADDRESS), "neither an address nor a domain"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_network(text)
    assert words in str(raised.value)
    assert len(str(raised.value)) < 300


def test_few_words_make_a_network() -> None:
    network = read_network(document_of(Words(name="br0", addresses=("10.0.2.1/24",), domain="inn.test")))
    assert (network.mode, network.bridge, network.domain_is_local) == (Mode.NAT, "br0", True)
    assert [(str(it.start), str(it.end)) for it in network.addresses[0].ranges] == [("10.0.2.2", "10.0.2.254")]
    assert "uuid" not in document_of(Words(name="br0", addresses=("10.0.2.1/24",)))
    high = read_network(document_of(Words(name="b", addresses=("10.0.2.254/24",), mode="isolated"))).addresses[0]
    assert [(str(it.start), str(it.end)) for it in high.ranges] == [("10.0.2.1", "10.0.2.253")]
    own = read_network(document_of(Words(name="mine")))
    assert (own.mode, own.bridge) == (Mode.USER, "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (Words(name="a-name-too-long-for-one", addresses=("10.0.2.1/24",)), "name its bridge with --bridge"),
        (Words(name="a", addresses=("10.0.2.1",)), "say how long its prefix is"),
        (Words(name="a", addresses=("ten/24",)), "as in 10.0.2.1/24"),
        (Words(name="a", mode="nat"), "has no address"),
        (Words(name="a", mode="gnat"), "mode is 'gnat'; it can be nat, route"),
        (Words(name="a", dhcp="1-2"), "give it --address"),
        (Words(name="a", addresses=("10.0.2.1/24",), dhcp="all"), "as in 10.0.2.2-10.0.2.254"),
        (Words(name="a", addresses=("10.0.2.1/24",), hosts=("web",)), "must look like 52:54:00:12:34:56=10.0.2.10,web"),
        (
            Words(name="a", addresses=("10.0.2.1/24",), hosts=("52:54:00:00:00:01=10.0.3.1",)),
            "in none of the network's",
        ),
    ],
)
def test_few_words_that_make_none(words: Words, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_network(document_of(words))


WORDS = st.one_of(
    st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=40),
    st.sampled_from(
        ["10.1.0.1", "fd00:7::1", "yes", "no", "0", "-1", "a\nb", "x,y", "a b", "/etc", "65536", "1e9", "%s", "é"]
    ),
)


@given(place=st.integers(0, 60), word=WORDS)
def test_no_value_gets_further_than_its_place(place: int, word: str) -> None:
    """Whatever a document says: an error in one sentence, or files and rules that say no more than they should."""
    root = ET.fromstring(FULL)
    places = [(part, key) for part in root.iter() for key in (*part.attrib, None)]
    part, key = places[place % len(places)]
    if key is None:
        part.text = word
    else:
        part.set(key, word)
    try:
        network = read_network(ET.tostring(root, encoding="unicode"))
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017 - one of two good ends
        return
    told = dnsmasq.configuration(network, Path("/f")).splitlines()
    told += [f"host={line}" for address in network.addresses for line in dnsmasq.dhcp_hosts(address)]
    assert len(told) < 40
    assert all(
        line.startswith("# ") or re.fullmatch(r"[a-z0-9-]+(=[\w:./,\[\]#-]*)?", line, re.ASCII) for line in told
    ), told
    json.dumps(rules.table(network))
