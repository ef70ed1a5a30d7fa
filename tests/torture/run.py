"""The torture: replies that are wrong in every known way, and callers who check every number.

`scripts/torture [--requests 100000] [--callers 200] [--cache off] [--faults …]`. A fake provider, a
router and the callers are processes of their own. It ends with 1 when a vector was wrong, a caller
was not answered, or an error did not say which provider failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import httpx
import uvloop

from tests.support.processes import fake, provider_row, router
from tests.torture.load import SUBJECTS, Plan, Tally, run_load

# nearly half of the calls; drips and giants are few, for each takes seconds
FAULTS = (
    "shuffled=0.06 gzip=0.04 content-type=0.04 exponent=0.04 short=0.02 long=0.02 duplicate=0.02"
    " dimension=0.02 nan=0.02 infinity=0.02 null=0.02 truncated=0.02 garbage=0.01 empty=0.01"
    " html=0.01 error-200=0.01 cut=0.01 reset=0.01 500=0.01 giant=0.0005 drip=0.001 stall=0.0002"
    " hang=0.0002 slow=0.005"
)
AMPLE = {
    "requests_per_minute": 10_000_000,
    "tokens_per_minute": 10_000_000_000,
    "items_per_minute": 1_000_000_000,
}


def rows(url: str, key_variable: str = "FAKE_API_KEY") -> str:
    """The providers of the load, at a fake."""
    more = {"api_key_env_var": key_variable, **AMPLE}
    return "\n".join(
        provider_row(s.name, s.kind or s.name, url + s.path, model=s.model, **more)
        for s in SUBJECTS
    )


def said(tally: Tally, plan: Plan) -> list[str]:
    """The figures."""
    failed, seconds = tally.errors.total(), max(tally.seconds, 1e-3)
    lines = [
        f"{plan.requests:,} requests of {plan.callers} callers in {seconds:.1f} s,"
        f" {plan.requests / seconds:,.0f} a second",
        f"{tally.right:,} answered with {tally.vectors:,} vectors, each the same bit for bit",
        f"{failed:,} errors ({failed / plan.requests:.2%}): "
        + ", ".join(f"{count:,} {kind}" for kind, count in tally.errors.most_common()),
        "cache: " + ", ".join(f"{count:,} {word}" for word, count in tally.cached.most_common()),
    ]
    for kind, about in (
        ("wrong", "wrong vectors"),
        ("hung", "callers without an answer"),
        ("nameless", "errors that do not name the provider"),
        ("leaking", "errors with a text or a key"),
    ):
        lines.append(f"{tally.counts[kind]:,} {about}")
        lines += [f"    {example}" for example in getattr(tally, kind)]
    return lines


def struck(url: str) -> str:
    """How often each fault struck."""
    faults = httpx.get(f"{url}/_fake/stats").json()["by_fault"]
    return ", ".join(f"{count:,} {name}" for name, count in sorted(faults.items()))


def main() -> int:
    """Run it and print the figures."""
    usual = Plan()
    parser = argparse.ArgumentParser(prog="scripts/torture")
    parser.add_argument("--requests", type=int, default=usual.requests)
    parser.add_argument("--callers", type=int, default=usual.callers)
    parser.add_argument("--pool", type=int, default=usual.pool, help="different texts")
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--faults", default=FAULTS)
    parser.add_argument("--cache", choices=("on", "off"), default="on")
    args = parser.parse_args()
    plan = Plan(args.requests, args.callers, args.pool, args.seed, no_store=args.cache == "off")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with fake(home, "--latency-ms", "5", "--seed", str(args.seed)) as provider:
            with router(home, rows(provider.url)) as emr:
                warm = Plan(200, 10, args.pool, args.seed, no_store=True)
                assert uvloop.run(run_load(emr.url, emr.key, warm)).good
                settings = {"faults": args.faults}
                httpx.post(f"{provider.url}/_fake/settings", json=settings).raise_for_status()
                tally = uvloop.run(run_load(emr.url, emr.key, plan))
            print("\n".join(said(tally, plan)))
            print(f"the provider's faults: {struck(provider.url)}")
    return 0 if tally.good else 1


if __name__ == "__main__":
    sys.exit(main())
