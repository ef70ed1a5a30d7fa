"""The ladder of a drain, without sockets: who is let finish, who is told, who is broken off."""

from __future__ import annotations

import asyncio

from emr.front.connection import Connection
from emr.front.exchange import ServerLimits, Stage
from emr.front.listener import Listener
from emr.front.register import Unfinished
from tests.front.cases import fields, post
from tests.support.aio import run
from tests.support.server import Client, Clock, Echo, FakeTransport, Server

GET = fields()


class Draining:
    """A listener without sockets, whose clock the test moves while it drains."""

    def __init__(self, limits: ServerLimits | None = None) -> None:
        self.clock = Clock()
        self.service = Echo()
        self.service.is_holding = True
        self.listener = Listener(self.service, limits, self.clock, self.clock.wall)
        self._register = self.listener._register
        self._server = Server(limits, self.service)
        self.clients: list[Client] = []

    def connect(self) -> Client:
        connection = Connection(self._register, self._register.hosts)
        self.clients.append(Client(self._server, connection))
        return self.clients[-1]

    async def turn(self) -> None:
        """Let the loop turn: what was closed is lost, and who waits for it goes on."""
        for _ in range(3):
            await asyncio.sleep(0)
            for client in self.clients:
                client.transport.settle()

    async def pass_time(self, seconds: float) -> None:
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + 0.25)
            self.listener.sweep()
            await self.turn()


def test_with_nobody_there_it_is_over_at_once() -> None:
    async def main() -> None:
        draining = Draining()
        assert await draining.listener.drain() == []
        assert draining.listener.is_draining

    run(main())


def test_an_idle_connection_is_closed_at_once() -> None:
    async def main() -> None:
        draining = Draining()
        client = draining.connect()
        client.send(GET)
        draining.service.answer(draining.service.handled[0])
        await draining.pass_time(5.0)
        drain = asyncio.ensure_future(draining.listener.drain())
        await draining.turn()
        assert client.transport.is_lost
        assert not client.transport.is_aborted
        await draining.turn()
        assert drain.done()

    run(main())


def test_a_connection_that_was_busy_a_moment_ago_gets_half_a_second() -> None:
    async def main() -> None:
        draining = Draining()
        quiet, quick = draining.connect(), draining.connect()
        for client in (quiet, quick):
            client.send(GET)
            draining.service.answer(draining.service.handled[-1])
        drain = asyncio.ensure_future(draining.listener.drain())
        await draining.turn()
        quick.send(GET)
        draining.service.answer(draining.service.handled[-1])
        assert quick.statuses == [200, 200]
        assert quick.answers[1].headers["connection"] == "close"
        assert not quiet.transport.is_ended
        await draining.pass_time(0.75)
        assert quiet.transport.is_lost
        assert drain.done()

    run(main())


def test_a_fresh_connection_may_still_ask() -> None:
    async def main() -> None:
        draining = Draining()
        asked, silent = draining.connect(), draining.connect()
        drain = asyncio.ensure_future(draining.listener.drain())
        await draining.turn()
        late = draining.connect()
        for client in (asked, late):
            client.send(GET[:9])
        await draining.pass_time(1.0)
        assert silent.transport.is_lost
        for client in (asked, late):
            client.send(GET[9:])
            draining.service.answer(draining.service.handled[-1])
            assert client.statuses == [200]
            assert client.answers[0].headers["connection"] == "close"
        await draining.turn()
        assert drain.done()

    run(main())


def test_requests_in_flight_are_finished() -> None:
    async def main() -> None:
        draining = Draining()
        client = draining.connect()
        client.send(GET + GET)
        drain = asyncio.ensure_future(draining.listener.drain())
        await draining.turn()
        client.send(GET)  # not read any more
        assert len(draining.service.handled) == 2
        await draining.pass_time(20.0)
        for exchange in draining.service.handled:
            assert not drain.done()
            draining.service.answer(exchange)
        first, second = client.answers
        assert "connection" not in first.headers
        assert second.headers["connection"] == "close"
        assert client.transport.is_eof_written, "a request was dropped unread"
        await draining.pass_time(1.0)
        assert drain.done()
        assert drain.result() == []

    run(main())


def test_a_body_that_is_being_read_is_read() -> None:
    async def main() -> None:
        draining = Draining()
        client = draining.connect()
        client.send(post(b"Content-Length: 5", body=b"he"))
        drain = asyncio.ensure_future(draining.listener.drain())
        await draining.turn()
        client.send(b"llo")
        draining.service.answer(draining.service.handled[0])
        assert client.answers[0].body == b"POST /?:hello"
        assert client.answers[0].headers["connection"] == "close"
        await draining.turn()
        assert drain.done()

    run(main())


def test_a_head_that_is_being_read_still_has_its_limit() -> None:
    async def main() -> None:
        draining = Draining()
        client = draining.connect()
        client.send(GET[:9])
        drain = asyncio.ensure_future(draining.listener.drain())
        await draining.pass_time(9.75)
        assert not drain.done()
        await draining.pass_time(2.0)
        assert client.statuses == [408]
        assert drain.done()

    run(main())


def test_one_request_more_at_most() -> None:
    async def main() -> None:
        draining = Draining()
        draining.service.is_holding = False
        client = draining.connect()
        client.send(GET)
        drain = asyncio.ensure_future(draining.listener.drain())
        await draining.turn()
        client.send(GET * 5)
        assert client.statuses == [200, 200]
        assert client.transport.is_ended
        await draining.pass_time(1.0)
        assert drain.done()

    run(main())


def test_at_the_limit_what_is_left_is_broken_off_and_named() -> None:
    async def main() -> None:
        draining = Draining()
        waiting, reading = draining.connect(), draining.connect()
        waiting.send(b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\n")
        waiting.send(b"Host: a\r\n\r\n")
        draining.service.answer(draining.service.handled[1])  # done, behind one that is not
        reading.send(b"PUT /c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        drain = asyncio.ensure_future(draining.listener.drain(7.0))
        await draining.pass_time(6.75)
        assert not drain.done()
        assert len(draining.listener.unfinished()) == 2
        await draining.pass_time(0.5)
        assert drain.done()
        assert sorted(drain.result(), key=lambda left: left.path) == [
            Unfinished("127.0.0.1:5000", "PUT", "/c", Stage.READING),
            Unfinished("127.0.0.1:5000", "POST", "/v1/embeddings", Stage.WAITING),
        ]
        for client in (waiting, reading):
            assert client.transport.is_aborted
            assert client.transport.socket.options
        assert draining.service.gone == [draining.service.handled[0]]

    run(main())


def test_asked_again_it_breaks_off_at_once() -> None:
    async def main() -> None:
        draining = Draining()
        client = draining.connect()
        client.send(GET)
        first = asyncio.ensure_future(draining.listener.drain())
        await draining.turn()
        cut = await draining.listener.drain()
        await draining.turn()
        assert client.transport.is_aborted
        assert [left.path for left in cut] == ["/"]
        assert first.done()
        assert first.result() == cut

    run(main())


def test_a_client_that_does_not_take_its_answer_is_waited_for_until_the_limit() -> None:
    async def main() -> None:
        draining = Draining(ServerLimits(drain_s=5.0))
        client = draining.connect()
        client.transport.is_client_taking = False
        client.send(GET)
        draining.service.handled[0].reply(200, [], b"x" * 100_000)
        drain = asyncio.ensure_future(draining.listener.drain())
        await draining.pass_time(4.75)
        assert not drain.done()
        assert isinstance(client.transport, FakeTransport)
        await draining.pass_time(0.5)
        assert drain.done()
        assert client.transport.is_aborted

    run(main())


def test_a_connection_that_is_ending_already_is_left_to_it() -> None:
    async def main() -> None:
        draining = Draining()
        lingering, owed = draining.connect(), draining.connect()
        lingering.send(b"BROKEN\r\n\r\n")
        owed.send(fields(b"Connection: close"))
        drain = asyncio.ensure_future(draining.listener.drain())
        await draining.turn()
        assert not lingering.transport.is_closed
        await draining.pass_time(1.0)
        assert lingering.transport.is_lost
        assert not drain.done()
        draining.service.answer(draining.service.handled[0])
        await draining.turn()
        assert drain.done()
        assert drain.result() == []

    run(main())


def test_close_breaks_off_without_a_drain() -> None:
    async def main() -> None:
        draining = Draining()
        client = draining.connect()
        client.send(GET)
        draining.listener.close()
        assert client.transport.is_aborted
        assert draining.listener.is_draining
        draining.listener.close()

    run(main())
