"""The server of a machine's page: files of the page, what it asks, and the two WebSockets.

It outlives the machine: the page says that it ended, and connects again when a machine of that name starts.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from ipaddress import ip_address

from innkeeper.display.rfb.channel import Gone, Refused, StreamChannel
from innkeeper.display.rfb.websocket import check_upgrade, switch
from innkeeper.errors import HostError, InnkeeperError
from innkeeper.language.preferred import preferred
from innkeeper.manager.wire import Descriptor
from innkeeper.view import bridge
from innkeeper.view.guard import Guard
from innkeeper.view.http import Failure, Request, answer, answer_json, read_json, read_request
from innkeeper.view.page import page
from innkeeper.view.target import Target

VISITORS_LIMIT = 64
REQUEST_S = 20.0
TEXT_LIMIT = 10_000  # characters, which take five minutes to type
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/view.js": ("view.js", "text/javascript; charset=utf-8"),
    "/view.css": ("view.css", "text/css; charset=utf-8"),
}
# xterm.js makes style elements; noVNC shows the pointer by a data: URL, and pictures by blob:.
POLICY = (
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data: blob:; "
    "connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
)

logger = logging.getLogger(__name__)


class ViewServer:
    """Serves one machine's page until it is cancelled."""

    def __init__(self, target: Target, *, listen: str = "127.0.0.1", port: int = 0, key: str | None = None) -> None:
        self._target, self._listen, self._port, self._key = target, listen, port, key
        self._visitors: set[asyncio.Task[None]] = set()

    async def serve(self, ready: Callable[[str], None]) -> None:
        """`ready` is told the page's address. Raises `HostError` if it cannot listen there."""
        loop = asyncio.get_running_loop()
        address = "127.0.0.1" if self._listen == "localhost" else self._listen
        try:
            server = await loop.create_server(lambda: Visitor(self._welcome), str(ip_address(address)), self._port)
        except ValueError as error:
            raise HostError(f"cannot listen for browsers at {self._listen}: it is no IP address") from error
        except OSError as error:
            why = error.strerror or str(error)
            raise HostError(f"cannot listen for browsers at {self._listen}:{self._port}: {why}") from error
        async with server:
            port = server.sockets[0].getsockname()[1]
            self._guard = Guard(address, port, self._key)
            host = socket.gethostname() if ip_address(address).is_unspecified else address
            host = f"[{host}]" if ":" in host else host
            ready(f"http://{host}:{port}/#key={self._guard.key}")
            try:
                await server.serve_forever()
            finally:
                for visitor in list(self._visitors):
                    visitor.cancel()
                await asyncio.gather(*self._visitors, return_exceptions=True)

    def _welcome(self, stream: StreamChannel) -> None:
        if len(self._visitors) >= VISITORS_LIMIT:
            stream.abort()
            return
        task = asyncio.get_running_loop().create_task(self._receive(stream))
        self._visitors.add(task)
        task.add_done_callback(self._visitors.discard)

    async def _receive(self, stream: StreamChannel) -> None:
        request = None
        try:
            async with asyncio.timeout(REQUEST_S):
                request = await read_request(stream)
            await self._answer(stream, request)
        except Failure as failure:
            answer_json(stream, {"error": say(request, failure.why)}, failure.status)
        except InnkeeperError as error:
            answer_json(stream, {"error": say(request, str(error))}, HTTPStatus.SERVICE_UNAVAILABLE)
        except (Gone, TimeoutError):
            pass
        except Refused as reason:
            logger.debug("a browser is sent away: %s", reason)
        except Exception:
            logger.exception("a browser's request fails")
        finally:
            stream.close()

    async def _answer(self, stream: StreamChannel, request: Request) -> None:
        self._guard.check_host(request)
        if request.path in FILES and request.method in ("GET", "HEAD"):
            name, kind = FILES[request.path]
            policy = POLICY.format(host=request.headers["host"])
            body = page_file(name)
            if request.path == "/":
                language, catalogue = preferred(request.headers.get("accept-language"))
                body = page(body.decode(), language, catalogue)
            answer(stream, HTTPStatus.OK, kind, body, policy)
        elif request.path in ("/screen", "/console") and request.method == "GET":
            await self._connect(stream, request)
        elif (request.method, request.path) == ("GET", "/machine"):
            self._guard.check(request)
            state = await asyncio.to_thread(self._target.state)
            if (advice := state["console"]["advice"]) is not None:
                state["console"]["advice"] = say(request, advice)
            answer_json(stream, state)
        elif (request.method, request.path) == ("POST", "/type"):
            self._guard.check(request)
            await self._type(stream, request)
        else:
            raise Failure(HTTPStatus.NOT_FOUND, f"there is nothing at {request.path[:80]}")

    async def _connect(self, stream: StreamChannel, request: Request) -> None:
        self._guard.check(request, browser=True)
        check_upgrade(stream, request.line, request.headers)
        find: Callable[[], Descriptor] = self._target.screen if request.path == "/screen" else self._target.console
        machine = await bridge.connect(await asyncio.to_thread(find))
        await bridge.carry(switch(stream, request.headers), machine)

    async def _type(self, stream: StreamChannel, request: Request) -> None:
        async with asyncio.timeout(REQUEST_S):
            body = await read_json(stream, request)
        text = body.get("text") if isinstance(body, dict) else None
        if not isinstance(text, str):
            raise Failure(HTTPStatus.BAD_REQUEST, "the body must have a text")
        if len(text) > TEXT_LIMIT:
            raise Failure(
                HTTPStatus.BAD_REQUEST, f"the text has {len(text)} characters; at most {TEXT_LIMIT} are typed"
            )
        await asyncio.to_thread(self._target.type, text)
        answer_json(stream, {"typed": len(text)})


class Visitor(StreamChannel):
    """A connection that says when it is there."""

    def __init__(self, welcome: Callable[[StreamChannel], None]) -> None:
        super().__init__("a browser")
        self._welcome = welcome

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._welcome(self)


def say(request: Request | None, text: str) -> str:
    """In the language that the browser's user prefers."""
    _, catalogue = preferred(None if request is None else request.headers.get("accept-language"))
    return text if catalogue is None else catalogue.said(text)


@cache
def page_file(name: str) -> bytes:
    """One of those that scripts/bundle-view made."""
    return (files("innkeeper.view") / "static" / name).read_bytes()


def run(work: Coroutine[None, None, None]) -> None:
    """Until the user has had enough of it: ^C."""
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        logger.debug("interrupted")
