"""Answers for installers, and discs for cloud-init."""

import json
from pathlib import Path

import pytest

from innkeeper.errors import ConfigError
from innkeeper.image.iso9660 import Disc
from innkeeper.manager.installation.answers import Unattended, preseed
from innkeeper.manager.installation.seed import OFF, Seed, write_seed


def test_a_preseed_file_has_accounts_and_a_name() -> None:
    unattended = Unattended(profile="jeos", admin_password="a b", login="me", user_password="c")
    lines = preseed(unattended, "Web_1").splitlines()
    assert "d-i passwd/root-password password a b" in lines
    assert "d-i passwd/username string me" in lines
    assert "d-i netcfg/hostname string web-1" in lines
    assert "d-i partman/confirm boolean true" in lines
    assert "tasksel tasksel/first multiselect " in lines
    assert {"d-i mirror/http/hostname string deb.debian.org", "d-i mirror/http/directory string /debian"} <= set(lines)
    assert "d-i mirror/http/proxy string" in lines  # none, and that is not asked for
    alone = preseed(Unattended(admin_password="x"), "a").splitlines()
    assert "d-i passwd/make-user boolean false" in alone


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ({"profile": "server"}, "profile=server"),
        ({"login": "Root!"}, "user-login=Root!"),
        ({"admin_password": "x\nd-i preseed/late_command string evil"}, "more than one line"),
    ],
)
def test_what_no_answer_can_hold_is_refused(words: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Unattended(**{"admin_password": "x", **words})


def test_a_seed_says_who_the_machine_is(tmp_path: Path) -> None:
    seed = Seed(
        root_password="s:e'c", expires=True, disable=True, root_keys=("ssh-ed25519 A",), user_keys=("ssh-rsa B",)
    )
    write_seed(seed, "web", tmp_path / "seed.iso")
    with Disc(tmp_path / "seed.iso") as disc:
        assert disc.label == "cidata"
        assert disc.text("meta-data") == "instance-id: web\nlocal-hostname: web\n"
        first, _, rest = (disc.text("user-data") or "").partition("\n")
        assert not disc.has("network-config")
    config = json.loads(rest)
    assert first == "#cloud-config"
    assert config["chpasswd"] == {"list": "root:s:e'c\n", "expire": True}
    assert config["users"][1]["ssh_authorized_keys"] == ["ssh-ed25519 A"]
    assert config["ssh_authorized_keys"] == ["ssh-rsa B"]
    assert OFF in config["runcmd"][0]


def test_whole_files_take_the_place_of_what_would_be_made() -> None:
    files = Seed(root_password="x", user_data="mine", meta_data="id", network_config="net").files("a")
    assert files == {"user-data": b"mine", "meta-data": b"id", "network-config": b"net"}
