"""One connection, driven by hand: a fake loop whose time is a number, a fake socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from emr.upstream.answer import AnswerReader
from emr.upstream.fault import Fault, Stage
from emr.upstream.link import Answer, Ended, Link

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"


class FakeTimer:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """Time is a number; `run_to` lets it pass."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[FakeTimer] = []
        self._real = asyncio.new_event_loop()

    def time(self) -> float:
        return self.now

    def create_future(self) -> asyncio.Future[Any]:
        return self._real.create_future()

    def call_later(self, delay: float, call: Callable[[], None]) -> FakeTimer:
        assert delay >= 0.0
        self.timers.append(FakeTimer(self.now + delay, call))
        return self.timers[-1]

    @property
    def waiting(self) -> list[FakeTimer]:
        return [timer for timer in self.timers if not timer.cancelled]

    def run_to(self, now: float) -> None:
        while due := [timer for timer in self.waiting if timer.at <= now]:
            first = min(due, key=lambda timer: timer.at)
            self.timers.remove(first)
            self.now = max(self.now, first.at)
            first.call()
        self.now = now

    def close(self) -> None:
        self._real.close()


class FakeSocket:
    """The transport of the event loop, as far as a link asks for it."""

    def __init__(self) -> None:
        self.written = b""
        self.buffered = 0
        self.aborted = False

    def write(self, data: bytes) -> None:
        assert not self.aborted
        self.written += data

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def get_write_buffer_size(self) -> int:
        return self.buffered


class Rig:
    """A connected link between a fake loop and a fake socket."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.socket = FakeSocket()
        self.freed: list[Link] = []
        self.lost: list[Link] = []
        loop: Any = self.loop
        self.link = Link(loop, AnswerReader(1000), 5.0, self.freed.append, self.lost.append)
        socket: Any = self.socket
        self.link.connection_made(socket)

    def send(self, first_byte_s: float = 10.0, whole_s: float = 60.0) -> asyncio.Future[Ended]:
        future: asyncio.Future[Ended] = self.loop.create_future()
        self.link.send(b"request", first_byte_s, whole_s, future.set_result)
        return future

    def close(self) -> None:
        self.loop.close()


@pytest.fixture
def rig() -> Any:
    rig = Rig()
    yield rig
    assert rig.loop.waiting == [], "a timer is left behind"
    rig.close()


def fault_of(future: asyncio.Future[Ended]) -> Fault:
    ended = future.result()
    assert isinstance(ended, Fault)
    return ended


def body_of(future: asyncio.Future[Ended]) -> bytes:
    ended = future.result()
    assert isinstance(ended, Answer)
    return ended.body


def test_an_exchange_frees_the_link(rig: Rig) -> None:
    assert rig.link.is_free
    future = rig.send()
    assert not rig.link.is_free
    assert rig.socket.written == b"request"
    rig.link.data_received(OK)
    assert body_of(future) == b"ok"
    assert rig.freed == [rig.link]
    assert rig.link.is_free
    assert not rig.socket.aborted


def test_a_link_carries_one_exchange_at_a_time(rig: Rig) -> None:
    future = rig.send()
    with pytest.raises(AssertionError, match="a bug"):
        rig.send()
    rig.link.data_received(OK)
    assert future.done()


@pytest.mark.parametrize("data", [b"x", OK, b"HTTP/1.1 408 Timeout\r\n\r\n", b"\r\n"])
def test_what_comes_to_an_idle_link_closes_it(rig: Rig, data: bytes) -> None:
    rig.link.data_received(data)
    assert rig.socket.aborted
    assert not rig.link.is_free


def test_what_comes_to_a_closed_link_is_dropped(rig: Rig) -> None:
    future = rig.send()
    rig.link.abort()
    rig.link.data_received(OK)
    rig.link.connection_lost(None)
    assert not future.done()
    assert rig.lost == [rig.link]
    assert rig.freed == []


@pytest.mark.parametrize("error", [None, ConnectionResetError(), OSError()])
def test_a_body_without_a_length_is_complete_only_after_an_orderly_close(
    rig: Rig, error: Exception | None
) -> None:
    future = rig.send()
    rig.link.data_received(UNTIL_CLOSE)
    assert not future.done()
    rig.link.connection_lost(error)
    if error is None:
        assert body_of(future) == b"hello"
    else:
        assert fault_of(future).stage is Stage.BODY
    assert rig.lost == [rig.link]
    assert rig.freed == []


@pytest.mark.parametrize(
    ("data", "stage", "stale"),
    [(b"", Stage.FIRST_BYTE, True), (b"H", Stage.BODY, False), (OK[:-1], Stage.BODY, False)],
)
def test_a_connection_that_is_lost(rig: Rig, data: bytes, stage: Stage, stale: bool) -> None:
    future = rig.send()
    if data:
        rig.link.data_received(data)
    rig.link.connection_lost(ConnectionResetError())
    fault = fault_of(future)
    assert (fault.stage, fault.stale, fault.timed_out) == (stage, stale, False)


def test_a_connection_lost_while_the_request_is_written_is_stale(rig: Rig) -> None:
    future = rig.send()
    rig.link.pause_writing()
    rig.link.connection_lost(BrokenPipeError())
    fault = fault_of(future)
    assert (fault.stage, fault.stale) == (Stage.WRITE, True)


# time


def test_the_first_byte_has_its_deadline(rig: Rig) -> None:
    future = rig.send(first_byte_s=10.0, whole_s=60.0)
    rig.loop.run_to(109.9)
    assert not future.done()
    rig.loop.run_to(110.0)
    fault = fault_of(future)
    assert (fault.stage, fault.timed_out, fault.stale) == (Stage.FIRST_BYTE, True, False)
    assert rig.socket.aborted


def test_after_the_first_byte_the_whole_has_its_own(rig: Rig) -> None:
    future = rig.send(first_byte_s=10.0, whole_s=60.0)
    rig.loop.run_to(109.0)
    rig.link.data_received(b"HTTP/1.1")
    rig.loop.run_to(159.9)
    assert not future.done()
    rig.loop.run_to(160.0)
    assert (fault_of(future).stage, fault_of(future).timed_out) == (Stage.BODY, True)


@pytest.mark.parametrize(("first_byte_s", "whole_s"), [(60.0, 10.0), (10.0, 10.0)])
def test_the_whole_bounds_the_first_byte(rig: Rig, first_byte_s: float, whole_s: float) -> None:
    future = rig.send(first_byte_s, whole_s)
    rig.loop.run_to(110.0)
    assert fault_of(future).stage is Stage.FIRST_BYTE


def test_no_time_at_all(rig: Rig) -> None:
    future = rig.send(0.0, 0.0)
    rig.loop.run_to(100.0)
    assert fault_of(future).timed_out


def test_a_request_that_is_not_taken_is_given_up(rig: Rig) -> None:
    future = rig.send(first_byte_s=50.0)
    rig.socket.buffered = 1000
    rig.link.pause_writing()
    rig.loop.run_to(104.9)
    assert not future.done()
    rig.loop.run_to(105.0)
    assert (fault_of(future).stage, fault_of(future).timed_out) == (Stage.WRITE, True)


def test_a_request_that_is_taken_slowly_is_not(rig: Rig) -> None:
    future = rig.send(first_byte_s=50.0)
    rig.socket.buffered = 1000
    rig.link.pause_writing()
    for step in range(1, 9):
        rig.socket.buffered -= 1
        rig.loop.run_to(100.0 + 5.0 * step)
        assert not future.done()
    rig.loop.run_to(145.0)  # no progress since
    assert fault_of(future).stage is Stage.WRITE


def test_the_first_byte_bounds_the_writing(rig: Rig) -> None:
    future = rig.send(first_byte_s=3.0)
    rig.socket.buffered = 1000
    rig.link.pause_writing()
    rig.loop.run_to(103.0)
    assert (fault_of(future).stage, fault_of(future).timed_out) == (Stage.WRITE, True)


def test_after_the_writing_the_first_byte_is_waited_for(rig: Rig) -> None:
    future = rig.send(first_byte_s=30.0)
    rig.link.pause_writing()
    rig.link.resume_writing()
    rig.loop.run_to(129.9)
    assert not future.done()
    rig.loop.run_to(130.0)
    assert fault_of(future).stage is Stage.FIRST_BYTE


def test_an_early_answer_is_taken_and_the_link_closed(rig: Rig) -> None:
    future = rig.send()
    rig.link.pause_writing()
    rig.link.data_received(OK[:20])
    rig.link.resume_writing()
    rig.link.data_received(OK[20:])
    assert body_of(future) == b"ok"
    assert rig.freed == []
    assert rig.socket.aborted


def test_pauses_of_an_idle_link_mean_nothing(rig: Rig) -> None:
    rig.link.pause_writing()
    rig.link.resume_writing()
    assert rig.link.is_free


def test_stop_fails_what_is_under_way(rig: Rig) -> None:
    future = rig.send()
    rig.link.stop()
    assert "stopping" in fault_of(future).message
    assert rig.socket.aborted
