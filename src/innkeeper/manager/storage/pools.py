"""Storage pools as a service: folders under names, in which volumes are made and found.

Arguments and results are JSON's own kinds. Each call looks anew; nothing is remembered that somebody else may change.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from innkeeper.errors import ConfigError, HostError
from innkeeper.manager.served import served
from innkeeper.manager.storage import staging
from innkeeper.manager.storage.folder import space
from innkeeper.manager.storage.pool import DEFAULT, MODE, Pool, images_folder, make_folder
from innkeeper.manager.storage.pool_xml import UNDERSTOOD, document, measured, read_pool, unknown_parts
from innkeeper.manager.storage.table import PoolRow, PoolTable
from innkeeper.manager.store import Store

PRIVATE = 0o700


class PoolInfo(TypedDict):
    """A pool, as it is now. Sizes are bytes of its file system; None where that cannot be seen."""

    name: str
    uuid: str
    type: str
    path: str
    active: bool
    persistent: bool
    autostart: bool
    capacity: int | None
    allocation: int | None
    available: int | None


class Defined(TypedDict):
    """A pool that was defined or made, and the parts of its document that mean nothing here."""

    name: str
    unknown: list[str]


@contextmanager
def table(file: Path | None = None) -> Iterator[PoolTable]:
    with Store(file) as store:
        yield PoolTable(store)


def folder_of(row: PoolRow) -> Path:
    """Of a pool that is active; the default one's is made when it is first asked for. Raises `InnkeeperError`."""
    pool = row.pool
    if not row.active:
        raise ConfigError(f"pool {pool.name} is not active; inn pool-start {pool.name} starts it")
    check_folder(pool)
    return pool.path


def check_folder(pool: Pool) -> None:
    if pool.name == DEFAULT and pool.path == images_folder():
        make_folder(pool.path, PRIVATE)
    if not pool.path.is_dir():
        raise HostError(f"there is no folder {pool.path} for pool {pool.name}; inn pool-build {pool.name} makes it")


class Pools:
    """The pools of one store: the user's own, unless another file is given."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file

    # ---- looking --------------------------------------------------------------------------------

    @served
    def list(self) -> "list[PoolInfo]":
        """All, in the order of their names."""
        with table(self._file) as pools:
            return [described(row) for row in pools.all()]

    @served
    def info(self, pool: str) -> PoolInfo:
        """By name or UUID, as everywhere here. Raises `ConfigError` if there is none, as everywhere here."""
        return described(self._row(pool))

    @served
    def xml(self, pool: str, *, inactive: bool = False) -> str:
        """Its document; with sizes if it is active, unless asked for what is kept of it."""
        row = self._row(pool)
        info = described(row)
        if inactive or info["capacity"] is None:
            return row.xml
        return measured(row.xml, {tag: info[tag] or 0 for tag in ("capacity", "allocation", "available")})

    # ---- definitions ----------------------------------------------------------------------------

    @served
    def define(self, xml: str) -> Defined:
        """Keeps a pool, or changes the one of the same name."""
        return self._put(xml, persistent=True)

    @served
    def create(self, xml: str, *, build: bool = False) -> Defined:
        """Starts a pool that is forgotten when it is stopped."""
        pool = read_pool(xml)
        with table(self._file) as pools:
            there = [row for row in pools.all() if row.pool.name == pool.name]
        if there and there[0].active:
            raise ConfigError(f"pool {pool.name} is active already; inn pool-destroy {pool.name} stops it")
        made = self._put(xml, persistent=False)
        try:
            self.start(pool.name, build=build)
        except BaseException:
            if not there:
                with table(self._file) as pools:
                    pools.remove(pools.get(pool.name).pool.uuid)
            raise
        return made

    def _put(self, xml: str, *, persistent: bool) -> Defined:
        pool = read_pool(xml)
        with table(self._file) as pools:
            known = {row.pool.name: row.pool.uuid for row in pools.all()}
            if pool.name in known and "<uuid>" not in xml:
                pool = Pool(name=pool.name, uuid=known[pool.name], path=pool.path, mode=pool.mode)
            pools.put(pool, document(pool, xml), persistent=persistent)
        return {"name": pool.name, "unknown": unknown_parts(xml, "the pool", UNDERSTOOD)}

    @served
    def undefine(self, pool: str) -> str:
        """Forgets a pool that is not active; its folder stays. Returns its name."""
        row = self._stopped(pool)
        with table(self._file) as pools:
            pools.remove(row.pool.uuid)
        return row.pool.name

    @served
    def set_autostart(self, pool: str, *, on: bool) -> str:
        """Whether it starts by itself after the host has. Returns its name."""
        row = self._row(pool)
        if not row.persistent:
            raise ConfigError(
                f"pool {row.pool.name} is gone when it is stopped and cannot start by itself; define it first"
            )
        with table(self._file) as pools:
            pools.set_autostart(row.pool.uuid, on=on)
        return row.pool.name

    # ---- states ---------------------------------------------------------------------------------

    @served
    def build(self, pool: str) -> str:
        """Makes its folder, if there is none. Returns its name."""
        found = self._row(pool).pool
        default = PRIVATE if found.name == DEFAULT else MODE
        make_folder(found.path, default if found.mode is None else found.mode)
        return found.name

    @served
    def start(self, pool: str, *, build: bool = False) -> str:
        """Lets volumes be made and found, and removes what killed makers left. Returns its name."""
        row = self._row(pool)
        if row.active:
            raise ConfigError(f"pool {row.pool.name} is active already")
        if build:
            self.build(pool)
        check_folder(row.pool)
        staging.tidy(row.pool.path)
        with table(self._file) as pools:
            pools.set_started(row, on=True)
        return row.pool.name

    @served
    def destroy(self, pool: str) -> str:
        """Stops a pool; volumes stay, and machines that use them go on. Returns its name."""
        row = self._row(pool)
        if not row.active:
            raise ConfigError(f"pool {row.pool.name} is not active")
        with table(self._file) as pools:
            pools.set_started(row, on=False)
        return row.pool.name

    @served
    def delete(self, pool: str) -> str:
        """Removes the folder of a pool that is not active, if it is empty. Returns its name."""
        row = self._stopped(pool)
        check_folder(row.pool)
        staging.tidy(row.pool.path)
        try:
            row.pool.path.rmdir()
        except OSError as error:
            raise HostError(f"cannot remove {row.pool.path} of pool {row.pool.name}: {error.strerror}") from error
        return row.pool.name

    @served
    def refresh(self, pool: str) -> str:
        """Removes what killed makers left; volumes are looked for each time anyway. Returns its name."""
        row = self._row(pool)
        staging.tidy(folder_of(row))
        return row.pool.name

    # ---- inside ---------------------------------------------------------------------------------

    def _row(self, pool: str) -> PoolRow:
        with table(self._file) as pools:
            return pools.get(pool)

    def _stopped(self, pool: str) -> PoolRow:
        row = self._row(pool)
        if row.active:
            raise ConfigError(f"pool {row.pool.name} is active; inn pool-destroy {row.pool.name} stops it first")
        return row


def described(row: PoolRow) -> PoolInfo:
    pool = row.pool
    sizes: dict[str, int] = {}
    if row.active:
        try:
            check_folder(pool)
            sizes = space(pool.path)
        except HostError:
            sizes = {}  # shown as unknown; whoever uses the pool is told why
    return {
        "name": pool.name,
        "uuid": str(pool.uuid),
        "type": "dir",
        "path": str(pool.path),
        "active": row.active,
        "persistent": row.persistent,
        "autostart": row.autostart,
        "capacity": sizes.get("capacity"),
        "allocation": sizes.get("allocation"),
        "available": sizes.get("available"),
    }
