"""Both loops against a real server on loopback: what they send, count and give up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import pytest

from emr.cli.load.check import Checker
from emr.cli.load.engine import ClosedLoop, Engine, Load, OpenLoop, Shot, Target, find_model
from emr.cli.load.link import Link
from emr.cli.load.results import Results
from emr.cli.load.work import Ask, Requests, Texts
from emr.fake.server import FakeServer
from emr.fake.settings import FakeSettings
from tests.support.aio import run

ASK = Ask("voyage", "voyage-code-3", texts=2)


def engine(
    fake: FakeServer, load: Load, keys: tuple[str, ...] = ("k",), port: int | None = None
) -> Engine:
    host, _, fakes_port = fake.address.rpartition(":")
    loop = OpenLoop if load.rate else ClosedLoop
    texts = Texts(["some words", "more words"], 0, 1)
    requests = Requests(ASK, texts, fake.address, "/v1/embeddings", list(keys))
    return loop(Target(host, port or int(fakes_port)), load, requests, Checker(ASK))


def loaded(
    load: Load,
    keys: tuple[str, ...] = ("k",),
    then: Callable[[FakeServer], None] | None = None,
    **settings: Any,
) -> Results:
    async def main() -> Results:
        given = {"latency_ms": 0.0, "refusal_ms": 0.0} | settings
        async with FakeServer(FakeSettings(**given)) as fake:
            results = await engine(fake, load, keys).run()
            if then is not None:
                then(fake)
            return results

    return run(main())


def test_a_count_of_requests_from_some_callers() -> None:
    def then(fake: FakeServer) -> None:
        provider = fake.service.provider
        assert provider.tally.calls == 200
        assert provider.tally.by_size == {2: 200}
        assert provider.calls.most_seen == 8

    results = loaded(Load((8,), count=200), then=then, latency_ms=5.0)
    assert (results.answered, results.checked, results.in_time) == (200, 400, 200)
    assert results.errors == {}
    assert results.statuses == {200: 200}
    assert min(results.good[0]) >= 0.004  # the loop's timers may come a millisecond early
    assert results.seconds > 0.0


def test_more_callers_than_requests() -> None:
    assert loaded(Load((50,), count=3)).answered == 3


def test_callers_of_several_keys() -> None:
    results = loaded(Load((1, 0, 3), count=400), keys=("a", "b", "c"), latency_ms=2.0)
    sizes = [len(times) for times in results.good]
    assert sizes[1] == 0
    assert sizes[2] == pytest.approx(3 * sizes[0], rel=0.5)


def test_a_time_of_load() -> None:
    results = loaded(Load((2,), seconds=0.2), latency_ms=5.0)
    assert 0 < results.answered <= 82
    assert results.seconds == pytest.approx(0.2)
    assert results.in_time >= results.answered - 2


def test_a_warm_up_is_not_counted() -> None:
    results = loaded(Load((2,), seconds=0.1, warmup_s=0.2), latency_ms=5.0)
    assert results.total > results.answered > 0
    assert results.seconds == pytest.approx(0.1)


def test_a_rate() -> None:
    results = loaded(Load(rate=400.0, seconds=0.5, seed=3), keys=("a", "b"))
    assert results.answered == pytest.approx(200, abs=50)
    assert abs(len(results.good[0]) - len(results.good[1])) <= 1
    assert len(results.lag) == results.answered
    assert results.errors == {}


def test_a_rate_counts_from_when_requests_were_due() -> None:
    # one connection, 20 ms a call, 100 requests a second asked: each waits for all before it
    results = loaded(Load(rate=100.0, count=30, most_links=1), latency_ms=20.0)
    assert results.answered == 30
    assert max(results.good[0]) > 0.2
    assert max(results.lag) > 0.15


def test_refusals_are_counted_apart() -> None:
    results = loaded(Load((2,), count=10), rpm=4.0)
    assert (results.answered, len(results.refused)) == (4, 6)
    assert results.statuses == {200: 4, 429: 6}
    assert "rate limit" in results.examples["status 429"]


def test_wrong_vectors_are_errors_even_while_warming_up() -> None:
    results = loaded(Load((1,), count=3), faults="shuffled")
    assert results.errors == {"wrong vector": 3}
    assert (results.answered, results.checked) == (0, 0)
    assert loaded(Load((1,), seconds=0.01, warmup_s=0.1), faults="nan").errors["wrong vector"] > 0


@pytest.mark.parametrize("rate", [0.0, 1000.0])
@pytest.mark.parametrize(
    ("fault", "kind"), [("reset", "connection lost"), ("cut", "connection lost")]
)
def test_broken_connections_are_replaced(fault: str, kind: str, rate: float) -> None:
    results = loaded(Load((2,), rate, count=6), faults=fault)
    assert results.errors == {kind: 6}


@pytest.mark.parametrize("rate", [0.0, 1000.0])
def test_answers_that_do_not_come_are_given_up(rate: float) -> None:
    def then(fake: FakeServer) -> None:
        assert fake.service.provider.tally.calls == 3

    results = loaded(Load((3,), rate, count=3, timeout_s=0.15), then=then, faults="hang")
    assert results.errors == {"timeout": 3}


def test_chunked_answers_are_read() -> None:
    async def main() -> Results:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while b"]" in await reader.read(10_000):  # nothing, when the client is gone
                writer.write(b"HTTP/1.1 200 OK\r\nx-emr-model: m-1\r\n")
                writer.write(b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
            writer.close()
            gone.set()

        gone = asyncio.Event()
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        requests = Requests(Ask(), Texts(["a"], 0, 1), "h", "/", [])
        results = await ClosedLoop(Target("127.0.0.1", port), Load((1,), count=4), requests).run()
        await gone.wait()
        server.close()
        return results

    results = run(main())
    assert (results.answered, results.models) == (4, {"m-1": 4})


def test_a_unix_socket(tmp_path: Path) -> None:
    async def main() -> Results:
        path = str(tmp_path / "fake.sock")
        async with FakeServer(FakeSettings(latency_ms=0.0), f"unix:{path}"):
            requests = Requests(ASK, Texts(["a"], 0, 1), "h", "/v1/embeddings", ["k"])
            return await ClosedLoop(Target(socket=path), Load((2,), count=6), requests).run()

    assert run(main()).answered == 6


@pytest.mark.parametrize("rate", [0.0, 100.0])
def test_nobody_there(rate: float) -> None:
    async def main() -> Results:
        async with FakeServer(FakeSettings()) as fake:
            pass
        return await engine(fake, Load((2,), rate, count=3)).run()

    results = run(main())
    assert results.errors == {"connect": 3}
    assert "connect" in results.examples


@pytest.mark.parametrize("rate", [0.0, 500.0])
def test_it_can_be_stopped(rate: float) -> None:
    async def main() -> Results:
        async with FakeServer(FakeSettings(latency_ms=20.0)) as fake:
            load = engine(fake, Load((2,), rate, most_links=2))
            asyncio.get_running_loop().call_later(0.1, load.stop)
            return await load.run()

    results = run(main(), timeout_s=5.0)
    assert results.answered > 0
    assert results.seconds < 1.0
    assert results.errors == {}


def test_an_engine_that_breaks_says_so() -> None:
    class Broken(ClosedLoop):
        def _send(self, link: Link, shot: Shot) -> None:
            raise LookupError("a bug")

    async def main() -> None:
        async with FakeServer(FakeSettings()) as fake:
            host, _, port = fake.address.rpartition(":")
            requests = Requests(ASK, Texts(["a"], 0, 1), "h", "/", [])
            await Broken(Target(host, int(port)), Load((1,), count=1), requests).run()

    with pytest.raises(LookupError, match="a bug"):
        run(main())


def test_defaults_have_no_end_of_their_own() -> None:
    assert (Load().seconds, Load().count) == (inf, 0)


@pytest.mark.parametrize(
    ("head", "model"),
    [(b"HTTP/1.1 200 OK\r\nX-Emr-Model: voyage-code-3\r\n", "voyage-code-3"),
     (b"HTTP/1.1 200 OK\r\nx-emr-model:m\r\nA: b\r\n", "m"), (b"HTTP/1.1 200 OK\r\n", "")],
)  # fmt: skip
def test_the_model_that_answered(head: bytes, model: str) -> None:
    assert find_model(head) == model
