"""A listening socket, and how the connections on it come in.

Two ways. Plain TCP is accepted by uvloop's own server, in C (15 µs of CPU for a connection with
one request; 24 by the other way). TLS and Unix sockets are accepted here: a handshake is counted,
bounded in time and may fail without a word, and uvloop would on some Pythons remove a Unix
socket's file that is not ours.

uvloop's server has one habit that must be watched: when accepting fails for any reason but a lack
of files it closes the listening socket, without telling anyone. So a second descriptor of the
socket is kept, from which a new server is made; in a drain it also serves to take in those whom
the system has already greeted, where closing would reset them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable, Coroutine

from emr.front.binds import BACKLOG, name_of
from emr.front.connection import TURNED_AWAY_MAX
from emr.front.register import Register

log = logging.getLogger("emr.front")

ACCEPTED_AT_ONCE_MAX = 128  # before other work of the loop gets its turn
NO_FILES_WAIT_S = 1.0  # after a failed accept, mostly for want of files: they come back by closing


class Entrance:
    """One listening socket, open until `close`. `tls` is for TCP alone."""

    def __init__(
        self,
        sock: socket.socket,
        register: Register,
        factory: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        sock.setblocking(False)
        self.name = name_of(sock)
        self._sock = sock
        self._register = register
        self._factory = factory
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._arrivals: set[asyncio.Task[None]] = set()
        # of plain TCP: uvloop's server, and the descriptor that it holds
        self._server: asyncio.Server | None = None
        self._server_sock: socket.socket | None = None
        # of the others: when to accept again after a failure
        self._again_at: float | None = None
        # of a Unix socket that was made here: its file, to be removed if it is still the same
        self._path = ""
        self._file: os.stat_result | None = None

    def own_file(self, path: str) -> None:
        """Remove the socket's file at the end: it was made here, and not inherited."""
        self._path = path
        self._file = os.lstat(path)

    async def open(self) -> None:
        """Let connections in."""
        self._sock.listen(BACKLOG)  # again, for one that was made here; an inherited one may wait
        if self._tls is None and self._sock.family != socket.AF_UNIX:
            await self._serve()
        else:
            self._loop.add_reader(self._sock, self._accept)

    def watch(self) -> None:
        """Open again what a failure has shut. Called by each sweep."""
        if self._again_at is not None and self._again_at <= self._register.now:
            self._again_at = None
            self._loop.add_reader(self._sock, self._accept)
        if self._server_sock is not None and self._server_sock.fileno() < 0:
            log.error("The listener was shut by a failed accept and is opened again. %s", self.name)
            self._server_sock = None
            self._start(self._serve())

    def close(self) -> None:
        """Let nobody in any more, but those whom the system has greeted already."""
        if self._server is not None:
            self._server.close()
            self._server = self._server_sock = None
        else:
            self._loop.remove_reader(self._sock)
        self._again_at = None
        try:
            self._accept_waiting(BACKLOG)
        except OSError as error:
            log.error("Accepting failed. listener=%s error=%s", self.name, error.strerror)
        self._sock.close()
        self._remove_file()

    def abort(self) -> None:
        """Drop those that are on the way in."""
        for task in self._arrivals:
            task.cancel()

    # Plain TCP

    async def _serve(self) -> None:
        sock = self._sock.dup()
        sock.setblocking(False)
        self._server_sock = sock
        self._server = await self._loop.create_server(self._factory, sock=sock, backlog=BACKLOG)

    # TLS and Unix sockets, and the last ones in a drain

    def _accept(self) -> None:
        try:
            self._accept_waiting(ACCEPTED_AT_ONCE_MAX)
        except OSError as error:
            self._loop.remove_reader(self._sock)
            self._again_at = self._register.clock() + NO_FILES_WAIT_S
            log.error("Accepting failed. listener=%s error=%s", self.name, error.strerror)

    def _accept_waiting(self, most: int) -> None:
        register = self._register
        for _ in range(most):
            try:
                sock, _ = self._sock.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            if register.over_limit >= TURNED_AWAY_MAX:
                sock.close()
                continue
            sock.setblocking(False)
            register.arriving += 1
            self._start(self._let_in(sock))

    async def _let_in(self, sock: socket.socket) -> None:
        limits, tls = self._register.limits, self._tls
        times: dict[str, float] = {}
        if tls is not None:
            times = {
                "ssl_handshake_timeout": limits.head_timeout_s,
                "ssl_shutdown_timeout": limits.write_stall_s,
            }
        try:
            await self._loop.connect_accepted_socket(self._factory, sock, ssl=tls, **times)
        except OSError as error:
            # it left, or speaks no TLS that is spoken here: there is nothing to answer it with
            log.debug("A client was not let in. listener=%s error=%s", self.name, error)
        finally:
            self._register.arriving -= 1
            self._register.tell_if_empty()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._arrivals.add(task)
        task.add_done_callback(self._arrivals.discard)

    def _remove_file(self) -> None:
        if self._file is None:
            return
        try:
            if os.path.samestat(os.lstat(self._path), self._file):
                os.unlink(self._path)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("A socket file stays. file=%s error=%s", self._path, error.strerror)
