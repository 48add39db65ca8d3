"""The networks in the store, beside the machines: one row each, with its XML as it was given."""

from uuid import UUID

from innkeeper.errors import ConfigError
from innkeeper.manager.store import Row, Store, row

COLUMNS = "name, uuid, xml, autostart"


class NetworkStore(Store):
    """All networks of one user."""

    def put_network(self, name: str, uuid: UUID, xml: str) -> bool:
        """Stores a definition, in place of the one with the same name and UUID; tells whether it is new.

        Raises `ConfigError` if the name or the UUID is another network's.
        """
        with self._writing():
            by_name = self._database.execute("SELECT uuid FROM networks WHERE name = ?", (name,)).fetchone()
            by_uuid = self._database.execute("SELECT name FROM networks WHERE uuid = ?", (str(uuid),)).fetchone()
            if by_name is not None and by_name[0] != str(uuid):
                raise ConfigError(f"a network named {name} exists already, with UUID {by_name[0]}; give another name")
            if by_uuid is not None and by_uuid[0] != name:
                raise ConfigError(f"UUID {uuid} is that of network {by_uuid[0]}; leave it out to have one made up")
            self._database.execute(
                "INSERT INTO networks (uuid, name, xml) VALUES (?, ?, ?)"
                " ON CONFLICT (uuid) DO UPDATE SET xml = excluded.xml",
                (str(uuid), name, xml),
            )
        return by_uuid is None

    def network(self, name: str) -> Row | None:
        """By name or UUID; None if there is none."""
        with self._told():
            found = self._database.execute(
                f"SELECT {COLUMNS} FROM networks WHERE name = ?1 OR uuid = lower(?1)",  # noqa: S608 - a constant
                (name,),
            ).fetchone()
        return row(found) if found is not None else None

    def networks(self) -> list[Row]:
        """In the order of their names."""
        with self._told():
            found = self._database.execute(f"SELECT {COLUMNS} FROM networks ORDER BY name").fetchall()  # noqa: S608 - a constant
        return [row(each) for each in found]

    def remove_network(self, uuid: UUID) -> None:
        """Idempotent."""
        with self._writing():
            self._database.execute("DELETE FROM networks WHERE uuid = ?", (str(uuid),))

    def mark_network(self, uuid: UUID, *, autostart: bool) -> None:
        with self._writing():
            self._database.execute("UPDATE networks SET autostart = ? WHERE uuid = ?", (int(autostart), str(uuid)))
