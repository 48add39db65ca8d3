"""Who may use the page's server: whoever knows the key, from the page itself and nowhere else.

Other users of this host reach a loopback port as well, and so do the scripts of every page that this user reads. So each request that says or does anything
needs the key of the address that was printed. It is sent with each request by the page's own script, never by the browser of its own accord: there is no
cookie, which would go to every port of this host and be usable by other pages. Beside that, `Host` must be an address of this server (a page whose
name is made to lead here has another one), and `Origin` and `Sec-Fetch-Site`, where browsers send them, must be the page's.
"""

import secrets
import socket
from hmac import compare_digest
from http import HTTPStatus
from ipaddress import ip_address

from innkeeper.config.graphics import is_loopback
from innkeeper.view.http import Failure, Request

KEY_BYTES = 24
PROTOCOL = "key."


class Guard:
    """The key, and the names under which the server may be reached."""

    def __init__(self, listen: str, port: int, key: str | None = None) -> None:
        self.key = key or secrets.token_urlsafe(KEY_BYTES)
        self._listen, self._port = listen, port

    def check_host(self, request: Request) -> None:
        """Raises `Failure`."""
        host = request.headers.get("host", "")
        name, colon, port = host.rpartition(":")
        if not colon or port != str(self._port) or not self._is_ours(name):
            raise Failure(
                HTTPStatus.MISDIRECTED_REQUEST, "this server has another name; open the address that inn view printed"
            )

    def check(self, request: Request, *, browser: bool = False) -> None:
        """Raises `Failure` unless the page asks. WebSockets always come with an origin: from a `browser`."""
        origin, host = request.headers.get("origin"), request.headers.get("host", "")
        foreign = origin is not None and origin != f"http://{host}"
        if (
            foreign
            or (browser and origin is None)
            or request.headers.get("sec-fetch-site", "same-origin") != "same-origin"
        ):
            raise Failure(HTTPStatus.FORBIDDEN, "another page may not use this server")
        if not any(compare_digest(key.encode(), self.key.encode()) for key in keys(request)):
            raise Failure(
                HTTPStatus.FORBIDDEN, "the key is not this server's; open the address that inn view printed last"
            )

    def _is_ours(self, name: str) -> bool:
        if is_loopback(name.strip("[]")):
            return True
        if is_loopback(self._listen):
            return False
        if name in (self._listen, socket.gethostname(), socket.getfqdn()):
            return True
        try:
            return bool(ip_address(name.strip("[]")))  # nobody can make an address lead elsewhere
        except ValueError:
            return False


def keys(request: Request) -> list[str]:
    """Those that it offers: as a bearer's token (RFC 6750), or among a WebSocket's protocols."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    offered = [token] if scheme.lower() == "bearer" else []
    protocols = [name.strip() for name in request.headers.get("sec-websocket-protocol", "").split(",")]
    return offered + [name.removeprefix(PROTOCOL) for name in protocols if name.startswith(PROTOCOL)]
