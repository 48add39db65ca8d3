"""Definitions as TOML."""

import tomllib
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.config import (
    BootConfig,
    BootDevice,
    DiskConfig,
    EngineChoice,
    GraphicsConfig,
    MachineConfig,
    NetworkConfig,
)
from innkeeper.errors import ConfigError
from innkeeper.manager import Definition, read_xml
from innkeeper.manager.definition import Action
from innkeeper.manager.domain_toml import CONSOLE, as_xml, read_toml, write_toml

FULL = """
name = "web"
uuid = "12345678-1234-5678-1234-567812345678"
title = "the site"
on_reboot = "destroy"

[machine]
memory_mib = 2048
vcpus = 2
engine = "bt"
rng = true

[machine.boot]
order = ["hd", "cdrom"]

[[machine.disks]]
path = "/srv/web.qcow2"
size_gib = 10

[[machine.networks]]
mac = "52:54:00:12:34:56"
name_servers = [["192.0.2.1", 53]]

[[machine.networks.forwards]]
port = 8080
guest_port = 80
"""


def test_a_document_becomes_a_definition_and_the_same_document_again() -> None:
    definition = read_toml(FULL)
    machine = definition.machine
    assert (definition.name, machine.name, definition.on_reboot) == ("web", "web", Action.DESTROY)
    assert (machine.engine, machine.memory_mib, machine.boot) == (
        EngineChoice.BT,
        2048,
        BootConfig(order=(BootDevice.HD, BootDevice.CDROM)),
    )
    assert machine.disks == (DiskConfig(path=Path("/srv/web.qcow2"), size_gib=10.0),)
    assert machine.networks[0].name_servers == (("192.0.2.1", 53),)
    assert machine.networks[0].forwards[0].port == 8080
    assert read_toml(write_toml(definition)) == definition
    assert tomllib.loads(write_toml(definition))["machine"]["disks"] == [{"path": "/srv/web.qcow2", "size_gib": 10.0}]


@given(
    title=st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])),
    description=st.text(st.characters(exclude_categories=["Cs"])),
    vcpus=st.integers(1, 8),
    max_vcpus=st.none() | st.integers(8, 64),
    passwords=st.lists(st.text(st.characters(codec="ascii"), min_size=1, max_size=8), max_size=2),
    disks=st.lists(st.builds(DiskConfig, path=st.just(Path('/a "b" \\ ü')), size_gib=st.floats(1, 9)), max_size=2),
)
def test_whatever_is_written_is_read_as_it_was(
    title: str, description: str, vcpus: int, max_vcpus: int | None, passwords: list[str], disks: list[DiskConfig]
) -> None:
    graphics = tuple(GraphicsConfig(password=password) for password in passwords)
    cards = tuple(NetworkConfig(mtu=1400) for _ in passwords)
    machine = MachineConfig(
        name="a",
        vcpus=vcpus,
        max_vcpus=max_vcpus,
        graphics=graphics,
        networks=cards,
        disks=tuple(disks),
        console=CONSOLE,
    )
    definition = Definition(name="a", uuid=UUID(int=5), title=title, description=description, machine=machine)
    assert read_toml(write_toml(definition)) == definition


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name", "no TOML"),
        ("[machine]", 'no name; give it one, as in name = "web"'),
        ('name = "a"', r"no table \[machine\]"),
        ('name = "a"\nmachine = 3', r"no table \[machine\]"),
        ('name = "../a"\n[machine]', "a machine's name is '../a'|name is '../a'"),
        ('name = "a"\nnmae = 1\n[machine]', "the definition has an unknown key 'nmae'; it knows title, description"),
        ('name = "a"\n[machine]\nmemory = 1', "machine has an unknown key 'memory'; it knows kernel, "),
        ('name = "a"\n[machine]\nconsole = 1', "machine has an unknown key 'console'"),
        ('name = "a"\n[machine]\nmemory_mib = "1"', "machine.memory_mib is '1'; it must be a whole number"),
        ('name = "a"\n[machine]\nmemory_mib = true', "machine.memory_mib is True; it must be a whole number"),
        ('name = "a"\n[machine]\nmemory_mib = 0', "memory is 0 MiB"),
        ('name = "a"\n[machine]\nengine = "xen"', "machine.engine is 'xen'; it must be of auto, "),
        ('name = "a"\n[machine]\ndisks = 1', "machine.disks is 1; it must be a list"),
        ('name = "a"\n[machine]\ndisks = [1]', r"machine.disks\[0\] is 1; it must be a table"),
        ('name = "a"\n[[machine.disks]]\nsize_gib = 1', r"machine.disks\[0\] has no path; give it one"),
        ('name = "a"\n[[machine.networks]]\nname_servers = [["a"]]', r"name_servers\[0\] has 1 parts; it must have 2"),
        ('name = "a"\nuuid = "x"\n[machine]', "uuid is 'x'; it must be of hexadecimal digits"),
        ("a = " + "[" * 10_000, "no TOML"),
    ],
)
def test_mistakes_are_named(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_toml(text)


def test_what_a_kept_definition_cannot_say_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"the definition has debug_exit = true, which only inn run can do so far"):
        as_xml(read_toml('name = "a"\n[machine]\ndebug_exit = true'))
    assert read_xml(as_xml(read_toml('name = "a"\n[machine]\nvcpus = 2'))).machine.vcpus == 2
