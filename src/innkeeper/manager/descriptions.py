"""The service of what machines and networks are called: their names, and the title and description that people read.

Spec: `<name>`, `<title>` and `<description>` of libvirt's domain and network XML.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypedDict
from xml.etree import ElementTree as ET

from innkeeper.errors import ConfigError
from innkeeper.machine.names import running
from innkeeper.manager.definition import check_domain_name
from innkeeper.manager.domain_xml import OSINFO, read_xml
from innkeeper.manager.elements import parse, text_of
from innkeeper.manager.host_files import log_of
from innkeeper.manager.naming import kept_row, row_of
from innkeeper.manager.networks.network_xml import read_network
from innkeeper.manager.normal import TEXT_OF_METADATA
from innkeeper.manager.served import served
from innkeeper.manager.snapshots.recovery import still
from innkeeper.manager.store import Store

if TYPE_CHECKING:
    from innkeeper.manager.domains import Domains
    from innkeeper.manager.networks import Networks

TITLE, DESCRIPTION = "title", "description"
BEFORE = {TITLE: ("uuid", "name"), DESCRIPTION: (TITLE, "uuid", "name")}
"""After which element of a document each has its place, if that is there."""


class Described(TypedDict):
    """What people read of something; empty where nothing is said."""

    name: str
    title: str
    description: str


class Descriptions:
    """Methods raise `InnkeeperError`."""

    def __init__(self, domains: Domains, networks: Networks) -> None:
        self._domains, self._networks = domains, networks

    @served
    def domain(self, name: str) -> Described:
        row = row_of(name)
        definition = read_xml(row.xml)
        return Described(name=row.name, title=definition.title, description=definition.description)

    @served
    def describe_domain(self, name: str, what: str, text: str) -> str:
        """Sets a machine's title or description; nothing is said with an empty text. Returns its name."""

        def change(xml: str) -> str:
            changed = with_text(xml, check_kind(what), text)
            read_xml(changed)
            return changed

        name = kept_row(name).name
        with Store() as store:
            store.revise(name, change)
        return name

    @served
    def network(self, name: str) -> Described:
        network = read_network(self._networks.xml(name, inactive=True))
        return Described(name=network.name, title=network.title, description=network.description)

    @served
    def describe_network(self, name: str, what: str, text: str) -> str:
        """The same of a network that is kept."""
        changed = with_text(self._networks.xml(name, inactive=True), check_kind(what), text)
        return self._networks.define(changed)["name"]

    @served
    def rename(self, name: str, new: str) -> str:
        """Gives a machine that is shut off another name: in its definition and in those that its snapshots keep, or in none.

        Returns the name that it had.
        """
        check_domain_name(new)
        row = kept_row(name)
        with Store() as store, self._domains.changing(row.name, new), still(store, row) as table:
            if new in [*running(), *(each.name for each in store.all())]:
                raise ConfigError(f"there is a machine {new} already; give another name")
            with store.transaction() as database:
                database.execute(
                    "UPDATE domains SET name = ?, xml = ? WHERE uuid = ?",
                    (new, with_text(table.domain.xml, "name", new), str(row.uuid)),
                )
                for snapshot in table.all():
                    database.execute(
                        "UPDATE snapshots SET xml = ? WHERE domain = ? AND name = ?",
                        (with_text(snapshot.xml, "name", new), str(row.uuid), snapshot.name),
                    )
        with suppress(OSError):  # what it has said so far goes with it
            log_of(row.name).rename(log_of(new))
        self._domains.publish(row.name, "undefined", "renamed")
        self._domains.publish(new, "defined", "renamed")
        return row.name


def check_kind(what: str) -> str:
    """Raises `ConfigError` unless it is one of both."""
    if what not in BEFORE:
        raise ConfigError(f"a machine has no {what[:40]!r} to be read; it has a title and a description")
    return what


def with_text(xml: str, tag: str, text: str) -> str:
    """A document that says something else in one of its own elements, or nothing.

    >>> with_text("<domain><name>a</name><memory/></domain>", "title", "words").split()
    ['<domain>', '<name>a</name>', '<title>words</title>', '<memory', '/>', '</domain>']
    """
    ET.register_namespace(TEXT_OF_METADATA, OSINFO)
    root = parse(xml, "the document")
    if not printable(text):
        raise ConfigError(f"the {tag} has characters that XML cannot say; leave them out")
    if text_of(root, tag) == (text.strip() or None):
        return xml
    part = root.find(tag)
    if part is not None and not text:
        root.remove(part)
    elif text:
        if part is None:
            part = ET.Element(tag)
            places = [list(root).index(found) for each in BEFORE[tag] if (found := root.find(each)) is not None]
            root.insert(places[0] + 1 if places else 0, part)
        part.text = text
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def printable(text: str) -> bool:
    """XML 1.0, section 2.2."""
    return all(
        each in "\t\n\r" or "\x20" <= each <= "\ud7ff" or "\ue000" <= each <= "\ufffd" or each > "\uffff"
        for each in text
    )
