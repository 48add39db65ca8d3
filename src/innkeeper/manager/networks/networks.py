"""What can be done with networks: a service, every method of which takes and returns plain values.

Definitions are the user's own, in the store. Bridges are the host's: what root started is there for everybody, recorded where everybody can read
it. Networks of mode `user` and `bridge` need nothing of root's; that they are started is recorded in the user's runtime folder.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from innkeeper.errors import ConfigError, HostError, InnkeeperError
from innkeeper.folders import runtime_folder
from innkeeper.manager.elements import text_of
from innkeeper.manager.networks.answers import Done, LeaseInfo, NetworkInfo, Updated
from innkeeper.manager.networks.kept import NetworkStore
from innkeeper.manager.networks.network_xml import read_network, root_of, unknown_parts
from innkeeper.manager.networks.normal import normalised
from innkeeper.manager.networks.update import LIVE, Command, Section, updated
from innkeeper.manager.served import served
from innkeeper.manager.store import Row
from innkeeper.net.host import bridge, dnsmasq, realise, records, taps
from innkeeper.net.host.network import OWN_BRIDGE, Mode, Network
from innkeeper.net.host.records import Record, State

OWN_RECORDS = ".networks"  # no machine's name begins so


Infos = list[NetworkInfo]
Leases = list[LeaseInfo]
Names = list[str]
Records = list[Record]


class Networks:
    """The networks of one user, and those of this host."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file

    # ---- looking --------------------------------------------------------------------------------

    @served
    def list(self) -> Infos:
        """All, in the order of their names."""
        with self._store() as store:
            rows = {row.name: row for row in store.networks()}
        live = {record.name: record for record in self._records()}
        return [describe(rows.get(name), live.get(name)) for name in sorted({*rows, *live})]

    @served
    def info(self, name: str) -> NetworkInfo:
        """By name or UUID. Raises `ConfigError` if there is none."""
        row, record = self._find(name)
        return describe(row, record)

    @served
    def xml(self, name: str, *, inactive: bool = False) -> str:
        """What an active network was started from, or what it will be started from."""
        row, record = self._find(name)
        if record is not None and not inactive:
            return record.document
        if row is None:
            raise ConfigError(f"network {name} is not kept; it has no definition but the one it is active with")
        return row.xml

    @served
    def leases(self, name: str, mac: str | None = None) -> Leases:
        _, record = self._find(name)
        if record is None:
            raise HostError(f"network {name} is not active; inn net-start {name} starts it")
        found = [lease for lease in dnsmasq.leases(record.name) if mac is None or lease.mac == mac.lower()]
        return [
            LeaseInfo(
                expiry=lease.expiry,
                mac=lease.mac,
                protocol="ipv6" if ":" in lease.address else "ipv4",
                address=lease.address,
                hostname=lease.host_name,
                client=lease.client,
            )
            for lease in found
        ]

    # ---- definitions ----------------------------------------------------------------------------

    @served
    def define(self, xml: str) -> Done:
        """Keeps a network, in place of the one with the same name. Raises `ConfigError`."""
        with self._store() as store:
            network, text = self._normal(xml, store)
            store.put_network(network.name, network.uuid, text)
        return Done(name=network.name, unknown=unknown_parts(text), notes=[])

    @served
    def undefine(self, name: str) -> Done:
        """Forgets a definition. An active network stays until it is ended."""
        row = self._kept(name)
        with self._store() as store:
            store.remove_network(row.uuid)
        return Done(name=row.name, unknown=[], notes=[])

    @served
    def set_autostart(self, name: str, *, on: bool) -> Done:
        row = self._kept(name)
        with self._store() as store:
            store.mark_network(row.uuid, autostart=on)
        return Done(name=row.name, unknown=[], notes=[])

    @served
    def update(  # noqa: PLR0913 - virsh's words
        self,
        name: str,
        command: str,
        section: str,
        element: str,
        *,
        parent_index: int | None = None,
        live: bool = False,
        config: bool = False,
    ) -> Updated:
        """Changes an element of what is active, of what is kept, or of both; of what is active if neither is said, else of what is kept."""
        row, record = self._find(name)
        what, where = read_command(command), read_section(section)
        current = not live and not config
        live, config = live or (current and record is not None), config or (current and record is None)
        if live and record is None:
            raise HostError(f"network {name} is not active, so nothing of it can be changed now; leave out --live")
        if config and row is None:
            raise ConfigError(f"network {name} is not kept, so no definition can be changed; leave out --config")
        if live and where not in LIVE:
            raise ConfigError(
                f"section {where} of an active network cannot be changed; say --config, and start it anew"
            )
        changed = updated(row.xml, what, where, element, parent_index) if config and row is not None else None
        if changed is not None:
            read_network(changed)  # refuses what cannot be before anything has changed
        if live and record is not None:
            text = updated(record.document, what, where, element, parent_index)
            network = read_network(text)
            self._require_root(f"changing network {record.name}", "net-update …")
            realise.update(network, text)
        if changed is not None and row is not None:
            with self._store() as store:
                store.put_network(row.name, row.uuid, changed)
        return Updated(name=row.name if row is not None else name, live=live, config=config)

    # ---- life -----------------------------------------------------------------------------------

    @served
    def start(self, name: str, user: str | None = None) -> Done:
        """Has a network that is kept be there, whole; with taps for a user's machines if one is named. Idempotent."""
        row, record = self._find(name)
        if record is not None and realise.is_active(record):
            return self._realise(read_network(record.document), record.document, user)
        if row is None:
            raise ConfigError(f"network {name} is not kept; there is nothing to start it from")
        return self._realise(read_network(row.xml), row.xml, user)

    @served
    def create(self, xml: str, user: str | None = None) -> Done:
        """Starts a network that is not kept."""
        with self._store() as store:
            network, text = self._normal(xml, store)
        record = next((it for it in self._records() if it.name == network.name), None)
        if record is not None and realise.is_active(record) and record.uuid != str(network.uuid):
            raise ConfigError(f"a network named {network.name} is active already, with UUID {record.uuid}")
        done = self._realise(network, text, user)
        return Done(name=done["name"], unknown=unknown_parts(text), notes=done["notes"])

    @served
    def make(self, xml: str, user: str | None = None, *, autostart: bool = False, start: bool = True) -> Done:
        """Keeps a network and starts it; the same one again is no mistake, another of that name is.

        What cannot be started is not kept either, unless only root is missing.
        """
        with self._store() as store:
            network, text = self._normal(xml, store)
            known = store.network(network.name)
            if known is not None and known.xml != text:
                raise ConfigError(
                    f"a network named {network.name} exists already, and is another: inn net dumpxml {network.name} shows it, "
                    f"inn net edit {network.name} changes it, inn net undefine {network.name} forgets it"
                )
            store.put_network(network.name, network.uuid, text)
            if autostart:
                store.mark_network(network.uuid, autostart=True)
        done = Done(name=network.name, unknown=unknown_parts(text), notes=[])
        if start:
            try:
                done["notes"] = self._realise(network, text, user)["notes"]
            except BaseException:
                if known is None and realise.may_change():
                    with self._store() as store:
                        store.remove_network(network.uuid)
                raise
        return done

    @served
    def destroy(self, name: str) -> Done:
        """Takes away all that is there of an active network; its definition stays."""
        row, record = self._find(name, whole=False)
        if record is None:
            raise HostError(f"network {row.name if row is not None else name} is not active")
        own = records.read(record.name, own_folder())
        if own is not None and (record == own):
            records.remove(record.name, own_folder())
            return Done(name=record.name, unknown=[], notes=[])
        self._require_root(f"ending network {record.name}", f"net-destroy {record.name}")
        return Done(name=record.name, unknown=[], notes=realise.end(record.name))

    def start_marked(self) -> Names:
        """Starts what is marked to start with the manager; returns what went wrong, a sentence each."""
        wrong = []
        for info in self.list():
            if info["autostart"] and not info["active"]:
                try:
                    self.start(info["name"])
                except InnkeeperError as error:
                    wrong.append(f"network {info['name']}: {error}")
        return wrong

    # ---- other users' machines ------------------------------------------------------------------

    @served
    def add_taps(self, name: str, user: str, count: int = taps.COUNT) -> Names:
        """Has a user own so many taps on a network's bridge, or on any bridge; returns their names."""
        where = self._bridge_of(name)
        if not 1 <= count <= taps.COUNT_LIMIT:
            raise ConfigError(f"count is {count}; it must be between 1 and {taps.COUNT_LIMIT}")
        self._require_root(f"making taps on {where}", f"net-tap {name} --user {user}")
        return taps.ensure(where, number_of(user), count)

    @served
    def remove_taps(self, name: str, user: str | None = None) -> Names:
        """Those of a user, or all that we made on that bridge; returns their names."""
        where = self._bridge_of(name)
        self._require_root(f"removing taps of {where}", f"net-tap {name} --remove")
        return taps.remove(where, None if user is None else number_of(user))

    # ---- how --------------------------------------------------------------------------------------

    def _store(self) -> NetworkStore:
        return NetworkStore(self._file)

    def _records(self) -> Records:
        """Of this host and of this user, as far as they are there."""
        found = {record.name: record for record in [*records.every(own_folder()), *records.every()]}
        return [record for record in found.values() if realise.is_active(record)]

    def _find(self, name: str, *, whole: bool = True) -> tuple[Row | None, Record | None]:
        """The definition and the record of a network, by name or UUID; `whole`: records of what is there only."""
        with self._store() as store:
            row = store.network(name)
        known = self._records() if whole else [*records.every(), *records.every(own_folder())]
        wanted = row.name if row is not None else name
        record = next((it for it in known if it.name == wanted or it.uuid == name.lower()), None)
        if row is None and record is None:
            raise ConfigError(f"there is no network {name[:80]!r}; inn net-list --all shows all")
        return row, record

    def _kept(self, name: str) -> Row:
        row, record = self._find(name)
        if row is None:
            who = "root's" if record is not None and os.geteuid() != 0 else "active, and not kept"
            raise ConfigError(f"network {name} is {who}; it has no definition here")
        return row

    def _normal(self, xml: str, store: NetworkStore) -> tuple[Network, str]:
        rows, name = store.networks(), read_name(xml)
        known = next((row for row in rows if row.name == name), None)
        taken = [read_network(row.xml).bridge for row in rows] + [record.bridge for record in self._records()]
        text = normalised(xml, taken, known.xml if known is not None else None)
        return read_network(text), text

    def _realise(self, network: Network, text: str, user: str | None) -> Done:
        if network.mode not in OWN_BRIDGE and not realise.may_change():
            self._record_own(network, text)
            return Done(name=network.name, unknown=[], notes=[])
        if network.mode is Mode.USER:
            self._record_own(network, text)
            return Done(name=network.name, unknown=[], notes=[])
        then = ", and until then run over user-mode networking" if network.mode is Mode.NAT else ""
        self._require_root(
            f"making bridge {network.bridge}",
            f"net-start {network.name}",
            f" once; your machines can join it then{then}",
        )
        owner = None if user is None else realise.Owner(number_of(user))
        return Done(name=network.name, unknown=[], notes=realise.start(network, text, owner))

    def _record_own(self, network: Network, text: str) -> None:
        if network.mode is Mode.BRIDGE:
            realise.check(network)
        own_folder().mkdir(mode=0o700, exist_ok=True)
        records.write(
            Record(
                name=network.name,
                uuid=str(network.uuid),
                mode=network.mode,
                bridge=network.bridge,
                mac="",
                state=State.ACTIVE,
                document=text,
            ),
            own_folder(),
        )

    def _require_root(self, doing: str, verb: str, then: str = "") -> None:
        """Raises `HostError` with the one command that root is needed for."""
        if not realise.may_change():
            raise HostError(f"{doing} needs root: run `sudo inn {verb}`{then}")

    def _bridge_of(self, name: str) -> str:
        try:
            _, record = self._find(name)
        except ConfigError:
            record = None
        if record is not None and record.bridge:
            return record.bridge
        link = bridge.look(name)
        if link is None or link.kind != "bridge":
            raise HostError(
                f"there is no active network {name}, nor a bridge of that name; inn net-start {name} starts it"
            )
        return name


def own_folder() -> Path:
    return runtime_folder() / OWN_RECORDS


def describe(row: Row | None, record: Record | None) -> NetworkInfo:
    text = record.document if record is not None else row.xml if row is not None else ""
    network = read_network(text)
    return NetworkInfo(
        name=network.name,
        uuid=str(network.uuid),
        active=record is not None,
        persistent=row is not None,
        autostart=row is not None and row.autostart,
        mode=network.mode.value,
        bridge=network.bridge or None,
        addresses=[str(it.interface) for it in network.addresses],
    )


def read_name(xml: str) -> str:
    """Raises `ConfigError` for a document without one."""
    return text_of(root_of(xml), "name") or ""


def read_command(word: str) -> Command:
    try:
        return Command(word)
    except ValueError:
        raise ConfigError(f"command is {word!r}; it can be {', '.join(Command)}") from None


def read_section(word: str) -> Section:
    try:
        return Section(word)
    except ValueError:
        raise ConfigError(f"section is {word!r}; it can be {', '.join(Section)}") from None


def number_of(user: str) -> int:
    """A user's number, by name or number. Raises `ConfigError`."""
    try:
        return int(user) if user.isascii() and user.isdigit() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ConfigError(f"there is no user {user!r} on this host") from None
