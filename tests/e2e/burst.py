"""Callers that all ask at one moment, over sockets: how many calls, how long, and every vector.

`python -m tests.e2e.burst [--callers 1000] [--latency-ms 180] [--rounds 5]` opens a connection for
each caller, sends one request of one text on each, one after the other without a pause, and reads
the answers with one `epoll`. Nothing is parsed until all are there: this client costs some 10 µs a
request, of which the answers' times are hardly longer. Then each vector is compared with the fake
provider's own of that text. With `--alone N` it asks N times as a lone caller instead, at emr and
straight at the fake in turns, with the first batch size at 1 and at 32.
"""

from __future__ import annotations

import argparse
import select
import socket
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson

from emr.cli.load.check import Checker
from emr.cli.load.work import Ask
from tests.e2e.conftest import AMPLE
from tests.support.processes import PROVIDER_KEY, Router, Running, fake, provider_row, router

MODEL = "voyage-code-3"
PATH = "/voyage/v1/embeddings"
WAIT_S = 60.0


def request_of(host: str, path: str, key: str, text: str) -> bytes:
    """The bytes of one request."""
    body = orjson.dumps({"input": [text], "model": MODEL})
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Answers:
    """One connection for each caller, and what came on each."""

    def __init__(self, address: tuple[str, int], callers: int) -> None:
        self._sockets = [socket.create_connection(address) for _ in range(callers)]
        self._poll = select.epoll()
        for sock in self._sockets:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._poll.register(sock, select.EPOLLIN)
        self._numbers = {sock.fileno(): n for n, sock in enumerate(self._sockets)}

    def ask(self, requests: list[bytes]) -> tuple[list[float], list[bytes]]:
        """Send a request on each; the seconds until each answer was there, and the answers."""
        started = time.perf_counter()
        sent = []
        for sock, data in zip(self._sockets, requests, strict=True):
            sent.append(time.perf_counter())
            sock.sendall(data)
        took, pieces = [0.0] * len(requests), [b""] * len(requests)
        missing = len(requests)
        while missing:
            ready = self._poll.poll(WAIT_S)
            if not ready:
                raise TimeoutError(f"{missing} answers missing after {WAIT_S} s")
            for fd, _ in ready:
                n = self._numbers[fd]
                data = self._sockets[n].recv(256 * 1024)
                if not data:
                    raise ConnectionError(f"closed after {pieces[n][:200]!r}")
                pieces[n] += data
                if is_whole(pieces[n]):
                    took[n] = time.perf_counter() - sent[n]
                    missing -= 1
        self.sending_s = sent[-1] - started
        return took, pieces

    def close(self) -> None:
        """Close the connections."""
        self._poll.close()
        for sock in self._sockets:
            sock.close()


def is_whole(answer: bytes) -> bool:
    """Whether an answer with a Content-Length is there to its end."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = answer[:end].lower()
    at = head.index(b"content-length:") + 15
    return len(answer) >= end + 4 + int(head[at:].split(b"\r\n", 1)[0])


def body_of(answer: bytes) -> bytes:
    """The body of an answer that must be a 200."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise AssertionError(f"not served: {head[:200]!r} {body[:300]!r}")
    return body


def address_of(url: str) -> tuple[str, int]:
    """Host and port."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def calls_of(provider: Running) -> int:
    """The calls that the fake has had."""
    told = httpx.get(f"{provider.url}/_fake/stats").json()
    return int(told["calls"])


def burst(emr: Router, provider: Running, callers: int, rounds: int, latency_s: float) -> None:
    """Some bursts, each with texts of its own; the first warms the connections."""
    checker = Checker(Ask(form="openai", model=MODEL))
    host, port = address_of(emr.url)
    answers = Answers((host, port), callers)
    for number in range(rounds + 1):
        texts = [f"text {n} of round {number}" for n in range(callers)]
        requests = [request_of(host, "/v1/embeddings", emr.key, text) for text in texts]
        before = calls_of(provider)
        took, got = answers.ask(requests)
        calls = calls_of(provider) - before
        for text, answer in zip(texts, got, strict=True):
            checker.check(MODEL, [text], body_of(answer))
        ms = statistics.quantiles(took, n=100)
        print(
            f"{'warm-up' if number == 0 else 'round ' + str(number):<8} {callers} callers  "
            f"{calls} provider calls  p50 {ms[49] * 1e3:.1f} ms ({ms[49] / latency_s:.2f} of the "
            f"provider's)  p99 {ms[98] * 1e3:.1f}  last {max(took) * 1e3:.1f}  all sent within "
            f"{answers.sending_s * 1e3:.1f} ms  every vector right"
        )
    answers.close()


def alone(emr: Router, provider: Running, times: int, note: str) -> None:
    """A lone caller, at emr and straight at the fake in turns."""
    host, port = address_of(emr.url)
    through = Answers((host, port), 1)
    direct = Answers(address_of(provider.url), 1)
    added, there, straight = [], [], []
    for number in range(times):
        text = f"alone {number}"
        (a,), (answer,) = through.ask([request_of(host, "/v1/embeddings", emr.key, text)])
        (b,), (other,) = direct.ask([request_of(host, PATH, PROVIDER_KEY, text)])
        body_of(answer)
        body_of(other)
        there.append(a)
        straight.append(b)
        added.append(a - b)
    p = statistics.quantiles(there, n=100), statistics.quantiles(straight, n=100)
    print(
        f"{note:<24} p50 {p[0][49] * 1e3:.2f} ms, straight {p[1][49] * 1e3:.2f}: "
        f"+{(p[0][49] - p[1][49]) * 1e3:.2f}   p99 {p[0][98] * 1e3:.2f}, straight "
        f"{p[1][98] * 1e3:.2f}: +{(p[0][98] - p[1][98]) * 1e3:.2f}"
    )


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, default=1000)
    parser.add_argument("--latency-ms", type=float, default=180.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", type=int, default=0)
    parser.add_argument("--limits", choices=("ample", "default"), default="ample")
    args = parser.parse_args()
    limits = AMPLE if args.limits == "ample" else {}

    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        with fake(folder, "--latency-ms", str(args.latency_ms)) as provider:
            row = provider_row("voyage", "voyage", provider.url + PATH, **limits)
            for size in (1, 32) if args.alone else (None,):
                first = "" if size is None else f"[batch]\ninitial_batch_size = {size}\n"
                with router(folder, first + row) as emr:
                    if args.alone:
                        alone(emr, provider, args.alone, f"first batch size {size}")
                    else:
                        seconds = args.latency_ms / 1e3
                        burst(emr, provider, args.callers, args.rounds, seconds)


if __name__ == "__main__":
    main()
