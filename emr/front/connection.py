"""One connection of a client: bytes in, requests out, and what happens when it ends.

Rules of this file. Nothing here reads bytes (`wire`) or composes answers (`answers`); it decides
what happens next. No task, no future and no exception for an ordinary request: the transport's
callback reads it, the service's `reply` writes its answer. Every wait has an end (`patience`).

Theory of operation. The intake makes turns of requests, until it is over; the turn of the last
request closes the connection with its answer. A connection is in one of these phases and only
ever moves down:

    OPEN      requests are read, or answers are owed
    LINGER    the last answer is written, and the client may still be sending: what it sends is
              dropped for a moment, since a close with unread input would be a reset that
              destroys the answer on its way
    CLOSING   closed for us; what was written still has to leave
    LOST      gone

An end of file with answers owed counts as a client that left. One that half-closes and one that
is closed look the same until something is written; the first is rare, the second is a caller that
timed out, whose texts must not be sent any more.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import traceback
from contextlib import suppress
from enum import Enum
from typing import cast

from emr.front.answers import Answers, Turn
from emr.front.exchange import Exchange, Headers, Service, Stage
from emr.front.faults import internal_error, too_many_connections, too_slow
from emr.front.intake import Intake
from emr.front.patience import Awaits, Patience
from emr.front.register import NEVER, Register, Unfinished
from emr.front.target import HostGuard
from emr.front.wire import Reader
from emr.lane.refusal import Refusal

log = logging.getLogger("emr.front")

# Over the limit of connections, so many more are told so; past them there is only a reset.
TURNED_AWAY_MAX = 512

# In a drain, how long an idle connection is kept that was busy a moment ago: a client in a loop
# has its next request on the way, and a close would lose it.
GRACE_S = 0.5
BUSY_S = 1.0

# How long a client may take to agree that a connection is closed, which only TLS asks of it: long
# enough for the last of an answer, and an idle one has none on the way.
CLOSE_S = 5.0
CLOSE_IDLE_S = 0.5

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class Phase(Enum):
    """How far the life of a connection is."""

    OPEN = "open"
    LINGER = "linger"
    CLOSING = "closing"
    LOST = "lost"


class Connection(asyncio.Protocol):
    """A client's connection. `hosts` judges the Host of its requests.

    Its whole state beside the intake, the answers and the patience is its phase.
    """

    __slots__ = (
        "_answers", "_hosts", "_intake", "_register", "_transport", "patience", "peer", "phase",
    )  # fmt: skip

    def __init__(self, register: Register, hosts: HostGuard) -> None:
        self._register = register
        self._hosts = hosts
        self.phase = Phase.OPEN
        self.peer = ""

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        register = self._register
        transport = cast(asyncio.Transport, transport)  # uvloop's are not registered as such
        self.peer = _name_of(transport.get_extra_info("peername"))
        self._transport = transport
        self.patience = Patience(register, transport)
        self._answers = Answers(self, register, transport)
        reader = Reader(register.limits, register.lines, self._hosts)
        self._intake = Intake(register, reader, self._answers, self.patience, self.peer)
        register.enter(self)
        over = len(register.guests) - register.limits.max_connections
        if over > TURNED_AWAY_MAX:
            self.reset()
        elif over > 0:
            self._intake.refuse(too_many_connections(register.limits.max_connections))
        else:
            self.patience.wait_for(Awaits.HEAD)
            if register.is_draining:
                self.drain()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._intake.take(data)

    def eof_received(self) -> bool:
        """The client sends no more: it left. What was written still goes out."""
        self._leave(Phase.CLOSING)
        self.patience.watch(self._taken())
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, from whichever side."""
        self._leave(Phase.LOST)
        self._register.leave(self)

    def pause_writing(self) -> None:
        """More is unsent than the transport wants to hold: the client does not keep up."""
        self._answers.is_paused = True
        self.patience.watch(self._taken())
        if not self._intake.is_over:
            self.patience.hold()

    def resume_writing(self) -> None:
        """The client took nearly all."""
        self._answers.is_paused = False
        if self.phase is Phase.OPEN:
            self.patience.write_deadline = NEVER
        self._answers.wake()
        self._intake.advance()

    # Called by the answers

    def answered(self, turn: Turn) -> None:
        """An answer was written whole; with `turn.closes` it was the last."""
        intake = self._intake
        if turn.closes:
            if not intake.is_over:  # a stream that ends with its connection
                intake.end(turn)
            if intake.is_input_lost:
                self._linger()
            else:
                self._close(CLOSE_S)
        elif not intake.is_advancing:
            intake.advance()

    def reset(self) -> None:
        """Break the connection at once: the client sees a reset and no orderly end."""
        if self.phase is Phase.LOST:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            with suppress(OSError):  # some systems refuse it once the client is gone
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._leave(Phase.CLOSING)
        self._transport.abort()

    # Called by the register and the listener

    def expire(self, now: float) -> None:
        """A deadline is over."""
        patience, limits = self.patience, self._register.limits
        if patience.write_deadline <= now and patience.is_stalled(self._taken()):
            self.reset()
        elif patience.read_deadline > now:
            return
        elif self.phase is not Phase.OPEN:
            self._hurry()
        elif self._intake.is_between_requests:
            self._close(CLOSE_IDLE_S)
        elif patience.awaits is Awaits.BODY:
            self._intake.refuse(too_slow("body", limits.body_timeout_s))
        else:
            self._intake.refuse(too_slow("head", limits.head_timeout_s))

    def drain(self) -> None:
        """Take no more requests: the answer to the last one says so."""
        turns, patience = self._answers.turns, self.patience
        if self.phase is not Phase.OPEN or self._intake.is_over:
            return
        if turns:
            if turns[-1].stage is not Stage.READING:
                self._intake.end(turns[-1])
        elif self._intake.is_between_requests:
            idle_s = self._register.limits.keepalive_s - (
                patience.read_deadline - self._register.now
            )
            if patience.awaits is Awaits.NEXT and idle_s > BUSY_S:
                self._close(CLOSE_IDLE_S)
            else:
                patience.wait_for(Awaits.NEXT)
                patience.extend(GRACE_S)

    def unfinished(self) -> list[Unfinished]:
        """The requests that have no answer yet."""
        return [
            Unfinished(self.peer, turn.method, turn.path, turn.stage)
            for turn in self._answers.turns
            if turn.stage is not Stage.DONE
        ]

    # The end

    def _linger(self) -> None:
        self._leave(Phase.LINGER)
        self.patience.wait_for(Awaits.SILENCE)
        self.patience.watch(self._taken())
        if self._transport.can_write_eof():  # TLS has no half-close; the answer says it closes
            self._transport.write_eof()

    def _close(self, wait_s: float) -> None:
        self._leave(Phase.CLOSING)
        self.patience.extend(wait_s)
        self.patience.watch(self._taken())
        self._transport.close()

    def _hurry(self) -> None:
        """In LINGER and CLOSING: it took long enough, if all is written."""
        if self._transport.get_write_buffer_size():
            self.patience.extend(CLOSE_IDLE_S)  # how often is bounded by the stall
        elif self.phase is Phase.LINGER:
            self._close(CLOSE_S)
        else:
            self._transport.abort()

    def _leave(self, phase: Phase) -> None:
        """Nothing is owed any more: whoever works on an answer is told that its client is gone."""
        self.phase = phase
        self._intake.release()
        self.patience.wait_for(Awaits.NOTHING)
        for turn in self._answers.leave():
            self._register.service.tell_gone(turn)
        self._answers.wake()

    def _taken(self) -> int:
        """Bytes of answers that the client's side of the system has taken."""
        return self._answers.written - self._transport.get_write_buffer_size()


class Guarded:
    """The service, behind a wall: whatever it raises must not take the connection down, where it
    would look to the client like a fault of its own. Implements `register.Guard`.
    """

    __slots__ = ("_service",)

    def __init__(self, service: Service) -> None:
        self._service = service

    def admit(self, exchange: Exchange) -> Refusal | None:
        """As Service.admit; a failure is a refusal."""
        try:
            return self._service.admit(exchange)
        except Exception as error:
            _log_bug(error)
            return internal_error()

    def handle(self, exchange: Exchange) -> None:
        """As Service.handle; a failure is an answer, or the end of a stream that has begun."""
        try:
            self._service.handle(exchange)
        except Exception as error:
            _log_bug(error)
            if exchange.stage is Stage.WAITING:
                exchange.reply(*self.render(exchange, internal_error()))
            elif exchange.stage is Stage.REPLYING:
                exchange.abort()

    def render(self, exchange: Exchange | None, refusal: Refusal) -> tuple[int, Headers, bytes]:
        """As Service.render; a failure is an answer without a body."""
        try:
            return self._service.render(exchange, refusal)
        except Exception as error:
            _log_bug(error)
            return refusal.status or 502, [], b""

    def tell_gone(self, exchange: Exchange) -> None:
        """Tell whoever works on an answer that its client left."""
        try:
            exchange.gone()
        except Exception as error:
            _log_bug(error)


def _log_bug(error: Exception) -> None:
    """Where it was raised, but not its message, which may hold what a caller sent."""
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("A handler failed with %s.\n%s", type(error).__name__, where)


def _name_of(peername: object) -> str:
    if not isinstance(peername, tuple):
        return "unix"
    host, port = peername[0], peername[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
