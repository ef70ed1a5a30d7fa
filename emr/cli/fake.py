"""`emr fake`: a fake provider on a port, for trying a set-up offline."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from enum import Enum
from shlex import quote
from typing import Any

import orjson
import uvloop

from emr.fake.faults import Fault
from emr.fake.forms import FORMS
from emr.fake.schedule import Rules
from emr.fake.server import FakeServer
from emr.fake.settings import DEFAULTS, HELP, FakeSettings, changed
from emr.front.binds import BindError

PORT = 3300
KEY_VARIABLE = "FAKE_API_KEY"


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "fake",
        help="a fake provider on a port, with latency, limits and faults",
        description="A fake provider: every vector is a function of its text. Every setting can "
        "be changed while it runs: POST a JSON object to /_fake/settings.",
        epilog=f"Faults: {', '.join(f.value for f in Fault)}.",
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"on loopback (default {PORT})")
    parser.add_argument("--bind", help="another address instead: host:port, or unix:/path")
    parser.add_argument("--json", action="store_true", help="print its URLs as JSON")
    settings = parser.add_argument_group("settings")
    for name, default in DEFAULTS.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(default, bool):
            settings.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=default, help=HELP[name]
            )
        else:
            shown = getattr(default, "value", default)
            tail = f" (default {shown})" if shown not in ("", 0, 0.0) else ""
            settings.add_argument(
                flag,
                default=shown,
                choices=choices(name),
                metavar=None if choices(name) else type(default).__name__.upper(),
                help=HELP[name] + tail,
            )
    parser.set_defaults(run=run, parser=parser)


def choices(name: str) -> list[str] | None:
    """The words that a setting may be, None when it may be anything."""
    if name == "form":
        return list(FORMS)
    default = DEFAULTS[name]
    return [member.value for member in type(default)] if isinstance(default, Enum) else None


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    try:
        settings = changed(FakeSettings(), {name: getattr(args, name) for name in DEFAULTS})
        Rules(settings)  # the texts among them are readable
    except ValueError as wrong:
        args.parser.error(str(wrong))
    try:
        uvloop.run(serve(settings, args.bind or f"127.0.0.1:{args.port}", args.json))
    except BindError as wrong:
        print(f"emr fake: {wrong}", file=sys.stderr)
        return 1
    return 0


async def serve(settings: FakeSettings, bind: str, as_json: bool) -> None:
    """Run the server until a signal comes."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with FakeServer(settings, bind) as fake:
        urls = urls_of(fake)
        if as_json:
            print(orjson.dumps({"url": fake.url, "urls": urls}).decode(), flush=True)
        print(greeting(fake, settings, urls), file=sys.stderr, flush=True)
        await stopped.wait()
        good = fake.service.provider.tally.good
        calls = fake.service.provider.tally.calls
    print(
        f"emr fake: {calls} calls; {good.calls} of them answered with {good.texts} vectors, "
        f"{good.tokens} tokens",
        file=sys.stderr,
    )


def urls_of(fake: FakeServer) -> dict[str, list[str]]:
    """The URLs of each form."""
    return {
        name: [f"{fake.url}/{name}{path}" for path in form.routes] for name, form in FORMS.items()
    }


def greeting(fake: FakeServer, settings: FakeSettings, urls: dict[str, list[str]]) -> str:
    """What is said at the start: where it is, and how to use it with emr."""
    form = FORMS[settings.form]
    path = next(iter(form.routes))
    lines = [f"emr fake: a fake {form.name} on {fake.url}{path} (Ctrl-C stops it)", ""]
    width = max(map(len, urls))
    lines += [f"  {name:{width}}  {'  '.join(each)}" for name, each in urls.items()]
    lines += [
        f"  {'control':{width}}  {fake.url}/_fake/settings  {fake.url}/_fake/stats",
        "",
        f"To use it with emr, set {KEY_VARIABLE} to anything where `emr serve` runs, and add it:",
        f"  emr providers add --name fake --type {form.name} --api-key-env {KEY_VARIABLE} "
        f"--endpoint {quote(fake.url + path)} --model {next(iter(form.models))}",
    ]
    return "\n".join(lines)
