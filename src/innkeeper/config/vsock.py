"""Sockets between guest and host: `cid=3,path=FILE`."""

import os
from pathlib import Path

from innkeeper.config.keyvalue import KeyValues
from innkeeper.errors import ConfigError
from innkeeper.records import dataclass

CID_MINIMUM = 3  # below are the hypervisor, the loopback and the host
CID_LIMIT = (1 << 32) - 2
PATH_LIMIT = 107 - len("_4294967295")  # sun_path less its NUL (unix(7)), and room for a port


@dataclass(frozen=True, slots=True, kw_only=True)
class VsockConfig:
    """`cid` is the guest's address. Programs of the host connect to `path`, and listen at `path` with `_PORT` behind."""

    path: Path
    cid: int = CID_MINIMUM

    def __post_init__(self) -> None:
        if not CID_MINIMUM <= self.cid <= CID_LIMIT:
            raise ConfigError(f"vsock cid is {self.cid}; it must be between {CID_MINIMUM} and {CID_LIMIT}")
        if len(os.fsencode(self.path)) > PATH_LIMIT:
            raise ConfigError(f"vsock path {self.path} is too long for a socket; at most {PATH_LIMIT} bytes")

    @classmethod
    def parse(cls, text: str) -> "VsockConfig":
        """Reads the command line's form.

        >>> VsockConfig.parse("cid=5,path=/run/vm.sock").cid
        5
        """
        pairs = KeyValues("--vsock", text)
        cid, path = pairs.whole("cid", CID_MINIMUM, CID_LIMIT), pairs.text("path")
        pairs.finish()
        if not path:
            raise ConfigError("--vsock has no path; say where the host connects to the guest, as in path=FILE")
        return cls(cid=cid or CID_MINIMUM, path=Path(path))
