"""Who may look at a guest's screen, in virt-install's words: `vnc,listen=127.0.0.1,port=5901,password=…`."""

from dataclasses import field, fields
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path

from innkeeper.config.keyvalue import KeyValues
from innkeeper.errors import ConfigError
from innkeeper.records import dataclass

PORT_LIMIT = 65535
VNC_PASSWORD_LIMIT = 8  # bytes: the key of a DES
ANONYMOUS = "anonymous"


class GraphicsKind(StrEnum):
    """Where a screen is shown."""

    VNC = "vnc"
    TERMINAL = "terminal"  # its text, in the terminal of `inn run`
    NONE = "none"


class Sharing(StrEnum):
    """What becomes of the viewers that are there when one comes who wants the screen alone. QEMU's words."""

    ALLOW_EXCLUSIVE = "allow-exclusive"  # they are sent away
    FORCE_SHARED = "force-shared"  # nobody gets it alone
    IGNORE = "ignore"  # everybody may come, whatever they want


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphicsConfig:
    """One way to see the screen.

    VNC listens on `listen` and `port`, or on `socket` alone. Beyond this host it needs a password.
    """

    kind: GraphicsKind = GraphicsKind.VNC
    listen: str = "127.0.0.1"
    port: int | None = None  # the first free one from 5900 on
    socket: Path | None = None
    websocket: int | None = None  # a port for browsers alone; they can connect to `port` as well
    origins: tuple[str, ...] = ()  # pages of other hosts whose scripts may connect
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Path | None = None  # a folder with server-cert.pem and server-key.pem
    anonymous_tls: bool = False  # encrypted, and nobody knows with whom
    sharing: Sharing = Sharing.ALLOW_EXCLUSIVE

    def __post_init__(self) -> None:
        if self.kind is not GraphicsKind.VNC:
            given = [one.name for one in fields(self) if getattr(self, one.name) != one.default and one.name != "kind"]
            if given:
                raise ConfigError(f"graphics {self.kind} takes no keys, and has {', '.join(given)}; they are for vnc")
            return
        if self.socket is not None and (self.port is not None or self.websocket is not None):
            raise ConfigError("graphics vnc has both a socket and a port; give one of them")
        if self.tls is not None and self.anonymous_tls:
            raise ConfigError("graphics vnc has two kinds of tls; give a folder or anonymous")
        self._check_secrets()

    def _check_secrets(self) -> None:
        encrypted = self.tls is not None or self.anonymous_tls
        if self.password == "":
            raise ConfigError("graphics vnc has an empty password; leave it out to let everybody in")
        if self.username is not None and (self.password is None or not encrypted):
            raise ConfigError("graphics vnc has a username; that needs a password, and tls to send it through")
        if self.password is not None and self.username is None and len(self.password.encode()) > VNC_PASSWORD_LIMIT:
            raise ConfigError(
                f"graphics vnc has a password of {len(self.password.encode())} bytes; VNC looks at the first "
                f"{VNC_PASSWORD_LIMIT} only: give a shorter one, or username= and tls="
            )
        if self.socket is None and not is_loopback(self.listen) and self.password is None:
            raise ConfigError(
                f"graphics vnc would listen at {self.listen}, for everybody who can reach it; give it a password=, or "
                "listen at 127.0.0.1"
            )

    @classmethod
    def parse(cls, text: str, option: str = "--graphics") -> "GraphicsConfig":
        """Reads the command line's form.

        >>> GraphicsConfig.parse("vnc,listen=127.0.0.1,port=5901").port
        5901
        """
        pairs = KeyValues(option, text, first="type")
        kind = pairs.choice("type", GraphicsKind) or GraphicsKind.VNC
        socket, tls, origins = pairs.text("socket"), pairs.text("tls"), pairs.text("origin")
        anonymous, no_tls = tls == ANONYMOUS, tls in (None, "no", "none", "off", "")
        if pairs.flag("autoport", default=False) and pairs.whole("port", -1, PORT_LIMIT, -1) != -1:
            raise ConfigError(f"{option} has both a port and autoport; give one of them")
        port = pairs.whole("port", -1, PORT_LIMIT, -1)
        config = cls(
            kind=kind,
            listen=pairs.text("listen") or "127.0.0.1",
            port=None if port == -1 else port,
            socket=Path(socket) if socket else None,
            websocket=pairs.whole("websocket", 1, PORT_LIMIT),
            origins=tuple(origins.split()) if origins else (),
            username=pairs.text("username"),
            password=_password(pairs),
            tls=None if anonymous or no_tls or tls is None else Path(tls),
            anonymous_tls=anonymous,
            sharing=pairs.choice("share", Sharing) or Sharing.ALLOW_EXCLUSIVE,
        )
        pairs.finish()
        return config


def _password(pairs: KeyValues) -> str | None:
    """Given in words, or better in a file: other users of the host see a command's words."""
    password, file = pairs.text("password"), pairs.text("password-file")
    if file is None:
        return password
    if password is not None:
        raise ConfigError(f"{pairs.option} has both a password and a password-file; give one of them")
    try:
        return Path(file).read_text().removesuffix("\n")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{pairs.option} has password-file={file}, which cannot be read: {error}") from error


def is_loopback(host: str) -> bool:
    """Whether only this host reaches it."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
