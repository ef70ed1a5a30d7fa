"""TensorZero's gateway in a process of its own; writes its port into a file.

python -m tests.bench.peers.apps.tensorzero CONFIG FILE
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import tensorzero


def main() -> None:
    """Serve until SIGTERM."""
    gateway = tensorzero._start_http_gateway(
        config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None,
        async_setup=False,
    )  # fmt: skip
    Path(sys.argv[2]).write_text(f"{urlsplit(gateway.base_url).port}\n")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    gateway.close()


if __name__ == "__main__":
    main()
