"""Until when a connection waits for its client: to send what it owes, and to take what it is owed.

Two deadlines stand side by side, because a client can fail at both at once. They are written down
here and looked at by the register's sweep. While a client is held, because too many of its
requests wait or it does not take its answers, nothing is read and the time for what it owes
stands still.
"""

from __future__ import annotations

import asyncio
from enum import Enum

from emr.front.register import NEVER, Register

# A client that takes less than this in `write_stall_s` has stalled: half a KiB a second is slower
# than any link, and a client must not hold an answer by taking a byte of it now and then.
STALL_BYTES = 16 * 1024


class Awaits(Enum):
    """What a connection waits for from its client."""

    NOTHING = "nothing"  # it is our turn
    NEXT = "next"  # a next request; none must come
    HEAD = "head"  # the rest of a head, or the first request of all
    BODY = "body"
    SILENCE = "silence"  # the end of what it still sends, after the last answer


_NOTHING, _NEXT = Awaits.NOTHING, Awaits.NEXT  # see wire: members are slow to reach


class Patience:
    """What one connection waits for, until when, and how much its client had taken by then."""

    __slots__ = (
        "_left_s", "_register", "_taken", "_transport", "awaits", "is_held", "read_deadline",
        "write_deadline",
    )  # fmt: skip

    def __init__(self, register: Register, transport: asyncio.Transport) -> None:
        self._register = register
        self._transport = transport
        # for what it should send
        self.awaits = _NOTHING
        self.read_deadline = NEVER
        self.is_held = False
        self._left_s = NEVER  # of the read deadline, while the client is held
        # for what it should take
        self.write_deadline = NEVER
        self._taken = 0  # bytes, at the time when the write deadline was set

    def rest(self) -> None:
        """The client owes nothing more of what it began."""
        self.awaits = _NOTHING
        self.read_deadline = NEVER

    def wait_for(self, awaits: Awaits) -> None:
        """From now on wait for this; the time starts anew when it is something else."""
        if awaits is self.awaits:
            return
        self.awaits = awaits
        register = self._register
        if awaits is _NEXT:  # as of the last sweep: nobody counts on the last second
            self.read_deadline = register.now + register.limits.keepalive_s
        elif awaits is _NOTHING:
            self.read_deadline = NEVER
        elif awaits is Awaits.HEAD:
            self.read_deadline = register.clock() + register.limits.head_timeout_s
        elif awaits is Awaits.BODY:
            self.read_deadline = register.clock() + register.limits.body_timeout_s
        else:
            self.read_deadline = register.clock() + register.limits.linger_s

    def hold(self) -> None:
        """Read nothing from the client for now."""
        if not self.is_held:
            self.is_held = True
            self._transport.pause_reading()
            self._left_s = self.read_deadline - self._register.clock()
            self.read_deadline = NEVER

    def let_send(self) -> None:
        """Read from the client again; it has as long as it had left."""
        if self.is_held:
            self.is_held = False
            self._transport.resume_reading()
            self.read_deadline = self._register.clock() + self._left_s

    def extend(self, seconds: float) -> None:
        """Wait a little longer for the same thing."""
        self.read_deadline = self._register.clock() + seconds

    def watch(self, taken: int) -> None:
        """The client has taken this many bytes, and must take more from now on."""
        self._taken = taken
        self.write_deadline = self._register.clock() + self._register.limits.write_stall_s

    def is_stalled(self, taken: int) -> bool:
        """At the write deadline: whether it took too few; if not, it gets as long again."""
        if taken - self._taken < STALL_BYTES:
            return True
        self.watch(taken)
        return False
