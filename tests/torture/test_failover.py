"""Of two providers of a model one dies under 200 callers: nobody notices, and it works again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import uvloop

from emr.fake.server import FakeServer
from emr.fake.settings import FakeSettings
from tests.support.processes import PROVIDER_KEY
from tests.support.running import running
from tests.torture.failover import (
    LONELY,
    MODEL,
    Crowd,
    Seen,
    health,
    is_right,
    parts_of,
    rows,
    run_course,
)

SETTINGS = FakeSettings(latency_ms=20.0, keys=PROVIDER_KEY)
CALLERS, ANSWERS = 200, 400
WAIT_S = 30.0


async def course(folder: Path) -> tuple[list[Seen], list[float]]:
    """What everybody was told, and when the spans began."""
    async with FakeServer(SETTINGS) as a, FakeServer(SETTINGS) as b:
        again = FakeServer(SETTINGS, a.address)
        config = rows(a.url, b.url, "V_API_KEY") + health(1)
        async with running(folder, config, V_API_KEY=PROVIDER_KEY) as emr:
            crowd = Crowd(str(emr.http.base_url), emr.key, CALLERS, 5)

            async def both() -> None:
                await asyncio.gather(crowd.until("a", ANSWERS), crowd.until("b", ANSWERS))

            async def one() -> None:
                await crowd.until("b", 2 * ANSWERS)

            async with asyncio.timeout(WAIT_S):
                begins = await run_course(crowd, a.stop, again.start, [both, one, both])
        await again.stop()
    return crowd.seen, begins


def test_one_of_two_dies_and_returns(tmp_path: Path) -> None:
    seen, begins = uvloop.run(course(tmp_path))
    assert is_right(seen, begins), [one.told for one in seen if one.told][:5]
    dead = parts_of(seen, begins, MODEL)[1]
    # what had arrived at the dying one before; and nothing that came after
    assert dead.by_provider["b"] > 10 * dead.by_provider["a"]
    # a model whose only provider died: no vector of another, whatever its length
    lonely = [one for one in seen if one.model == LONELY]
    assert {one.provider for one in lonely if one.status == 200} == {"lonely"}
    assert not [one for one in lonely if begins[1] + 1.0 < one.at < begins[2] and one.status == 200]


def test_a_wrong_vector_a_failure_and_a_silent_twin_are_seen() -> None:
    def seen(at: float, provider: str = "a", status: int = 200, right: bool = True) -> Seen:
        return Seen(at, 0.1, MODEL, provider, status, right, "")

    good = [seen(at + 0.5, who) for at in range(4) for who in ("a", "b")]
    begins = [0.0, 1.0, 2.0, 3.0]
    assert is_right(good, begins)
    assert not is_right([*good, seen(1.5, right=False)], begins)
    assert not is_right([*good, seen(1.5, status=502)], begins)
    assert not is_right([one for one in good if one.at < 3 or one.provider == "b"], begins)
    assert not is_right([one for one in good if not 1 < one.at < 2], begins)
    lonely = Seen(1.5, 0.1, LONELY, "b", 200, True, "")
    assert not is_right([*good, lonely], begins), "another model's provider answered"
