"""One connection to a provider: it carries one exchange at a time, with its deadlines.

The whole state is `_state` and what belongs to the present exchange, which `send` sets:

    IDLE      no exchange; any byte that comes now belongs to none, so the link is closed
    WRITING   the request is larger than the socket's buffers and waits for the peer to take it
    WAITING   the request is out, no byte of the answer came
    READING   the answer began
    CLOSED    the connection is gone, or about to be

A body that ends with the connection is complete only when the close was an orderly one; over a
reset it is cut off. An answer that comes before the request is out is taken, and the link closed:
whether the provider reads the rest is not known.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import cast

from emr.upstream.answer import AnswerReader
from emr.upstream.fault import Fault, Stage

CLOCK_S = 0.001  # uvloop's clock ticks in milliseconds: a timer may be early by as much


class State(Enum):
    """Where the link is; see the module's docstring."""

    IDLE = "idle"
    WRITING = "writing"
    WAITING = "waiting"
    READING = "reading"
    CLOSED = "closed"


_STAGES = {
    State.WRITING: (Stage.WRITE, "while the request was sent", "does not take the request"),
    State.WAITING: (Stage.FIRST_BYTE, "before it answered", "does not answer"),
    State.READING: (Stage.BODY, "in the middle of its answer", "does not end its answer"),
}


@dataclass(slots=True)
class Answer:
    """A complete answer. Header names are in lower case; of equal names the values are joined.

    `first_byte_s` is the time from the request's last byte to the answer's first, in seconds.
    """

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    first_byte_s: float


# How an exchange ended: a Fault when it failed, anything else raised is a defect of emr's own.
Ended = Answer | BaseException
Done = Callable[[Ended], None]


class Link(asyncio.Protocol):
    """A connection, as a protocol of the event loop. `Transport` makes and keeps them.

    `on_free` is called when it can carry another exchange, `on_lost` once when it is gone.
    """

    __slots__ = (
        "_done", "_early", "_first_at", "_first_byte_by", "_loop", "_on_free", "_on_lost",
        "_reader", "_sent_at", "_state", "_timer", "_transport", "_unsent", "_whole_by", "_write_s",
        "idle_since",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        reader: AnswerReader,
        write_s: float,
        on_free: Callable[[Link], None],
        on_lost: Callable[[Link], None],
    ) -> None:
        # for the life of the connection
        self._loop = loop
        self._reader = reader
        self._write_s = write_s
        self._on_free = on_free
        self._on_lost = on_lost
        self._transport: asyncio.WriteTransport | None = None
        self._state = State.IDLE
        self._early = False  # an answer began before its request was out
        self.idle_since = 0.0
        # of the present exchange
        self._done: Done | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._first_byte_by = self._whole_by = 0.0  # deadlines, in the loop's time
        self._unsent = 0  # bytes, at the last look
        self._sent_at = self._first_at = 0.0

    # what the transport asks

    @property
    def is_free(self) -> bool:
        """Whether an exchange can begin on it now."""
        transport = self._transport
        return self._state is State.IDLE and transport is not None and not transport.is_closing()

    def send(self, data: bytes, first_byte_s: float, whole_s: float, done: Done) -> None:
        """Begin an exchange; the times are in seconds from now.

        `done` is told once how it ended, after this has returned; not at all after `abort`.
        """
        transport = self._transport
        assert self._state is State.IDLE, "a link in use: a bug"
        assert transport is not None, "a link that was never made: a bug"
        loop = self._loop
        now = loop.time()
        self._first_byte_by, self._whole_by = now + first_byte_s, now + whole_s
        self._done = done
        self._timer = loop.call_later(min(first_byte_s, whole_s), self._on_time)
        self._state = State.WAITING
        self._sent_at = time.monotonic()
        transport.write(data)

    def abort(self) -> None:
        """Close at once and forget the exchange, if there is one: its caller is gone."""
        self._done = None
        self._close()

    def stop(self) -> None:
        """Close at once; an exchange under way fails."""
        self._fail(Fault(Stage.CONNECT, "emr is stopping"))

    # called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def pause_writing(self) -> None:
        """The peer does not take the request as fast as it is given."""
        if self._state is State.WAITING:
            self._state = State.WRITING
            self._unsent = self._buffered()
            self._set_timer()

    def resume_writing(self) -> None:
        """The request is out, but for what the system's buffers hold."""
        if self._state is State.WRITING:
            self._state = State.WAITING
            self._sent_at = time.monotonic()
            self._set_timer()

    def data_received(self, data: bytes) -> None:
        """A piece of the answer, or something that nobody asked for."""
        state = self._state
        if state is State.READING:
            pass
        elif state is State.WAITING:
            self._first_at = time.monotonic()
            self._state = State.READING
        elif state is State.WRITING:
            self._first_at = time.monotonic()
            self._state = State.READING
            self._early = True
        else:
            self._close()
            return
        reader = self._reader
        try:
            reader.feed(data)
        except Fault as fault:
            self._fail(Fault(fault.stage, fault.message))
            return
        if reader.complete:
            self._succeed()

    def eof_received(self) -> bool:
        """The peer closed its side: False makes the loop close ours and call connection_lost."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._state is State.READING and exc is None and self._reader.end():
            self._succeed()
        elif self._done is not None:
            stage, when, _ = _STAGES[self._state]
            did = "closed the connection" if exc is None else "broke the connection"
            stale = self._state is not State.READING
            self._fail(Fault(stage, f"the provider {did} {when}", stale=stale))
        self._state = State.CLOSED
        self._stop_timer()
        self._transport = None
        self._on_lost(self)

    # helpers

    def _succeed(self) -> None:
        """The answer is complete: hand it over, and free or close the link."""
        done, self._done = self._done, None
        reader = self._reader
        answer = Answer(*reader.take(), max(0.0, self._first_at - self._sent_at))
        self._stop_timer()
        if reader.reusable and not self._early:
            self._state = State.IDLE
            self._on_free(self)
        else:
            self._close()
        if done is not None:
            done(answer)

    def _fail(self, fault: Fault) -> None:
        done, self._done = self._done, None
        self._close()
        if done is not None:
            done(fault)

    def _close(self) -> None:
        self._stop_timer()
        self._state = State.CLOSED
        if self._transport is not None:
            self._transport.abort()

    def _buffered(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        """Wake at the first deadline that holds in the present state."""
        self._stop_timer()
        now = self._loop.time()
        wait = self._whole_by - now
        if self._state is not State.READING:
            wait = min(wait, self._first_byte_by - now)
        if self._state is State.WRITING:
            wait = min(wait, self._write_s)
        self._timer = self._loop.call_later(max(0.0, wait), self._on_time)

    def _on_time(self) -> None:
        """A deadline, or a look at whether the peer still takes the request."""
        self._timer = None
        now = self._loop.time() + CLOCK_S
        late = now >= self._whole_by
        if self._state is not State.READING:
            late = late or now >= self._first_byte_by
        if not late and self._state is State.WRITING:
            unsent = self._buffered()
            late, self._unsent = unsent >= self._unsent, unsent
        if late:
            stage, _, what = _STAGES[self._state]
            self._fail(Fault(stage, f"the provider {what} in time", timed_out=True))
        else:
            self._set_timer()
