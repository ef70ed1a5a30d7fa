"""CPU of the router for a request that the cache answers, against one that it does not.

    python -m tests.bench.cache_cost [--callers 16] [--rounds 200]

One run over real sockets: a fake provider, a router, and so many callers with one request of one
text each at a time. In turns, rounds of texts that were asked before and rounds of new ones; in
base64 as OpenAI's SDKs ask it, and in numbers. Then the same of a router that keeps nothing in
memory but has a file: its hits are read, its misses are written. And misses of one that has no
cache. Where nginx is installed, it passes the same requests through to the fake, for comparison.
What is counted is the CPU time of the process that serves, all its threads, as the kernel's
scheduler has it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import orjson

from tests.cli.parts import free_port
from tests.e2e.burst import PATH, Answers, address_of, body_of
from tests.e2e.conftest import NO_CACHE, voyage_row
from tests.support.processes import PROVIDER_KEY, Router, fake, router

MODEL = "voyage-code-3"
NGINX = """
worker_processes 1; daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    upstream provider {{ server {upstream}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port};
        keepalive_requests 10000000;
        location / {{
            proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection "";
        }}
    }}
}}
"""


def cpu_s(pid: int) -> float:
    """The CPU time that a process has had, all its threads."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum([int(task.read_text().split()[0]) for task in tasks]) / 1e9


def request_of(target: tuple[str, str, str], text: str, encoding: str) -> bytes:
    """The bytes of one request to host, path, with a key."""
    host, path, key = target
    fields = {"input": [text], "model": MODEL}
    if encoding == "base64":
        fields["encoding_format"] = "base64"
    body = orjson.dumps(fields)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Load:
    """Callers of one server, and what a request of theirs costs it."""

    def __init__(self, url: str, target: tuple[str, str, str], pid: int, callers: int) -> None:
        self._answers = Answers(address_of(url), callers)
        self._target = target
        self._pid = pid
        self._callers = callers

    def round(self, name: str, encoding: str) -> tuple[float, bool]:
        """One request each: the CPU seconds they took, and whether all came from the cache."""
        requests = [
            request_of(self._target, f"text {name} of caller {n}", encoding)
            for n in range(self._callers)
        ]
        before = cpu_s(self._pid)
        _, answers = self._answers.ask(requests)
        spent = cpu_s(self._pid) - before
        for answer in answers:
            body_of(answer)
        return spent, all(b"x-emr-cache: hit" in answer for answer in answers)

    def close(self) -> None:
        """Close the connections."""
        self._answers.close()


def in_turns(emr: Router, name: str, args: argparse.Namespace) -> None:
    """Rounds of texts that are known and of new ones, in turns."""
    target = (emr.url.removeprefix("http://"), "/v1/embeddings", emr.key)
    each = 1e6 / (args.rounds * args.callers)
    for encoding in ("base64", "float"):
        with closing(Load(emr.url, target, emr.process.pid, args.callers)) as load:
            known = f"{name} {encoding}"
            while not load.round(known, encoding)[1]:  # the first asks; a file is written behind
                time.sleep(0.05)
            hit = miss = 0.0
            for number in range(args.rounds):
                spent, is_hit = load.round(known, encoding)
                assert is_hit
                hit += spent
                spent, is_hit = load.round(f"{known} {number}", encoding)
                assert not is_hit
                miss += spent
        print(
            f"{name:<8} {encoding:<8} hit {hit * each:6.1f} us   miss {miss * each:6.1f} us   "
            f"hit/miss {hit / miss:.2f}",
            flush=True,
        )


def all_miss(emr: Router, args: argparse.Namespace) -> None:
    """Rounds of new texts, without a cache."""
    target = (emr.url.removeprefix("http://"), "/v1/embeddings", emr.key)
    each = 1e6 / (args.rounds * args.callers)
    for encoding in ("base64", "float"):
        with closing(Load(emr.url, target, emr.process.pid, args.callers)) as load:
            load.round("warm", encoding)
            spent = sum([load.round(f"{encoding} {n}", encoding)[0] for n in range(args.rounds)])
        print(f"{'none':<8} {encoding:<8}                miss {spent * each:6.1f} us", flush=True)


@contextmanager
def nginx(folder: Path, upstream: str) -> Iterator[tuple[str, int]]:
    """nginx in front of the fake: its URL and process."""
    port = free_port()
    conf = folder / "nginx.conf"
    conf.write_text(NGINX.format(folder=folder, upstream=upstream, port=port))
    process = subprocess.Popen(["nginx", "-c", str(conf), "-p", str(folder)])
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(10.0)


def wait_for(port: int) -> None:
    """Return when something listens."""
    subprocess.run(
        ["sh", "-c", f"until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.05; done"],
        executable="/bin/bash", check=True, timeout=20.0,
    )  # fmt: skip


def through_nginx(folder: Path, provider: str, args: argparse.Namespace) -> None:
    """What passing the same requests through costs."""
    upstream = provider.removeprefix("http://")
    with nginx(folder, upstream) as (url, pid):
        target = (upstream, PATH, PROVIDER_KEY)
        for encoding in ("base64", "float"):
            with closing(Load(url, target, pid, args.callers)) as load:
                load.round("warm", encoding)
                spent = sum(
                    [load.round(f"{encoding} {n}", encoding)[0] for n in range(args.rounds)]
                )
            each = spent * 1e6 / (args.rounds * args.callers)
            print(f"{'nginx':<8} {encoding:<8} passed through {each:6.1f} us", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with fake(folder, "--latency-ms", "1") as provider:
            row = voyage_row(provider)
            with router(folder, row) as emr:
                in_turns(emr, "memory", args)
            file = orjson.dumps(str(folder / "vectors.db")).decode()
            with router(folder, f"[cache]\nmax_bytes = 0\npath = {file}\n" + row) as emr:
                in_turns(emr, "disk", args)
            with router(folder, NO_CACHE + row) as emr:
                all_miss(emr, args)
            if shutil.which("nginx"):
                through_nginx(folder, provider.url, args)


if __name__ == "__main__":
    main()
