"""The intake of a connection: makes turns of what a client sends, and hands them to the service.

Rules of this file. Requests are read while there is room for them: past the limit of pipelined
ones, or of the bytes that wait in them, the client is held. The intake is over after the last
request that the client may make: one with `Connection: close`, any in a drain, a refusal that
leaves bytes of a body unread, a refusal of the server itself. What comes after it is dropped.
"""

from __future__ import annotations

from emr.front.answers import Answers, Turn
from emr.front.exchange import Stage
from emr.front.patience import Awaits, Patience
from emr.front.register import Register
from emr.front.wire import Part, Reader, Signal
from emr.lane.refusal import Refusal

# See wire: members are slow to reach.
_MORE, _HEAD, _END, _IN_HEAD = Signal.MORE, Signal.HEAD, Signal.END, Part.HEAD
_READING, _WAITING = Stage.READING, Stage.WAITING
_NOTHING, _NEXT, _REST_OF_HEAD = Awaits.NOTHING, Awaits.NEXT, Awaits.HEAD


class Intake:
    """Its whole state beside the reader's: whether it is over, and whether it lost input.

    `is_over`: nothing more is read. `is_input_lost`: bytes of the client were not read, or will
    not be, so that the connection may not be closed at once.
    """

    __slots__ = (
        "_answers", "_patience", "_peer", "_reader", "_register", "is_advancing",
        "is_input_lost", "is_over",
    )  # fmt: skip

    def __init__(
        self, register: Register, reader: Reader, answers: Answers, patience: Patience, peer: str
    ) -> None:
        self._register = register
        self._reader = reader
        self._answers = answers
        self._patience = patience
        self._peer = peer
        self.is_advancing = False
        self.is_over = False
        self.is_input_lost = False

    def take(self, data: bytes) -> None:
        """Bytes came."""
        if self.is_over:
            self.is_input_lost = True
        else:
            if self._reader.held:
                self._reader.feed(data)
            else:
                self._reader.held = data
            self.advance()

    def advance(self) -> None:
        """Read requests as long as there are any, and room for them."""
        if self.is_advancing or self.is_over:
            return
        self.is_advancing = True  # not again, when a request is answered while it is handled
        reader, answers = self._reader, self._answers
        while not self.is_over:
            if (answers.turns or answers.is_paused) and not self._has_room():
                break
            signal = reader.read()
            if signal is _HEAD:
                self._begin()
            elif signal is _END:
                self._handle()
                if not reader.held:
                    break
            elif signal is _MORE:
                break
            elif reader.refusal is not None:
                self.refuse(reader.refusal)
        self.is_advancing = False
        if not self.is_over:
            self._settle()

    def refuse(self, refusal: Refusal) -> None:
        """The server itself refuses, and reads no more from this client."""
        turns, line = self._answers.turns, self._reader.head.line
        known = bool(turns) and turns[-1].stage is _READING
        if not known:
            turns.append(Turn(self._answers, line))
        turn = turns[-1]
        if not known and line is not None:
            turn.headers = self._reader.head.headers
        turn.wants_continue = False
        self.end(turn)
        self.is_input_lost = True
        status, headers, body = self._register.service.render(
            None if line is None else turn, refusal
        )
        self._register.count_refused(status)
        turn.reply(status, headers, body)

    def end(self, turn: Turn) -> None:
        """Read no more: the connection ends with the answer of this turn, which is the last."""
        turn.closes = True
        self.is_over = True
        self.is_input_lost = self._reader.has_unread
        self._patience.let_send()  # to see it leave; what it sends is dropped
        self._patience.wait_for(_NOTHING)

    def release(self) -> None:
        """The connection is gone."""
        self.is_over = True
        self._reader.release()

    @property
    def is_between_requests(self) -> bool:
        """Whether the client owes nothing of a request that it began."""
        return self._reader.is_between_requests

    def _has_room(self) -> bool:
        """Whether to read on: the rest of a request, or a next one."""
        if self._answers.is_paused:
            return False
        turns = self._answers.turns
        if not turns or turns[-1].stage is _READING:
            return True
        limits = self._register.limits
        waiting = sum(turn.body_bytes for turn in turns)
        return len(turns) < limits.max_pipelined and waiting < limits.max_body_bytes

    def _settle(self) -> None:
        """All was read that could be: hold the client or not, and wait for what it owes."""
        reader, patience, turns = self._reader, self._patience, self._answers.turns
        if (turns or self._answers.is_paused) and not self._has_room():
            patience.hold()
            return
        if patience.is_held:
            patience.let_send()
        if reader.part is _IN_HEAD and not reader.held:
            if turns:
                patience.wait_for(_NOTHING)
            elif patience.awaits is not _REST_OF_HEAD:  # empty lines are not the first request
                patience.wait_for(_NEXT)
        elif reader.part is _IN_HEAD:
            patience.wait_for(_REST_OF_HEAD)
        else:
            patience.wait_for(Awaits.BODY)
            if turns[-1].wants_continue and not reader.is_body_begun:
                self._answers.send_continue(turns[-1])

    def _begin(self) -> None:
        """A head is complete."""
        reader = self._reader
        turn = Turn(self._answers, reader.head.line)
        turn.headers = reader.head.headers
        turn.peer = self._peer
        turn.wants_continue = reader.expects_continue
        self._answers.turns.append(turn)
        self._register.requests += 1
        refusal = self._register.service.admit(turn)
        if refusal is None:
            return
        turn.wants_continue = False
        if reader.read() is _END:
            self._complete(turn)
            reader.forget()
        else:
            self.end(turn)  # the body is still to come, and nobody will read it
        turn.reply(*self._register.service.render(turn, refusal))

    def _handle(self) -> None:
        """A request is complete."""
        turn, reader = self._answers.turns[-1], self._reader
        turn.body = body = reader.body
        turn.body_bytes = len(body)
        reader.forget()
        turn.wants_continue = False
        turn.stage = _WAITING
        self._complete(turn)
        self._register.service.handle(turn)

    def _complete(self, turn: Turn) -> None:
        """The client owes nothing more of this request; perhaps it was its last."""
        self._patience.rest()
        if not self._reader.keeps_alive or self._register.is_draining:
            self.end(turn)
