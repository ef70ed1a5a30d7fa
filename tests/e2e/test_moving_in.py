"""Moving in from the reference router: its database, configuration and .env in place of ours."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import httpx
from argon2 import PasswordHasher

from emr.fake.vectors import maker, raw_of
from tests.support.processes import EMR, PROVIDER_KEY, Running, environment, fake, running

SECRET = "the-admin-secret-of-before"
OLD_KEY, REVOKED_KEY = "emr_" + "Q" * 32, "emr_" + "Z" * 32
# every setting that it knows, at other values than our defaults
CONFIG = """\
[server]
bind = "127.0.0.1:0"

[multiplexer]
batch_window_ms = 20
channel_capacity = 512
initial_batch_size = 32
success_streak_threshold = 5

[retry]
max_retries = 1
per_attempt_cap_ms = 10000
cumulative_cap_ms = 40000

[health]
rolling_window_minutes = 30
failure_threshold = 4
sinbin_initial_seconds = 20
sinbin_max_seconds = 300
sinbin_multiplier = 1.5
recovery_probe_interval_seconds = 20

[database]
path = "~/.config/emr/emr.db"

[admin]
"""
TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE providers (name TEXT PRIMARY KEY, provider_type TEXT NOT NULL,
    api_key_env_var TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL,
    enabled INTEGER NOT NULL DEFAULT 1, created_at TEXT NOT NULL DEFAULT (datetime('now')));
CREATE TABLE api_keys (id TEXT PRIMARY KEY, name TEXT NOT NULL, key_hash TEXT NOT NULL,
    key_prefix TEXT NOT NULL, created_at TEXT NOT NULL DEFAULT (datetime('now')), revoked_at TEXT);
"""


def lay_out(home: Path, url: str) -> Path:
    """Its files in the home; returns the folder. Its hashes are argon2id with its own costs."""
    folder = home / ".config" / "emr"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(CONFIG)
    secret = folder / ".env"
    secret.write_text(f"EMR_ADMIN_SECRET={SECRET}\nVOYAGE_API_KEY={PROVIDER_KEY}\n")
    secret.chmod(0o600)
    hasher = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
    with closing(sqlite3.connect(folder / "emr.db")) as database:
        database.executescript(TABLES)
        database.executemany(
            "INSERT INTO providers (name, provider_type, api_key_env_var, endpoint, model)"
            " VALUES (?, ?, ?, ?, ?)",
            [
                ("voyage-ai", "voyage", "VOYAGE_API_KEY", f"{url}/voyage/v1/embeddings",
                 "voyage-code-3"),
                ("cohere", "cohere", "CO_SECRET", f"{url}/cohere/v2/embed", "embed-v4.0"),
            ],
        )  # fmt: skip
        database.executemany(
            "INSERT INTO api_keys (id, name, key_hash, key_prefix, revoked_at)"
            " VALUES (?, ?, ?, ?, ?)",
            [
                ("id-1", "app", hasher.hash(OLD_KEY), OLD_KEY[:8], None),
                ("id-2", "gone", hasher.hash(REVOKED_KEY), REVOKED_KEY[:8], "2026-01-02 03:04:05"),
            ],
        )
        database.commit()
    return folder


def ask(url: str, body: object, key: str = OLD_KEY) -> httpx.Response:
    """An embedding request, as its callers send it."""
    head = {"Authorization": f"Bearer {key}"}
    return httpx.post(f"{url}/v1/embeddings", json=body, headers=head, timeout=60)


def cli(env: dict[str, str], *arguments: str) -> str:
    """What a command prints; it must succeed."""
    told = subprocess.run(
        [*EMR, *arguments], env=env, cwd=env["HOME"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_its_keys_work_and_its_providers_answer(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with fake(tmp_path, "--latency-ms", "5", "--keys", PROVIDER_KEY) as provider:
        folder = lay_out(home, provider.url)
        env = environment(home, {"CO_SECRET": PROVIDER_KEY})
        # nobody is asked before the move is checked
        assert cli(env, "config", "validate") == "Config is valid.\n"
        with running(["serve"], env, tmp_path / "emr.log", "providers") as emr:
            check(emr, env, folder)
        # a second start finds nothing more to do
        with running(["serve"], env, tmp_path / "again.log", "providers") as emr:
            url = url_of(emr)
            assert ask(url, {"input": ["x"], "provider": "voyage-ai"}).status_code == 200
        assert len(list(folder.glob("emr.db.v0-*.bak"))) == 1
        assert "taken over" not in (tmp_path / "again.log").read_text()


def url_of(emr: Running) -> str:
    """Where it serves."""
    return next(line.split()[-1] for line in emr.lines if "dashboard" in line).rstrip("/")


def check(emr: Running, env: dict[str, str], folder: Path) -> None:
    """Everything that its operators and callers had."""
    url = url_of(emr)
    assert "2 keys and 2 providers of the reference router are taken over" in emr.log.read_text()
    for name, model, kind in (
        ("voyage-ai", "voyage-code-3", None), ("cohere", "embed-v4.0", "document")
    ):  # fmt: skip
        told = ask(url, {"input": ["a text of before"], "provider": name, "input_type": kind})
        assert told.status_code == 200, told.text
        body = told.json()
        assert (body["provider"], body["model"]) == (name, model)
        vector = body["data"][0]["embedding"]
        assert raw_of(vector) == maker(model, kind, len(vector)).raw("a text of before")
    both = ask(url, {"input": ["x"], "providers": ["voyage-ai", "cohere"], "policy": "all"})
    assert set(both.json()["results"]) == {"voyage-ai", "cohere"}
    assert ask(url, {"input": ["x"], "provider": "voyage-ai"}, REVOKED_KEY).status_code == 401
    wrong = OLD_KEY[:-1] + "x"
    assert ask(url, {"input": ["x"], "provider": "voyage-ai"}, wrong).status_code == 401
    keys = json.loads(cli(env, "keys", "list", "--json", "--server", url))
    assert {key["name"]: key["id"] for key in keys} == {"app": "id-1", "gone": "id-2"}
    shown = json.loads(cli(env, "config", "show", "--json"))
    assert shown["multiplexer"]["initial_batch_size"] == 32
    made = cli(env, "keys", "create", "--name", "new", "--server", url).strip()
    assert ask(url, {"input": ["x"], "provider": "voyage-ai"}, made).status_code == 200
    (backup,) = folder.glob("emr.db.v0-*.bak")
    with closing(sqlite3.connect(backup)) as database:
        assert database.execute("SELECT count(*) FROM api_keys").fetchone() == (2,)
    assert not os.path.exists(folder / "first-key")
