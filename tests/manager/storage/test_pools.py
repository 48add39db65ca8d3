"""Pools are folders under names: kept, started, stopped and forgotten, and never more than that."""

from pathlib import Path
from uuid import UUID

import pytest

from innkeeper.errors import ConfigError, HostError
from innkeeper.manager.storage import Pools
from innkeeper.manager.store import Store


@pytest.fixture
def pools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pools:
    """Of a user who has none but the one that exists by itself."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return Pools(tmp_path / "machines.sqlite")


def xml(name: str, path: Path, more: str = "") -> str:
    return f"<pool type='dir'><name>{name}</name>{more}<target><path>{path}</path></target></pool>"


def another_boot(pools: Pools) -> None:
    """As if the host had been started again."""
    with Store(pools._file) as store, store.transaction() as database:
        database.execute("UPDATE pools SET started = 'before' WHERE started IS NOT NULL")


def test_the_default_pool_exists_by_itself_and_is_private(pools: Pools, tmp_path: Path) -> None:
    (default,) = pools.list()
    folder = tmp_path / "data/innkeeper/images"
    assert (default["name"], default["path"]) == ("default", str(folder))
    assert default["active"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert default["available"] is not None


def test_the_default_pool_stays_away_once_it_is_undefined(pools: Pools, tmp_path: Path) -> None:
    pools.destroy("default")
    pools.undefine("default")
    assert pools.list() == []
    pools.define(xml("default", tmp_path / "elsewhere"))
    assert [pool["path"] for pool in pools.list()] == [str(tmp_path / "elsewhere")]


def test_a_pool_is_defined_built_started_stopped_and_forgotten(pools: Pools, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "pool"
    pools.define(xml("disks", folder))
    assert not pools.info("disks")["active"]
    with pytest.raises(HostError, match=f"no folder {folder} for pool disks; inn pool-build disks makes it"):
        pools.start("disks")
    pools.build("disks")
    assert folder.stat().st_mode & 0o777 == 0o711
    pools.start("disks")
    with pytest.raises(ConfigError, match="active already"):
        pools.start("disks")
    with pytest.raises(ConfigError, match="pool-destroy disks stops it first"):
        pools.undefine("disks")
    pools.destroy("disks")
    pools.delete("disks")
    assert not folder.exists()
    assert pools.undefine("disks") == "disks"
    with pytest.raises(ConfigError, match="there is no pool 'disks'"):
        pools.info("disks")


def test_a_folder_that_holds_something_is_not_deleted(pools: Pools, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/disk").touch()
    pools.define(xml("p", tmp_path / "p"))
    with pytest.raises(HostError, match=r"cannot remove .* of pool p: Directory not empty"):
        pools.delete("p")
    assert (tmp_path / "p/disk").exists()


def test_a_transient_pool_is_gone_when_it_stops(pools: Pools, tmp_path: Path) -> None:
    pools.create(xml("t", tmp_path / "t"), build=True)
    assert not pools.info("t")["persistent"]
    with pytest.raises(ConfigError, match="cannot start by itself"):
        pools.set_autostart("t", on=True)
    pools.destroy("t")
    assert [pool["name"] for pool in pools.list()] == ["default"]


def test_a_transient_pool_that_cannot_start_never_was(pools: Pools, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no folder"):
        pools.create(xml("t", tmp_path / "none"))
    assert [pool["name"] for pool in pools.list()] == ["default"]


def test_after_the_host_has_started_marked_pools_are_active(pools: Pools, tmp_path: Path) -> None:
    for name in ("marked", "plain"):
        pools.define(xml(name, tmp_path / name))
        pools.start(name, build=True)
    pools.create(xml("transient", tmp_path / "transient"), build=True)
    pools.set_autostart("marked", on=True)
    another_boot(pools)
    assert {pool["name"]: pool["active"] for pool in pools.list()} == {"default": True, "marked": True, "plain": False}


def test_neither_a_name_nor_a_uuid_nor_a_folder_is_had_twice(pools: Pools, tmp_path: Path) -> None:
    one, other = UUID(int=1), UUID(int=2)
    pools.define(xml("a", tmp_path / "a", f"<uuid>{one}</uuid>"))
    with pytest.raises(ConfigError, match=f"named a exists already, with UUID {one}"):
        pools.define(xml("a", tmp_path / "a", f"<uuid>{other}</uuid>"))
    with pytest.raises(ConfigError, match="is that of pool a"):
        pools.define(xml("b", tmp_path / "b", f"<uuid>{one}</uuid>"))
    with pytest.raises(ConfigError, match="is the folder of pool a already"):
        pools.define(xml("b", tmp_path / "x/../a"))
    pools.define(xml("a", tmp_path / "moved"))
    assert pools.info(str(one))["path"] == str(tmp_path / "moved")


def test_the_folder_of_an_active_pool_cannot_change(pools: Pools, tmp_path: Path) -> None:
    pools.create(xml("a", tmp_path / "a"), build=True)
    with pytest.raises(ConfigError, match="pool a is active in"):
        pools.define(xml("a", tmp_path / "b"))
    pools.define(xml("a", tmp_path / "a"))
    assert pools.info("a")["persistent"]


def test_what_has_no_meaning_is_kept_and_named(pools: Pools, tmp_path: Path) -> None:
    made = pools.define(xml("a", tmp_path, "<features><cow state='yes'/></features><capacity>5</capacity>"))
    assert made == {"name": "a", "unknown": ["features"]}
    kept = pools.xml("a", inactive=True)
    assert '<cow state="yes" />' in kept
    assert "<capacity>" not in kept
    pools.start("a")
    assert '<capacity unit="bytes">' in pools.xml("a")
    assert pools.xml("a", inactive=True) == kept


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<pool type='logical'><name>v</name></pool>", "pool v is of type 'logical'; pools here are folders"),
        ("<pool type='dir'/>", "has no <name>"),
        ("<pool type='dir'><name>a</name></pool>", "has no <target><path>"),
        (xml("a", Path("relative")), "give its whole path"),
        (xml("../a", Path("/a")), "a pool's name is '../a'"),
        (xml("n" * 10_000, Path("/a")), "a pool's name is 'nnn"),
        (xml("a", Path("/a"), "<uuid>1</uuid>"), "32 hexadecimal digits"),
        (xml("a", Path("/a"), "<target><permissions><mode>9</mode></permissions></target>"), "mode of pool a is '9'"),
        ("<domain/>", "is a <domain>; a storage pool is a <pool>"),
        ("<pool", "is no XML"),
    ],
)
def test_what_cannot_be_is_said(pools: Pools, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        pools.define(text)
    assert words in str(error.value)
    assert len(str(error.value)) < 400


def test_names_of_any_script_are_names(pools: Pools, tmp_path: Path) -> None:
    pools.create(xml("磁盘 池", tmp_path / "磁盘"), build=True)
    assert pools.info("磁盘 池")["path"] == str(tmp_path / "磁盘")


def test_a_refresh_removes_what_killed_makers_left(pools: Pools, tmp_path: Path) -> None:
    pools.create(xml("a", tmp_path / "a"), build=True)
    (tmp_path / "a/.innkeeper-0123/").mkdir()
    (tmp_path / "a/.innkeeper-0123/volume").write_bytes(b"half")
    pools.refresh("a")
    assert list((tmp_path / "a").iterdir()) == []
