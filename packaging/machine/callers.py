"""Fifty callers inside the machine, each with a connection of its own, until a line on stdin.

    python3 callers.py KEY [retry]

Each sends a text that nobody else sends, and compares the vector with what the fake provider makes
for it. With `retry` a connection that is refused is tried again: nothing was accepted then; all
else that goes wrong counts as an error. Prints a JSON object with the counts.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections import Counter
from typing import Any

sys.path.insert(0, "/opt/tools/usr/lib/emr")

CALLERS = 50
HOST, PORT = "127.0.0.1", 3200
TIMEOUT_S = 60.0
AGAIN_S = 0.02


class Caller:
    """One caller, its connection and its counts."""

    def __init__(self, name: int, key: str, retry: bool) -> None:
        self._name = name
        self._key = key
        self._retry = retry
        self._connection: http.client.HTTPConnection | None = None
        self.counts: Counter[str] = Counter()
        self.longest_s = 0.0
        self.errors: list[str] = []

    def run(self, ends: threading.Event) -> None:
        """Ask one thing after the other until told to end."""
        number = 0
        while not ends.is_set():
            text = f"caller {self._name} asks for the {number}th time"
            number += 1
            began = time.monotonic()
            try:
                self.ask(text)
                self.counts["ok"] += 1
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.counts["errors"] += 1
                self.errors.append(f"{type(error).__name__}: {error}"[:300])
                self._connection = None
            self.longest_s = max(self.longest_s, time.monotonic() - began)

    def ask(self, text: str) -> None:
        """One request. Raises OSError, HTTPException, ValueError."""
        connection = self._connection or self.connect()
        body = json.dumps({"input": text, "model": "fake/voyage-code-3"})
        connection.request(
            "POST", "/v1/embeddings", body,
            {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
        )  # fmt: skip
        reply = connection.getresponse()
        told = reply.read()
        self._connection = None if reply.will_close else connection
        if reply.status != 200:
            raise ValueError(f"{reply.status} {told[:200]!r}")
        check(text, json.loads(told))

    def connect(self) -> http.client.HTTPConnection:
        """A connection that is open. Raises OSError."""
        while True:
            connection = http.client.HTTPConnection(HOST, PORT, timeout=TIMEOUT_S)
            try:
                connection.connect()
            except ConnectionRefusedError:
                if not self._retry:
                    raise
                self.counts["refused"] += 1
                time.sleep(AGAIN_S)
                continue
            return connection


def check(text: str, told: Any) -> None:
    """Raises ValueError unless the reply has the one vector of this text."""
    from emr.fake.vectors import maker, raw_of

    (item,) = told["data"]
    if raw_of(item["embedding"]) != maker("voyage-code-3").raw(text):
        raise ValueError(f"the vector is not that of {text!r}")


def main() -> int:
    """Run until a line comes on stdin, then print the counts."""
    key, retry = sys.argv[1], sys.argv[2:] == ["retry"]
    ends = threading.Event()
    callers = [Caller(name, key, retry) for name in range(CALLERS)]
    threads = [threading.Thread(target=caller.run, args=(ends,)) for caller in callers]
    for thread in threads:
        thread.start()
    while not all(caller.counts["ok"] for caller in callers):
        time.sleep(AGAIN_S)
    print("all were answered", flush=True)
    sys.stdin.readline()
    before = sum(caller.counts["ok"] for caller in callers)
    while sum(caller.counts["ok"] for caller in callers) < before + CALLERS:
        time.sleep(AGAIN_S)
    ends.set()
    for thread in threads:
        thread.join()
    counts = sum((caller.counts for caller in callers), Counter())
    told = {name: counts[name] for name in ("ok", "errors", "refused")}
    told["longest_ms"] = round(max(caller.longest_s for caller in callers) * 1000)
    print(json.dumps(told | {"first": [e for caller in callers for e in caller.errors][:5]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
