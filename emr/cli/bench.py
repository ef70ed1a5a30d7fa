"""`emr bench`: load a running emr, or any compatible URL, and say what came of it."""

from __future__ import annotations

import argparse
import asyncio
import resource
import signal
import ssl
import sys
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import uvloop

from emr.cli import embed
from emr.cli.load.check import Checker
from emr.cli.load.engine import ClosedLoop, Engine, Load, OpenLoop, Target
from emr.cli.load.report import print_report
from emr.cli.load.results import Results
from emr.cli.load.work import Ask, Requests, Texts, make_pool
from emr.cli.trouble import Trouble

URL = "http://127.0.0.1:3200"
PATHS = {"openai": "/v1/embeddings", "voyage": "/v1/embeddings", "cohere": "/v2/embed"}
SPARE_FILES = 100  # open files beside the connections


class Unusable(Exception):
    """What was asked for cannot be done; the text says why and what to do."""


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "bench",
        help="load a running emr and print rates, percentiles and provider calls",
        description="Loads a running emr, or any compatible URL. With --callers each asks again "
        "as soon as it is answered; with --rate requests come at random times and their "
        "latencies count from when they were meant to be sent.",
    )
    parser.add_argument("url", nargs="?", default=URL, help=f"default {URL}; unix:/path too")
    load = parser.add_argument_group("load")
    load.add_argument("--callers", default="10", help="how many; of several keys: one number each")
    load.add_argument("--rate", type=float, default=0.0, help="requests a second (open loop)")
    load.add_argument("--duration", type=float, help="seconds (default 10, unless --count)")
    load.add_argument("--count", type=int, default=0, help="requests")
    load.add_argument("--warmup", type=float, default=0.0, help="seconds not counted at first")
    load.add_argument("--timeout", type=float, default=60.0, help="seconds for a request")
    load.add_argument("--connections", type=int, default=2000, help="the most, with --rate")
    load.add_argument("--seed", type=int, default=1, help="of texts and times")
    add_ask(parser.add_argument_group("requests"))
    parser.add_argument(
        "--check", action="store_true", help="compare every vector with the fake provider's"
    )
    parser.add_argument("--fake", metavar="URL", help="count provider calls at this fake")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run, parser=parser)


def add_ask(group: Any) -> None:
    """The flags about what is asked."""
    group.add_argument("--key", action="append", help="caller key; may be given several times")
    group.add_argument("--form", choices=tuple(PATHS), default="openai", help="the API spoken")
    group.add_argument("--model")
    group.add_argument("--provider", help="the provider's name in emr")
    group.add_argument("--input-type", choices=("query", "document"))
    group.add_argument("--dimensions", type=int)
    group.add_argument("--base64", action="store_true", help="ask for base64 instead of numbers")
    group.add_argument("--texts", type=int, default=1, help="texts a request (default 1)")
    group.add_argument("--chars", type=int, default=400, help="median length of the made-up texts")
    group.add_argument("--file", type=Path, help="texts from the lines of a file, again and again")
    group.add_argument("--distinct", type=int, default=0, help="so many different texts only")
    group.add_argument("--header", action="append", default=[], help="'x-emr-priority: bulk'")


def run(args: argparse.Namespace) -> int:
    """Send the load and report. 0: done; 1: a wrong vector, or nothing was answered."""
    try:
        keys = args.key or [caller_key()]
        target, host, path = read_url(args.url, args.form)
        load = read_load(args, len(keys))
        ask = read_ask(args)
        texts = read_texts(args)
        client = http_client(args.url)
        raise_open_files(load.most_links if load.rate else sum(load.callers))
    except Unusable as wrong:
        args.parser.error(str(wrong))
    # new texts are to be new to a cache too, when the bench runs a second time
    headers = args.header if args.distinct else [*args.header, "Cache-Control: no-store"]
    requests = Requests(ask, texts, host, path, keys if keys != [""] else [], headers)
    loop = OpenLoop if load.rate else ClosedLoop
    engine = loop(target, load, requests, Checker(ask) if args.check else None)
    print(f"emr bench: {describe(load)} on {args.url}", file=sys.stderr)
    with client:
        before = provider_counts(client, args)
        results = uvloop.run(drive(engine))
        after = provider_counts(client, args)
    report = results.plain() | {"provider": compare(before, after, results)}
    if args.json:
        print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    else:
        print_report(report)
    return 1 if results.errors["wrong vector"] or not results.answered else 0


async def drive(engine: Engine) -> Results:
    """Run the load; SIGINT ends it early, with what there is."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, engine.stop)
    return await engine.run()


def caller_key() -> str:
    """The caller's key: EMR_API_KEY, else the one of emr's first start; raises Unusable."""
    try:
        return embed.caller_key(None).value
    except Trouble as trouble:
        raise Unusable(f"{trouble} (--key '' sends none)") from None


def read_url(text: str, form: str) -> tuple[Target, str, str]:
    """The target, the Host header and the path of a URL; raises Unusable."""
    if text.startswith("unix:/"):
        return Target(socket=text.removeprefix("unix:")), "localhost", PATHS[form]
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as wrong:
        raise Unusable(f"{text} is no URL: {wrong}") from None
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Unusable(f"{text} is no URL: it begins with http://, https:// or unix:/")
    tls = ssl.create_default_context() if url.scheme == "https" else None
    target = Target(url.hostname, port or (443 if tls else 80), tls)
    path = url.path if url.path not in ("", "/") else PATHS[form]
    return target, url.netloc.rpartition("@")[2], path + (f"?{url.query}" if url.query else "")


def read_load(args: argparse.Namespace, keys: int) -> Load:
    """How much load; raises Unusable."""
    try:
        callers = [int(part) for part in args.callers.split(",")]
    except ValueError:
        raise Unusable("--callers is a number, or one for each key: 1,2,8") from None
    if len(callers) == 1:
        each, more = divmod(callers[0], keys)
        callers = [each + (i < more) for i in range(keys)]
    if len(callers) != keys:
        raise Unusable(f"--callers has {len(callers)} numbers for {keys} keys")
    duration = args.duration if args.duration is not None else (inf if args.count else 10.0)
    for name, value, least in (
        ("--callers", sum(callers), 1), ("--callers", min(callers), 0), ("--rate", args.rate, 0),
        ("--duration", duration, 0.001), ("--count", args.count, 0), ("--warmup", args.warmup, 0),
        ("--timeout", args.timeout, 0.001), ("--connections", args.connections, 1),
    ):  # fmt: skip
        if not value >= least:
            raise Unusable(f"{name} is at least {least}")
    return Load(
        tuple(callers), args.rate, duration, args.count, args.warmup, args.timeout,
        args.connections, args.seed,
    )  # fmt: skip


def read_ask(args: argparse.Namespace) -> Ask:
    """What every request asks; raises Unusable."""
    for name, value, least in (
        ("--texts", args.texts, 1), ("--chars", args.chars, 8), ("--distinct", args.distinct, 0),
        ("--dimensions", args.dimensions or 1, 1),
    ):  # fmt: skip
        if value < least:
            raise Unusable(f"{name} is at least {least}")
    for header in args.header:
        if ":" not in header or "\r" in header or "\n" in header:
            raise Unusable(f"--header is 'name: value', not {header!r}")
    if args.form == "cohere" and args.model is None:
        raise Unusable("--form cohere needs a --model")
    extra = {"provider": args.provider} if args.provider else {}
    return Ask(
        args.form, args.model, args.input_type, args.dimensions, args.base64, args.texts, extra
    )


def read_texts(args: argparse.Namespace) -> Texts:
    """The texts to ask; raises Unusable."""
    if args.file is None:
        return Texts(make_pool(args.chars, args.seed), args.distinct, args.seed)
    try:
        lines = args.file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as wrong:
        raise Unusable(f"{args.file} cannot be read: {wrong}") from None
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise Unusable(f"{args.file} has no texts")
    distinct = min(args.distinct, len(lines))
    return Texts(lines, distinct, args.seed, numbered=False)


def raise_open_files(links: int) -> None:
    """Let this process have so many connections; raises Unusable."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = links + SPARE_FILES
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise Unusable(f"{links} connections need {needed} open files; the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def http_client(url: str) -> httpx.Client:
    """For the counts of the provider."""
    if url.startswith("unix:"):
        transport = httpx.HTTPTransport(uds=url.removeprefix("unix:"))
        return httpx.Client(transport=transport, base_url="http://localhost")
    parts = urlsplit(url)
    return httpx.Client(base_url=f"{parts.scheme}://{parts.netloc}", trust_env=False)


def provider_counts(client: httpx.Client, args: argparse.Namespace) -> dict[str, Any] | None:
    """Calls and texts of the provider so far: the fake's, or those that emr knows of."""
    try:
        if args.fake:
            stats = httpx.get(args.fake.rstrip("/") + "/_fake/stats", trust_env=False).json()
            return {"calls": stats["calls"], "texts": stats["texts"], "sizes": stats["by_size"]}
        status = client.get("/status").json()
        # of the texts those that a provider was asked for: the cache had the others
        texts = status["texts_served"] - status["cache_hits"]
        return {"calls": status["provider_calls"], "texts": texts}
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError) as wrong:
        if args.fake:
            print(f"emr bench: no counts from {args.fake}: {wrong}", file=sys.stderr)
        return None


def compare(
    before: dict[str, Any] | None, after: dict[str, Any] | None, results: Results
) -> dict[str, Any] | None:
    """What the provider was asked for this load (its warm-up included)."""
    if before is None or after is None:
        return None
    calls = after["calls"] - before["calls"]
    texts = after["texts"] - before["texts"]
    told: dict[str, Any] = {
        "calls": calls,
        "texts": texts,
        "requests_per_call": round(results.total / calls, 2) if calls > 0 else None,
        "texts_per_call": round(texts / calls, 2) if calls > 0 else None,
    }
    if "sizes" in after:
        sizes = {n: count - before["sizes"].get(n, 0) for n, count in after["sizes"].items()}
        told["calls_by_size"] = {n: count for n, count in sizes.items() if count}
    return told


def describe(load: Load) -> str:
    """The load in a few words."""
    who = f"{load.rate:g} requests a second" if load.rate else f"{sum(load.callers)} callers"
    how = f"{load.count} requests" if load.count else f"{load.seconds:g} s"
    return f"{who}, {how}"
