"""A router inside of this process, on sockets that it is given, in a thread of its own.

For what a command cannot do with the store alone: calls to providers, without a server that runs.
It is the whole router, so such a call is made exactly as a server makes it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, socket

import uvloop

from emr.app import App, Start
from emr.cli.ask.address import Address
from emr.cli.trouble import Trouble

DRAIN_S = 0.5  # its only client has left already, but for one that was interrupted


class Inside:
    """`with Inside(start, sockets): …`: it serves until the block ends.

    Entering raises what App raises. The store of `start` is closed at the end.
    """

    def __init__(self, start: Start, sockets: Sequence[socket]) -> None:
        self._start = start
        self._sockets = sockets
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="emr-inside")
        self._serves: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._life: Future[None]

    def __enter__(self) -> Inside:
        self._life = self._thread.submit(uvloop.run, self._serve())
        self._life.add_done_callback(self._ended)
        try:
            self._serves.result()
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        loop, stop = self._serves.result()
        loop.call_soon_threadsafe(stop.set)
        self._thread.shutdown()
        self._life.result()

    def _ended(self, life: Future[None]) -> None:
        """Whoever waits for the start is told why it failed."""
        if not self._serves.done():
            self._serves.set_exception(life.exception())

    async def _serve(self) -> None:
        app = App(self._start)
        try:
            await app.open(self._sockets)
            stop = asyncio.Event()
            self._serves.set_result((asyncio.get_running_loop(), stop))
            await stop.wait()
            await app.listener.drain(DRAIN_S)
        finally:
            await app.close()


@contextmanager
def hidden_socket() -> Iterator[tuple[socket, Address]]:
    """A listening socket in a folder that this user alone can enter, gone at the end.

    Raises Trouble.
    """
    with tempfile.TemporaryDirectory(prefix="emr-") as folder, socket(AF_UNIX) as sock:
        path = Path(folder) / "emr.sock"
        try:
            sock.bind(str(path))
        except OSError as error:
            raise Trouble(f"no socket can be made at {path}: {error}; set TMPDIR") from error
        sock.listen()
        yield sock, Address(port=80, socket=str(path))
