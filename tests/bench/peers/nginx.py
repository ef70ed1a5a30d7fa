"""nginx as a reverse proxy in front of the provider: one worker, kept connections, no log.

What it does least: it neither reads a body nor knows a key. Buffers are large enough that no reply
of one text goes to disk or waits for the client, as its own guides advise for a gateway.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.bench.peers.peer import Peer, Place

CONFIG = """\
daemon off;
master_process on;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 65536;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    keepalive_timeout 600;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 64m;
    client_body_buffer_size 1m;
    proxy_buffers 16 16k;
    proxy_max_temp_file_size 0;
    upstream provider {{
        server 127.0.0.1:{provider};
        keepalive 4096;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


class Nginx(Peer):
    """Debian's nginx."""

    name = "nginx"

    def missing(self, venvs: Path) -> str:
        return "" if found() else "nginx: apt install nginx-light"

    def command(self, place: Place) -> list[str]:
        config = place.write(
            "nginx.conf",
            CONFIG.format(folder=place.folder, provider=place.provider, port=place.port),
        )
        return [str(found()), "-p", str(place.folder), "-c", str(config)]


def found() -> str | None:
    """Its program; Debian keeps it where only the administrator's path looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
