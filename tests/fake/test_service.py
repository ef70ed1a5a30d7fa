"""Replies that come in parts, or not at all, on a real loop."""

from __future__ import annotations

import asyncio

import pytest

from emr.fake import service
from emr.fake.settings import FakeSettings
from emr.front.exchange import Stage
from emr.lane.refusal import Refusal
from tests.fake.world import Connection, Fake, voyage
from tests.support.aio import run

BODY = voyage("a")
GOOD = Fake(FakeSettings()).ask("/v1/embeddings", BODY).body


def struck(fault: str) -> Fake:
    return Fake(FakeSettings(latency_ms=0.0, faults=fault), asyncio.get_running_loop())


async def until(connection: Connection, condition: str) -> None:
    while not getattr(connection, condition):
        await connection.told.wait()
        connection.told.clear()


def test_a_dripping_reply_comes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "DRIP_S", 0.02)

    async def main() -> None:
        fake = struck("drip")
        exchange, got = fake.send("/v1/embeddings", BODY)
        await until(got, "ended")
        assert (exchange.stage, got.body) == (Stage.DONE, GOOD)
        assert fake.stats()["good"]["calls"] == 1

    run(main())


def test_a_client_that_leaves_a_dripping_reply() -> None:
    async def main() -> None:
        fake = struck("drip")
        exchange, got = fake.send("/v1/embeddings", BODY)
        await until(got, "body")
        exchange.gone()
        await asyncio.sleep(0)
        stats = fake.stats()
        assert (stats["left"]["calls"], stats["good"]["calls"], stats["in_flight"]) == (1, 0, 0)
        assert len(got.body) < len(GOOD) / 2

    run(main())


def test_a_cut_reply_ends_in_its_middle() -> None:
    async def main() -> None:
        fake = struck("cut")
        _, got = fake.send("/v1/embeddings", BODY)
        await until(got, "aborted")
        assert got.body == GOOD[: len(GOOD) // 2]
        await asyncio.sleep(0)
        assert fake.stats()["spoilt"]["calls"] == 1

    run(main())


def test_a_stalled_reply_waits_for_the_client_to_leave() -> None:
    async def main() -> None:
        fake = struck("stall")
        exchange, got = fake.send("/v1/embeddings", BODY)
        await until(got, "body")
        assert got.body == GOOD[: len(GOOD) // 2]
        assert fake.stats()["in_flight"] == 1
        exchange.gone()
        await asyncio.sleep(0)
        assert (got.aborted, fake.stats()["left"]["calls"]) == (False, 1)

    run(main())


def test_a_giant_reply_is_legal_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "GIANT_BYTES", 3 * len(service.GIANT_CHUNK))

    async def main() -> None:
        _, got = struck("giant").send("/v1/embeddings", BODY)
        await until(got, "ended")
        assert len(got.body) == len(GOOD) + 3 * len(service.GIANT_CHUNK)
        assert got.json["model"] == "voyage-code-3"

    run(main())


def test_a_reset_comes_when_the_answer_was_due() -> None:
    fake = Fake(FakeSettings(latency_ms=100.0, faults="reset"))
    _, got = fake.send("/v1/embeddings", BODY)
    fake.clock.advance(0.099)
    assert not got.aborted
    fake.clock.advance(0.001)
    assert (got.aborted, got.status) == (True, 0)
    assert fake.stats()["left"]["calls"] == 1


def test_a_hanging_call_never_ends() -> None:
    fake = Fake(FakeSettings(faults="hang"))
    exchange, got = fake.send("/v1/embeddings", BODY)
    fake.clock.advance(1e6)
    assert got.status == 0
    exchange.gone()
    assert fake.stats()["by_fault"] == {"hang": 1}


def test_a_client_that_leaves_gets_nothing_later() -> None:
    fake = Fake(FakeSettings())
    exchange, got = fake.send("/v1/embeddings", BODY)
    exchange.gone()
    fake.clock.advance(10.0)
    assert got.status == 0
    assert fake.stats()["left"]["calls"] == 1


@pytest.mark.parametrize(
    ("refusal", "status"),
    [(Refusal("timeout", "late"), 408), (Refusal("too_large", "big"), 413),
     (Refusal("too_large", "big", status=431), 431), (Refusal("bad_request", "bad"), 400)],
)  # fmt: skip
def test_the_servers_own_refusals(refusal: Refusal, status: int) -> None:
    fake = Fake()
    assert fake.service.admit(fake.send("/v1/embeddings", BODY)[0]) is None
    got, headers, body = fake.service.render(None, refusal)
    assert (got, headers) == (status, [(b"Content-Type", b"application/json")])
    assert refusal.message.encode() in body
