"""The processes of a scenario, its callers, and what they left, as the simulator's own `Run`.

The calls are read from the journals of the fakes: when a call was where limits are counted, what
it carried, what it takes alone, and how it ended. In whose company a text travelled is not known
there, so a provider's own time is that of all good calls alike.
"""

from __future__ import annotations

import asyncio
import math
import os
import resource
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
import uvloop

from emr.lane.verdict import Ending
from tests.e2e.agreement.plan import config, guesses, planned, uplink_s
from tests.e2e.agreement.wire import Wire
from tests.e2e.agreement.world import SocketWorld
from tests.sim.callers import Asked, Callers
from tests.sim.measure import Run
from tests.sim.scenario import CallersPlan, ProviderPlan, Scenario
from tests.sim.server import Seen, Server
from tests.support.processes import Router, Running, fake, router

OPEN_FILES = 20_000
AT_DOOR_S = 0.1  # a refusal that comes sooner did not wait: asked are 50 ms, of a busy machine 100
SETTLE_S = 0.2  # between the last key's check and the start
ENDINGS = {
    "rate of calls": Ending.RATE, "rate of tokens": Ending.RATE, "rate of items": Ending.RATE,
    "too many texts": Ending.SIZE_ITEMS, "too many tokens": Ending.SIZE_TOKENS,
    "body too large": Ending.SIZE_BYTES, "text too long": Ending.SIZE_TOKENS,
    "poison": Ending.BAD_TEXT, "poison at": Ending.BAD_TEXT,
    "overloaded": Ending.OVERLOAD, "unavailable": Ending.OVERLOAD,
    "crash": Ending.TRANSIENT, "bad gateway": Ending.TRANSIENT,
    "bad key": Ending.AUTH, "quota": Ending.QUOTA,
}  # fmt: skip
FAULTS = {"reset": Ending.TRANSIENT, "hang": Ending.TRANSIENT, "short": Ending.PROTOCOL}
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Real:
    """What a run over sockets left, beside what the simulator's runs leave."""

    run: Run
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    rss_start: int = 0  # bytes
    rss_most: int = 0
    refusals_s: list[float] = field(default_factory=list)  # of refusals: from asking to answer
    log: str = ""  # emr's warnings and errors
    waited_s: float = 0.0  # by emr for a processor; NaN where the system does not tell


def run_real(scenario: Scenario, seed: int | None = None) -> Real:
    """Run the scenario over sockets; its twin, if it has one, beside it.

    Raises CannotRun, before anything is started.
    """
    raise_file_limit()
    return uvloop.run(_with_twin(scenario, scenario.seed if seed is None else seed))


async def _with_twin(scenario: Scenario, seed: int) -> Real:
    if scenario.twin is None:
        return await _run(scenario, seed)
    real, twin = await asyncio.gather(_run(scenario, seed), _run(scenario.twin, seed))
    real.run.twin = twin.run
    real.wrong += twin.wrong
    return real


async def _run(scenario: Scenario, seed: int) -> Real:
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        loop = asyncio.get_running_loop()
        started = started_processes(scenario, seed, Path(home))
        emr, fakes = await loop.run_in_executor(None, stack.enter_context, started)
        names = callers_of(scenario.callers)
        keys = await loop.run_in_executor(None, make_keys, emr, names)
        address = urlsplit(emr.url)
        assert address.hostname is not None
        assert address.port is not None
        wire = Wire(address.hostname, address.port)
        world = SocketWorld(seed, wire, address.netloc, keys)
        log: list[Asked] = []
        rss_start, cpu_start, wait_start = memory(emr)[0], cpu_s(emr), waited_s(emr)
        await asyncio.sleep(SETTLE_S)
        for each in fakes.values():
            await loop.run_in_executor(None, httpx.post, f"{each.url}/_fake/reset")
        world.start()
        for name, plan in scenario.callers.items():
            # the callers hand an account back to the world, and do nothing else with it
            Callers(world, name, plan, log).start([None])  # the world needs none
        await asyncio.sleep(scenario.seconds)
        world.stop()
        journals = {
            name: await loop.run_in_executor(None, journal_of, each) for name, each in fakes.items()
        }
        cpu, most, waited = cpu_s(emr) - cpu_start, memory(emr)[1], waited_s(emr) - wait_start
        wrong = await loop.run_in_executor(None, world.close)
        servers = {
            name: server_of(scenario.providers[name], lines) for name, lines in journals.items()
        }
        run = Run(scenario, servers, log, cpu)
        run.most_texts, run.most_tokens = caps_of(scenario)
        real = Real(run, wrong, world.lost, rss_start, most, told_at_door(log))
        real.log = trouble(emr.log)
        real.waited_s = waited
        return real


@contextmanager
def started_processes(
    scenario: Scenario, seed: int, home: Path
) -> Iterator[tuple[Router, dict[str, Running]]]:
    """A fake for each provider, and a router before them."""
    lanes = max(plan.lanes for plan in scenario.callers.values())
    plans = {name: planned(plan, lanes, seed) for name, plan in scenario.providers.items()}
    kinds = orjson.dumps(guesses(scenario)).decode()
    program = (sys.executable, "-m", "tests.e2e.agreement.kinds", kinds)
    with ExitStack() as stack:
        fakes = {
            name: stack.enter_context(fake(home, *one.flags, name=f"fake-{name}"))
            for name, one in plans.items()
        }
        text = config(scenario, [(name, plans[name], fakes[name].url) for name in plans])
        yield stack.enter_context(router(home, text, program=program)), fakes


def callers_of(plans: Mapping[str, CallersPlan]) -> list[str]:
    """The names of all callers' keys."""
    names: list[str] = []
    for name, plan in plans.items():
        names += [f"{name}{n}" for n in range(plan.count)] if plan.key == "each" else [plan.key]
    return list(dict.fromkeys(names))


def make_keys(emr: Router, names: Sequence[str]) -> dict[str, str]:
    """A key for each name, each used once: its first use costs a hash on purpose."""
    keys: dict[str, str] = {}
    with httpx.Client(base_url=emr.url, timeout=60) as client:
        admin = {"Authorization": f"Bearer {emr.secret}"}
        for name in names:
            made = client.post("/admin/keys", json={"name": name}, headers=admin)
            keys[name] = made.raise_for_status().json()["key"]
            caller = {"Authorization": f"Bearer {keys[name]}"}
            client.get("/v1/test", headers=caller).raise_for_status()
    return keys


# what they left


def journal_of(provider: Running) -> list[dict[str, object]]:
    """The lines of a fake's journal."""
    told = httpx.get(f"{provider.url}/_fake/journal", timeout=60).raise_for_status().json()
    return [dict(zip(told["columns"], line, strict=True)) for line in told["calls"]]


def server_of(plan: ProviderPlan, lines: Sequence[Mapping[str, object]]) -> Server:
    """The simulator's server, as if it had seen what the fake saw."""
    server = Server(plan)
    way_s = uplink_s(plan)
    for line in lines:
        came, ended = float(str(line["came_s"])), float(str(line["ended_s"]))
        server.seen.append(
            Seen(
                sent=came - way_s,
                texts=int(str(line["texts"])),
                tokens=int(str(line["tokens"])),
                own_s=float(str(line["work_s"])),
                singles=1,
                bulks=1,
                arrived=came,
                ended=ended if ended >= 0.0 else math.inf,
                ending=ending_of(line, over=ended >= 0.0),
            )
        )
    if server.servers is not None:
        good = [seen for seen in server.seen if seen.ending is Ending.OK]
        server.servers.busy_s = sum([seen.own_s for seen in good])
    return server


def ending_of(line: Mapping[str, object], *, over: bool) -> Ending:
    """How a call ended, in the words of verdicts; one that is under way will be good."""
    complaint, fault = str(line["complaint"]), str(line["fault"])
    if complaint:
        return ENDINGS.get(complaint, Ending.BAD_REQUEST)
    if fault in FAULTS:
        return FAULTS[fault]
    return Ending.TRANSIENT if over and line["status"] == 0 else Ending.OK


def caps_of(scenario: Scenario) -> tuple[int, int]:
    """The texts and tokens that the router puts into a call at most."""
    plan = next(iter(scenario.providers.values()))
    texts = plan.account.get("max_texts", 128)
    return texts, int(plan.account.get("max_tokens", 100_000) * 0.9)


def told_at_door(log: Sequence[Asked]) -> list[float]:
    """Mark who was refused at the door; the seconds until each refusal."""
    took: list[float] = []
    for asked in log:
        if asked.end not in ("", "ok", "left"):
            asked.at_door = asked.ended - asked.asked < AT_DOOR_S
            took.append(asked.ended - asked.asked)
    return sorted(took)


def trouble(path: Path) -> str:
    """The lines of a log that tell of errors, at most a thousand letters."""
    lines = [line for line in path.read_text().splitlines() if "ERROR" in line or "Trace" in line]
    return "\n".join(lines)[:1000]


def cpu_s(process: Running) -> float:
    """The seconds of CPU that the process has used."""
    fields = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def waited_s(process: Running) -> float:
    """The seconds that its main thread was ready to run and had no processor."""
    path = Path(f"/proc/{process.process.pid}/schedstat")
    return int(path.read_text().split()[1]) / 1e9 if path.exists() else math.nan


def memory(process: Running) -> tuple[int, int]:
    """The bytes of memory that it holds, and the most that it held."""
    told = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{process.process.pid}/status").read_text().splitlines()
    )
    now = int(told["VmRSS"].split()[0]) * 1024
    most = told.get("VmHWM")
    return now, int(most.split()[0]) * 1024 if most else now


def raise_file_limit() -> None:
    """As many open files as the system lets this process have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
