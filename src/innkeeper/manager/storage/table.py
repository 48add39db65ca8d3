"""Pools in the store, and which of them are started.

A pool is started until the host is: the store keeps the boot in which it was. Those that are marked start by themselves in the next.
"""

from pathlib import Path
from uuid import UUID

from innkeeper.errors import ConfigError
from innkeeper.manager.storage.pool import DEFAULT, Pool, brief, images_folder
from innkeeper.manager.storage.pool_xml import document, read_pool
from innkeeper.manager.store import Store
from innkeeper.records import dataclass

COLUMNS = "name, uuid, xml, persistent, autostart, started"


@dataclass(frozen=True, slots=True)
class PoolRow:
    """One pool, as it is stored."""

    pool: Pool
    xml: str
    persistent: bool
    autostart: bool
    active: bool


def this_boot() -> str:
    """What is another one each time the host starts (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class PoolTable:
    """The pools of one store."""

    def __init__(self, store: Store) -> None:
        """Makes the default pool known, once; forgets transient pools of before the host was started, and starts marked ones."""
        self._store = store
        boot = this_boot()
        if self._store.query("SELECT 1 FROM pools_offered") and not self._store.query(
            "SELECT 1 FROM pools WHERE started IS NOT NULL AND started <> ?", boot
        ):
            return
        with store.transaction() as database:
            if not database.execute("SELECT 1 FROM pools_offered").fetchone():
                pool = Pool(name=DEFAULT, path=images_folder())
                database.execute("INSERT INTO pools_offered VALUES (?)", (DEFAULT,))
                database.execute(
                    "INSERT OR IGNORE INTO pools (name, uuid, xml, persistent, autostart, started) VALUES (?, ?, ?, 1, 1, ?)",
                    (pool.name, str(pool.uuid), document(pool), boot),
                )
            database.execute("DELETE FROM pools WHERE persistent = 0 AND started <> ?", (boot,))
            database.execute(
                "UPDATE pools SET started = CASE autostart WHEN 1 THEN ?1 END WHERE started <> ?1", (boot,)
            )

    def all(self) -> list[PoolRow]:
        """In the order of their names."""
        return [row(found) for found in self._store.query(f"SELECT {COLUMNS} FROM pools ORDER BY name")]  # noqa: S608

    def get(self, name: str) -> PoolRow:
        """By name or UUID. Raises `ConfigError` if there is none."""
        found = self._store.query(f"SELECT {COLUMNS} FROM pools WHERE name = ?1 OR uuid = lower(?1)", name)  # noqa: S608
        if not found:
            raise ConfigError(f"there is no pool {brief(name)}; inn pool-list --all shows all")
        return row(found[0])

    def put(self, pool: Pool, xml: str, *, persistent: bool) -> None:
        """Stores a pool, in place of the one with the same name and UUID.

        Raises `ConfigError` if the name, the UUID or the folder is another one's.
        """
        with self._store.transaction() as database:
            for other in self.all():
                self._check_apart(pool, other)
            database.execute(
                "INSERT INTO pools (name, uuid, xml, persistent) VALUES (?, ?, ?, ?) ON CONFLICT (uuid)"
                " DO UPDATE SET xml = excluded.xml, persistent = max(persistent, excluded.persistent)",
                (pool.name, str(pool.uuid), xml, int(persistent)),
            )

    @staticmethod
    def _check_apart(pool: Pool, other: PoolRow) -> None:
        theirs = other.pool
        if (theirs.name == pool.name) != (theirs.uuid == pool.uuid):
            if theirs.name == pool.name:
                raise ConfigError(
                    f"a pool named {pool.name} exists already, with UUID {theirs.uuid}; give another name"
                )
            raise ConfigError(f"UUID {pool.uuid} is that of pool {theirs.name}; leave it out to have one made up")
        same = theirs.path.resolve() == pool.path.resolve()
        if theirs.uuid != pool.uuid and same:
            raise ConfigError(f"{pool.path} is the folder of pool {theirs.name} already; give pool {pool.name} another")
        if theirs.uuid == pool.uuid and other.active and not same:
            raise ConfigError(
                f"pool {pool.name} is active in {theirs.path}; stop it first, with inn pool-destroy {pool.name}"
            )

    def set_started(self, row: PoolRow, *, on: bool) -> None:
        """A transient pool that is stopped is gone."""
        with self._store.transaction() as database:
            if on or row.persistent:
                database.execute(
                    "UPDATE pools SET started = ? WHERE uuid = ?", (this_boot() if on else None, str(row.pool.uuid))
                )
            else:
                database.execute("DELETE FROM pools WHERE uuid = ?", (str(row.pool.uuid),))

    def set_autostart(self, uuid: UUID, *, on: bool) -> None:
        with self._store.transaction() as database:
            database.execute("UPDATE pools SET autostart = ? WHERE uuid = ?", (int(on), str(uuid)))

    def remove(self, uuid: UUID) -> None:
        with self._store.transaction() as database:
            database.execute("DELETE FROM pools WHERE uuid = ?", (str(uuid),))


def row(found: tuple[str, str, str, int, int, str | None]) -> PoolRow:
    _, _, xml, persistent, autostart, started = found
    return PoolRow(read_pool(xml), xml, bool(persistent), bool(autostart), started == this_boot())
