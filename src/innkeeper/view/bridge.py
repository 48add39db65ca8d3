"""Carries bytes between a page's WebSocket and a socket or pseudo-terminal of the machine, at the pace of the slower one."""

import asyncio
import os
import socket
import stat
from collections.abc import Callable
from typing import Protocol

from innkeeper.display.rfb.channel import Gone, StreamChannel
from innkeeper.display.rfb.websocket import WebSocketChannel
from innkeeper.manager.wire import Descriptor

CHUNK = 64 << 10
GOING_AWAY = 1001  # a WebSocket's reason to end (RFC 6455, section 7.4.1)


class MachineEnd(Protocol):
    """The machine's side. Raises `Gone` once it is over."""

    async def read_some(self, limit: int) -> bytes: ...
    def write(self, data: bytes, /) -> None: ...
    async def drain(self) -> None: ...
    def close(self) -> None: ...


class TerminalChannel:
    """A pseudo-terminal, which asyncio has no transport for that goes both ways."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)
        self._unsent = b""

    async def read_some(self, limit: int) -> bytes:
        while True:
            try:
                data = os.read(self._descriptor, limit)
            except BlockingIOError:
                await self._until_ready(asyncio.get_running_loop().add_reader, asyncio.get_running_loop().remove_reader)
                continue
            except OSError as error:  # hung up
                raise Gone from error
            if not data:
                raise Gone
            return data

    def write(self, data: bytes, /) -> None:
        self._unsent += data

    async def drain(self) -> None:
        while self._unsent:
            try:
                self._unsent = self._unsent[os.write(self._descriptor, self._unsent) :]
            except BlockingIOError:
                await self._until_ready(asyncio.get_running_loop().add_writer, asyncio.get_running_loop().remove_writer)
            except OSError as error:
                raise Gone from error

    def close(self) -> None:
        os.close(self._descriptor)

    async def _until_ready(self, watch: Callable[..., object], forget: Callable[[int], object]) -> None:
        ready = asyncio.Event()
        watch(self._descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            forget(self._descriptor)


async def connect(opened: Descriptor) -> MachineEnd:
    """Owns what was opened from here on."""
    if not stat.S_ISSOCK(os.fstat(opened.fileno()).st_mode):
        return TerminalChannel(opened.fileno())
    channel = StreamChannel("a machine")
    line = socket.socket(fileno=opened.fileno())
    line.settimeout(0)
    await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=line)
    return channel


async def carry(page: WebSocketChannel, machine: MachineEnd) -> None:
    """Until one of them ends. The page is told if it was the machine. Raises `Refused` for frames that are none."""
    up, down = asyncio.create_task(_up(page, machine)), asyncio.create_task(_down(machine, page))
    try:
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
    finally:
        machine_ended = down.done() and not up.done()
        for task in (up, down):
            task.cancel()
        ends = await asyncio.gather(up, down, return_exceptions=True)
        machine.close()
        if machine_ended:
            page.close(GOING_AWAY)
    for end in ends:
        if isinstance(end, Exception) and not isinstance(end, Gone):
            raise end


async def _up(page: WebSocketChannel, machine: MachineEnd) -> None:
    while True:
        machine.write(await page.read_some(CHUNK))
        await machine.drain()


async def _down(machine: MachineEnd, page: WebSocketChannel) -> None:
    while True:
        page.write(await machine.read_some(CHUNK))
        await page.drain()
