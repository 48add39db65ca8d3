"""The VNC server of one screen: it listens, lets viewers in, and tells them when there is something to see.

One thread runs all conversations, one waits for changes (asleep while nobody looks), and two encode. Only the waiting
is done without viewers, by the kernel.
"""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn
from weakref import WeakSet

from innkeeper.config import GraphicsConfig, Sharing
from innkeeper.display.input import InputSink
from innkeeper.display.listen import listen_tcp
from innkeeper.display.rfb import handshake, tls, websocket
from innkeeper.display.rfb.channel import Channel, Gone, Refused, StreamChannel
from innkeeper.display.rfb.security import Policy
from innkeeper.display.rfb.session import Display, Session
from innkeeper.errors import InnkeeperError
from innkeeper.sockets import listen_unix, remove_unix

if TYPE_CHECKING:
    from innkeeper._core import Screen

VISITORS_LIMIT = 32  # who have not been let in yet
VIEWERS_LIMIT = 64
HANDSHAKE_S = 60.0  # a wrong password waits up to a quarter of it
ENCODERS = 2
ACCEPT_AGAIN_S = 0.5
ROUNDS_TO_CLOSE = 3  # of the loop: TLS tells the socket's transport, which tells the socket

logger = logging.getLogger(__name__)


class VncServer:
    """Listens from the moment it is made. `take_text` is called with what viewers put on their clipboards."""

    def __init__(
        self,
        config: GraphicsConfig,
        screen: "Screen",
        sink: InputSink,
        *,
        name: str = "innkeeper",
        take_text: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """Raises `HostError` if it cannot listen, or not with the certificate that was named."""
        from innkeeper._core import Watch

        self._config = config
        self._policy = Policy(config.username, config.password, tls.context_of(config), config.anonymous_tls)
        self._watch = Watch(screen)
        self._workers = ThreadPoolExecutor(ENCODERS, "vnc-encoder")
        self._display = Display(screen, sink, name, self._watch.stir, self._workers, take_text)
        self._listeners = _listen(config)
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepted: set[socket.socket] = set()  # whose tasks have not begun, and may never
        self._streams: WeakSet[StreamChannel] = WeakSet()
        self._visitors = 0
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="vnc-server", daemon=True)
        self._watcher = threading.Thread(target=self._wait_for_changes, name="vnc-watch", daemon=True)
        self._closed = False

    @property
    def address(self) -> str:
        """Where it listens, as viewers are told."""
        listener = self._listeners[0]
        if listener.family == socket.AF_UNIX:
            return f"unix:{listener.getsockname()}"
        host, port = listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def viewers(self) -> int:
        return len(self._sessions)

    @property
    def looks(self) -> int:
        """How often it has looked at the screen, to know whether it has changed."""
        return self._watch.looks

    def start(self) -> None:
        """Lets viewers in from now on."""
        self._thread.start()
        self._watcher.start()

    def offer_text(self, text: str) -> None:
        """What the guest has put on its clipboard, for all viewers. From any thread."""
        self._call(lambda: self._offer(text))

    def _offer(self, text: str) -> None:
        for session in self._sessions:
            session.offer_text(text)

    def close(self) -> None:
        """Sends everybody away and leaves nothing behind. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._watch.close()
        if self._thread.is_alive():
            self._call(self._loop.stop)
            self._thread.join()
            self._watcher.join()
        self._loop.close()
        self._workers.shutdown()
        for listener in self._listeners:
            if listener.family == socket.AF_UNIX:
                remove_unix(listener)
            else:
                listener.close()

    # ---- threads --------------------------------------------------------------------------------

    def _call(self, work: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop is closed: there is nobody to tell
            self._loop.call_soon_threadsafe(work)

    def _wait_for_changes(self) -> None:
        while self._watch.wait():
            self._call(self._tell)

    def _tell(self) -> None:
        for session in self._sessions:
            session.changed()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        for index, listener in enumerate(self._listeners):
            self._open(listener, browser=index > 0)
        self._loop.run_forever()
        for listener in self._listeners:
            self._loop.remove_reader(listener)
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(self._wind_up())
        for connection in self._accepted:
            connection.close()

    async def _wind_up(self) -> None:
        """Until nothing is left that the loop would have to do, such as closing what was told to close."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stream in self._streams:
            stream.abort()
        for _ in range(ROUNDS_TO_CLOSE):
            await asyncio.sleep(0)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- visitors -------------------------------------------------------------------------------

    def _open(self, listener: socket.socket, *, browser: bool) -> None:
        listener.setblocking(False)
        self._loop.add_reader(listener, lambda: self._accept(listener, browser=browser))

    def _accept(self, listener: socket.socket, *, browser: bool) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # the visitor has left already
        except OSError as error:  # out of descriptors
            logger.warning("VNC: cannot let a viewer in: %s", error.strerror)
            self._loop.remove_reader(listener)
            self._loop.call_later(ACCEPT_AGAIN_S, lambda: self._open(listener, browser=browser))
            return
        connection.setblocking(False)
        self._accepted.add(connection)
        self._start(self._receive(connection, browser=browser))

    async def _receive(self, connection: socket.socket, *, browser: bool) -> None:
        stream = None
        self._accepted.discard(connection)
        self._visitors += 1
        try:
            try:
                if self._visitors > VISITORS_LIMIT:
                    self._turn_away("too many are at the door")
                async with asyncio.timeout(HANDSHAKE_S):
                    stream, by_websocket = await handshake.connect(connection, self._policy, browser=browser)
                    self._streams.add(stream)
                    channel: Channel = stream
                    if by_websocket:
                        channel = await websocket.accept(stream, self._config.origins)
                    shares = await handshake.shake_hands(channel, stream, self._policy)
            finally:
                self._visitors -= 1
            self._make_room(shares=shares)
            await self._converse(Session(channel, self._display))
        except Gone:
            pass
        except TimeoutError:
            logger.info("VNC: a viewer took too long to come in")
        except Refused as reason:
            logger.info("VNC: a viewer is sent away: %s", reason)
        except Exception:
            logger.exception("VNC: a conversation fails")
        finally:
            (stream or connection).close()

    @staticmethod
    def _turn_away(reason: str) -> NoReturn:
        raise Refused(reason)

    def _make_room(self, *, shares: bool) -> None:
        """Sends others away for one who wants the screen alone, if that is allowed. Raises `Refused`."""
        if not shares and self._config.sharing is Sharing.FORCE_SHARED:
            raise Refused("it wants the screen alone, which nobody gets")
        if not shares and self._config.sharing is Sharing.ALLOW_EXCLUSIVE:
            for task in self._sessions.values():
                task.cancel()
        if len(self._sessions) >= VIEWERS_LIMIT:
            raise Refused(f"{VIEWERS_LIMIT} viewers are here already")

    async def _converse(self, session: Session) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - we are in one
        self._sessions[session] = task
        self._watch.want(True)
        logger.info("VNC: a viewer came; %d now", len(self._sessions))
        try:
            await session.run()
        finally:
            del self._sessions[session]
            self._watch.want(bool(self._sessions))
            logger.info("VNC: a viewer left; %d now", len(self._sessions))


def _listen(config: GraphicsConfig) -> list[socket.socket]:
    if config.socket is not None:
        return [listen_unix(config.socket, "VNC")]
    listeners = [listen_tcp(config.listen, config.port, "VNC")]
    if config.websocket is not None:
        try:
            listeners.append(listen_tcp(config.listen, config.websocket, "VNC by WebSocket"))
        except InnkeeperError:
            listeners[0].close()
            raise
    return listeners
