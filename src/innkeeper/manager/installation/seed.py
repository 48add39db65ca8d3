"""What tells cloud-init who a machine is: a NoCloud disc.

Spec: cloud-init's NoCloud data source. The configuration is written as JSON, which is YAML too.
"""

import json
from dataclasses import field
from pathlib import Path

from innkeeper.image.iso9660 import write_disc
from innkeeper.records import dataclass

LABEL = "cidata"
OFF = "/etc/cloud/cloud-init.disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """`user_data`, `meta_data` and `network_config` are whole files, and take the place of what the others would make."""

    root_password: str | None = None
    expires: bool = False  # a password that was made up is changed at the first login
    disable: bool = False
    root_keys: tuple[str, ...] = ()
    user_keys: tuple[str, ...] = ()
    user_data: str | None = None
    meta_data: str | None = None
    network_config: str | None = None
    extra: dict[str, str] = field(default_factory=dict)

    def files(self, name: str) -> dict[str, bytes]:
        files = {
            "meta-data": self.meta_data or f"instance-id: {name}\nlocal-hostname: {name}\n",
            "user-data": self.user_data or self.config(),
            **self.extra,
        }
        if self.network_config is not None:
            files["network-config"] = self.network_config
        return {key: words.encode() for key, words in files.items()}

    def config(self) -> str:
        """A #cloud-config document."""
        config: dict[str, object] = {}
        if self.root_password is not None:
            config["chpasswd"] = {"list": f"root:{self.root_password}\n", "expire": self.expires}
            config["ssh_pwauth"] = True
            config["disable_root"] = False
        users: list[object] = ["default"] if self.root_keys else []
        if self.root_keys:
            config["disable_root"] = False
            users.append({"name": "root", "ssh_authorized_keys": list(self.root_keys)})
            config["users"] = users
        if self.user_keys:
            config["ssh_authorized_keys"] = list(self.user_keys)
        if self.disable:
            config["runcmd"] = [f"echo 'by virt-install' >{OFF}"]
        return f"#cloud-config\n{json.dumps(config, indent=2)}\n"


def write_seed(seed: Seed, name: str, target: Path) -> None:
    """Raises `HostError` if it cannot be written."""
    write_disc(target, LABEL, seed.files(name))
