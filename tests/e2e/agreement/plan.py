"""A scenario as flags of `emr fake`, as a configuration of emr, and as what callers need.

What the real programs have no word for is refused with its name: a row that was run with something
left out would be compared with another one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from emr.lane.settings import AccountSpec
from tests.sim.model import TOKENS_A_BYTE, Trouble
from tests.sim.scenario import FaultPlan, LimitPlan, ProviderPlan, Scenario
from tests.sim.server import REFUSED_S
from tests.support.processes import provider_row

MODEL = "m"
DIMENSIONS = 16  # short vectors: the CPU of this machine is not what is compared
FLAG_OF_LIMIT = {"calls": "rpm", "tokens": "tpm", "items": "ipm"}
FAULT_OF_TROUBLE = {
    "ERROR": "500", "RESET": "reset", "HANG": "hang", "UNAVAILABLE": "502", "OVERLOAD": "503",
    "RATE": "429-bare", "WRONG_COUNT": "short", "AUTH": "auth", "QUOTA": "quota",
}  # fmt: skip
TELLS = {"nothing": "vague", "numbers": "figures"}
ROW_FIELDS = {
    "calls": "requests_per_minute", "tokens": "tokens_per_minute", "items": "items_per_minute",
}  # fmt: skip
# what an account of a scenario may say, beside its limits
ACCOUNT = {"home", "limits", "guesses", "max_texts", "max_tokens", "max_bytes", "max_concurrency"}
# said in scenarios so that no estimate is at play; the real account learns it
LEARNED = {"tokens_a_byte"}
CONFIG_OF_SETTING = {
    "batch_window_s": ("multiplexer", "batch_window_ms", 1000),
    "channel_capacity": ("multiplexer", "channel_capacity", 1),
    "initial_batch_size": ("multiplexer", "initial_batch_size", 1),
    "max_queue_bytes": ("multiplexer", "max_queue_bytes", 1),
    "max_retries": ("retry", "max_retries", 1),
}


class CannotRun(Exception):
    """The scenario asks for what the real programs have no setting for."""


@dataclass(frozen=True, slots=True)
class Planned:
    """How a provider is run: the flags of its fake, and the fields of its row."""

    flags: tuple[str, ...]
    kind: str
    row: dict[str, object]


def as_it_is_run(scenario: Scenario) -> Scenario:
    """The scenario with accounts as a real one starts: what is learned is not told."""
    providers = {
        name: replace(plan, account={k: v for k, v in plan.account.items() if k not in LEARNED})
        for name, plan in scenario.providers.items()
    }
    twin = None if scenario.twin is None else as_it_is_run(scenario.twin)
    return replace(scenario, providers=providers, twin=twin)


def planned(plan: ProviderPlan, lanes: int, seed: int) -> Planned:
    """The provider's fake and row. Raises CannotRun."""
    account = dict(plan.account)
    unknown = set(account) - ACCOUNT
    if unknown:
        raise CannotRun(f"an account with {', '.join(sorted(unknown))}")
    home = account.get("home", "hosted")
    kind = {"hosted": "openai", "self-hosted": "openai-compatible"}.get(home)
    if kind is None:
        raise CannotRun(f"an account at home {home}")
    spec = AccountSpec("", "")
    row: dict[str, object] = {
        "model": MODEL,
        "dimensions": [DIMENSIONS + lane for lane in range(lanes)],
        "max_texts_per_request": account.get("max_texts", spec.max_texts),
    }
    if "max_concurrency" in account:
        row["max_concurrency"] = account["max_concurrency"]
    for dimension, per_minute in account.get("limits", {}).items():
        row[ROW_FIELDS[dimension]] = per_minute
    return Planned(tuple(_flags(plan, seed)), kind, row)


def guesses(scenario: Scenario) -> dict[str, float]:
    """What the table of kinds is to know. Raises CannotRun."""
    told = []
    spec = AccountSpec("", "")
    for plan in scenario.providers.values():
        one = dict(plan.account.get("guesses", {}))
        one["max_tokens"] = plan.account.get("max_tokens", spec.max_tokens)
        one["max_bytes"] = plan.account.get("max_bytes", spec.max_bytes)
        told.append(one)
    if any(one != told[0] for one in told):
        raise CannotRun("providers of different guesses or caps")
    return told[0]


def config(scenario: Scenario, rows: Iterable[tuple[str, Planned, str]]) -> str:
    """The configuration of emr; `rows` are name, plan and URL of each provider."""
    sections: dict[str, list[str]] = {}
    for name, value in scenario.settings.items():
        if name not in CONFIG_OF_SETTING:
            raise CannotRun(f"the setting {name}")
        section, key, times = CONFIG_OF_SETTING[name]
        sections.setdefault(section, []).append(f"{key} = {int(value * times)}")
    text = "".join(
        f"[{section}]\n" + "\n".join(lines) + "\n" for section, lines in sections.items()
    )
    for name, one, url in rows:
        endpoint = f"{url}/openai/v1/embeddings"
        text += provider_row(name, one.kind, endpoint, **one.row)
    return text


# the fake


def uplink_s(plan: ProviderPlan) -> float:
    """How long a call is on its way: the mean part of the median time."""
    return sum(plan.uplink) / 2.0 * plan.latency.get("a", 0.18)


def _flags(plan: ProviderPlan, seed: int) -> Iterable[str]:
    latency = {"a": 0.18, "b": 0.0, "c": 0.0, "sigma": 0.15} | dict(plan.latency)
    yield from ("--no-strict", "--journal", "--form", "openai", "--seed", str(seed))
    yield from ("--dimensions", str(DIMENSIONS), "--bytes-per-token", str(1.0 / TOKENS_A_BYTE))
    yield from ("--latency-ms", str(latency["a"] * 1000.0))
    yield from ("--latency-sigma", str(latency["sigma"]))
    yield from ("--latency-ms-per-token", str(latency["b"] * 1000.0))
    yield from ("--latency-ms-per-text", str(latency["c"] * 1000.0))
    yield from ("--uplink-ms", str(uplink_s(plan) * 1000.0))
    yield from ("--refusal-ms", str(_refused_s(plan) * 1000.0))
    yield from _limits(list(plan.limits.values()))
    if plan.tells not in TELLS:
        raise CannotRun(f"refusals that tell {plan.tells}")
    yield from ("--tell", plan.headers, "--words", TELLS[plan.tells])
    yield from ("--retry-after", plan.retry_after)
    if plan.servers:
        yield from ("--servers", str(plan.servers), "--waiting", str(plan.queue))
    if plan.takes and plan.names_caps != "CAP_AND_COUNT":
        raise CannotRun(f"size errors that name {plan.names_caps}")
    for what, cap in plan.takes.items():
        yield from (f"--max-{what}", str(cap))
    if plan.poisoned:
        yield from ("--poison", "poison=" + ("index" if plan.tells_index else "silent"))
    schedule = "; ".join(_entries(plan))
    if schedule:
        yield from ("--schedule", schedule)


def _refused_s(plan: ProviderPlan) -> float:
    """The time of a refusal after its arrival: of the faults if there are any."""
    times = {Trouble[fault.trouble].value[1] for fault in plan.faults.values()}
    finite = [time for time in times if time is not None and time < math.inf]
    return max(finite, default=REFUSED_S)


def _limits(limits: list[LimitPlan]) -> Iterable[str]:
    if not limits:
        return
    ways = {(each.kind, each.window_s, each.burst_s, each.refused_count) for each in limits}
    if len(ways) > 1:
        raise CannotRun("limits that are counted in different ways")
    kind, window_s, burst_s, refused_count = ways.pop()
    yield from ("--counting", kind, "--window-s", str(window_s), "--burst-s", str(burst_s))
    if refused_count:
        yield "--count-failed"
    for limit in limits:
        yield from (f"--{FLAG_OF_LIMIT[limit.counts]}", str(limit.per_minute))


def _span(since: float, until: float) -> str:
    return f"{since:g}-" if until == math.inf else f"{since:g}-{until:g}"


def _entries(plan: ProviderPlan) -> Iterable[str]:
    """The words of a schedule: changes of limits, thieves, slowness, faults."""
    thieves = {(x.stolen, x.stolen_since, x.stolen_until) for x in plan.limits.values()}
    if len(thieves) > 1:
        raise CannotRun("thieves of a part of the limits")
    for stolen, since, until in thieves:
        if stolen:
            yield f"{_span(since, until)} thief={stolen}"
    for limit in plan.limits.values():
        ends = [at for at, _ in limit.changes[1:]] + [math.inf]
        for (at, per_minute), end in zip(limit.changes, ends, strict=False):
            yield f"{_span(at, end)} {FLAG_OF_LIMIT[limit.counts]}={per_minute}"
    a_ms = plan.latency.get("a", 0.18) * 1000.0
    for slow in plan.slow.values():
        if plan.latency.get("b") or plan.latency.get("c"):
            raise CannotRun("slowness of what takes time for texts or tokens")
        yield f"{_span(slow.since, slow.until)} latency_ms={a_ms * slow.factor}"
    faults = sorted(plan.faults.values(), key=lambda fault: fault.since)
    for one, following in pairwise(faults):
        if following.since < one.until:
            raise CannotRun("faults at the same time")
    for fault in faults:
        yield f"{_span(fault.since, fault.until)} {_fault(plan, fault)}"


def _fault(plan: ProviderPlan, fault: FaultPlan) -> str:
    name = FAULT_OF_TROUBLE[fault.trouble]
    if fault.retry_after is not None:
        raise CannotRun("faults that say when to come again")
    words = f"{name}={fault.p}"
    if fault.trouble == "RESET":
        if fault.p < 1.0:
            raise CannotRun("resets of a part of the calls: the fake's come as late as a reply")
        early_s = uplink_s(plan) + (Trouble.RESET.value[1] or 0.0)
        words += f" latency_ms={early_s * 1000.0} latency_sigma=0"
    return words
