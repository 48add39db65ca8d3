"""Network cards in virt-install's words."""

from pathlib import Path

import pytest

from innkeeper.config import CardModel, ForwardConfig, LinkState, NetworkConfig, NetworkKind, UserBackend
from innkeeper.errors import ConfigError


def test_words_become_a_card() -> None:
    card = NetworkConfig.parse("user,model=e1000,mac=52:54:00:12:34:56,link=down,loopback=yes,dns=192.0.2.1:5353")

    assert (card.kind, card.model, card.link, card.loopback) == (
        NetworkKind.USER,
        CardModel.E1000,
        LinkState.DOWN,
        True,
    )
    assert (card.mac, card.name_servers, card.backend) == (
        "52:54:00:12:34:56",
        (("192.0.2.1", 5353),),
        UserBackend.BUILTIN,
    )


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("user", NetworkKind.USER, ""),
        ("model=virtio", NetworkKind.USER, ""),
        ("bridge=br0", NetworkKind.BRIDGE, "br0"),
        ("tap=tap0,queues=2", NetworkKind.TAP, "tap0"),
        ("type=bridge,bridge=br0", NetworkKind.BRIDGE, "br0"),
        ("none", NetworkKind.NONE, ""),
    ],
)
def test_a_cable_leads_where_it_says(text: str, kind: NetworkKind, name: str) -> None:
    card = NetworkConfig.parse(text)

    assert (card.kind, card.name) == (kind, name)


def test_forwards_are_written_as_virt_install_or_qemu_do() -> None:
    card = NetworkConfig.parse("user,portForward=8080:80,portForward1=[::1]:5000-5001:6000/udp,forward=tcp::2222-:22")

    assert card.forwards == (
        ForwardConfig(port=8080, guest_port=80),
        ForwardConfig(port=2222, guest_port=22),
        ForwardConfig(udp=True, host="::1", port=5000, guest_port=6000),
        ForwardConfig(udp=True, host="::1", port=5001, guest_port=6001),
    )


def test_a_guest_may_boot_from_a_users_network() -> None:
    card = NetworkConfig.parse("user,tftp=/srv/tftp,bootfile=pxelinux.0")

    assert (card.tftp, card.bootfile) == (Path("/srv/tftp"), "pxelinux.0")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("bridge=br0,tftp=/srv", "which are for the built-in user network"),
        ("user,backend=passt,bootfile=a", "which are for the built-in user network"),
        (f"user,bootfile={'x' * 128}", "it must be at most 127 ASCII characters"),
        ("user,bootfile=ä", "it must be at most 127 ASCII characters"),
        ("user,mac=1:2", "mac=1:2; it must be six bytes"),
        ("user,mac=01:00:00:00:00:01", "the first byte must be even"),
        ("user,portForward=22", "it must look like 2222:22"),
        ("user,portForward=70000:22", "port 70000; it must be between 0 and 65535"),
        ("user,portForward=1-999:1", "a range has between 1 and 256 ports"),
        ("user,forward=tcp:localhost:1-1", "'localhost'; it must be an IP address"),
        ("bridge=br0,tap=tap0", "more than one of user, tap, bridge and network"),
        ("bridge", "does not name it; write bridge=NAME"),
        ("tap=a/b", "none of them a space, slash or colon"),
        ("tap=interface-name-too-long", "1 to 15 characters"),
        ("tap=t,loopback=yes", "only a user network does"),
        ("user,backend=passt,loopback=yes", "only the built-in network"),
        ("user,dns=example.org", "dns=example.org; it must be an IP address"),
        ("passt", "write user,backend=passt"),
        ("user,modle=virtio", "did you mean 'model'?"),
        ("nowhere", "it must be one of user"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        NetworkConfig.parse(text)

    assert complaint in str(caught.value)
