"""The torture, short: a thousand requests of forty callers, most of whose replies are damaged."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from emr.fake.server import FakeServer
from emr.fake.settings import FakeSettings, changed
from emr.fake.vectors import vector_of
from tests.support.crowd import Caller, NoAnswer, Told
from tests.support.processes import PROVIDER_KEY
from tests.support.running import running
from tests.torture.load import SECRET, SUBJECTS, Plan, Tally, judge, run_load
from tests.torture.run import rows, said

# what comes at once: nothing here waits for a reply that is slow, or for none
FAULTS = (
    "shuffled=0.08 gzip=0.05 content-type=0.05 exponent=0.05 short=0.03 long=0.03 duplicate=0.03"
    " dimension=0.03 nan=0.03 infinity=0.03 null=0.03 truncated=0.02 garbage=0.01 empty=0.01"
    " html=0.01 error-200=0.01"
)
RETRY = "[retry]\nper_attempt_cap_ms = 20\n"


async def tortured(folder: Path, plan: Plan, faults: str) -> tuple[Tally, dict[str, int]]:
    """What became of a load, and the faults that struck."""
    settings = FakeSettings(latency_ms=1.0, keys=PROVIDER_KEY)
    async with FakeServer(settings) as fake:
        config = rows(fake.url, "V_API_KEY") + RETRY
        async with running(folder, config, V_API_KEY=PROVIDER_KEY) as emr:
            url = str(emr.http.base_url)
            warm = await run_load(url, emr.key, Plan(40, 10, no_store=True))
            assert warm.right == 40, warm
            provider = fake.service.provider
            provider.configure(changed(settings, {"faults": faults}))
            tally = await run_load(url, emr.key, plan)
        return tally, dict(provider.tally.by_fault)


def test_damaged_replies_never_become_vectors(tmp_path: Path) -> None:
    plan = Plan(1000, 40, pool=2000)
    tally, struck = asyncio.run(tortured(tmp_path, plan, FAULTS))
    assert tally.good, (tally.counts, tally.wrong, tally.hung, tally.nameless, tally.leaking)
    assert tally.right + tally.errors.total() == plan.requests
    assert tally.right > 0.9 * plan.requests
    assert struck.keys() == {part.partition("=")[0] for part in FAULTS.split()}


# and what it would say if they did

TEXTS = ["one", "two"]
OPENAI = next(subject for subject in SUBJECTS if subject.name == "openai")
ASKED: dict[str, Any] = {"encoding_format": "float", "input_type": None}
RIGHT: dict[str, Any] = {
    "data": [
        {"index": i, "embedding": vector_of(text, OPENAI.model, None, OPENAI.length)}
        for i, text in enumerate(TEXTS)
    ]
}


def judged(status: int, body: object, **asked: str) -> Tally:
    tally = Tally()
    judge(tally, OPENAI, ASKED | asked, TEXTS, Told(status, body, b""))
    return tally


def spoilt(change: Any) -> Any:
    body = deepcopy(RIGHT)
    change(body["data"])
    return body


def test_the_right_vectors_are_right() -> None:
    tally = judged(200, RIGHT)
    assert tally.good
    assert (tally.right, tally.vectors) == (1, 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.reverse(),
        lambda data: data.pop(),
        lambda data: data[0].update(index=1),
        lambda data: data[0].update(embedding=data[1]["embedding"]),
        lambda data: data[1]["embedding"].__setitem__(3, 0.5),
        lambda data: data[1]["embedding"].pop(),
        lambda data: data[1]["embedding"].__setitem__(3, None),
        lambda data: data[1].pop("embedding"),
        lambda data: data[1].update(embedding="AAAA"),
        lambda data: data.clear(),
    ],
)
def test_wrong_vectors_are_seen(change: Any) -> None:
    tally = judged(200, spoilt(change))
    assert tally.counts == {"wrong": 1}
    assert not tally.good
    assert "1 wrong vectors" in "\n".join(said(tally, Plan(1, 1)))


def test_numbers_where_base64_was_asked_are_wrong() -> None:
    assert judged(200, RIGHT, encoding_format="base64").counts == {"wrong": 1}


@pytest.mark.parametrize(
    ("message", "counts"),
    [
        ("openai answered 500", {}),
        ("something went wrong", {"nameless": 1}),
        (f"openai answered 400: {SECRET}", {"leaking": 1}),
        (f"openai answered 401: {PROVIDER_KEY}", {"leaking": 1}),
    ],
)
def test_errors_that_must_not_be_are_seen(message: str, counts: dict[str, int]) -> None:
    tally = judged(502, {"error": {"type": "provider_error", "message": message}})
    assert tally.counts == counts
    assert tally.errors == {"502 provider_error": 1}


def test_an_error_of_no_form_is_seen() -> None:
    assert judged(502, ["what?"]).counts == {"nameless": 1}


def test_a_caller_whom_nobody_answers_is_seen() -> None:
    async def main() -> None:
        async with FakeServer(FakeSettings(faults="hang")) as fake:
            one = Caller(fake.url, PROVIDER_KEY, 0.05)
            with pytest.raises(NoAnswer, match="nothing in"):
                await one.ask({"input": ["a"], "model": "voyage-code-3"}, "/voyage/v1/embeddings")
        with pytest.raises(NoAnswer):
            await Caller(fake.url, PROVIDER_KEY, 5.0).ask({})

    asyncio.run(main())
