"""Every setting: its name, default, form, help, and whether a reload applies it. One table.

The sections below are the table: each field carries its form, its help and when a change of it
applies. `SETTINGS` lists them all, and feeds the TOML reader, the environment (`server.bind` is
EMR_SERVER_BIND), the flags, `config init`, `config show` and the documentation. The values that
come out are frozen; what the core and the server need of them is `lane_settings` and
`server_limits`.

`server.allowed_hosts` and `cache.scope` are None where they are left to what `server.bind` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from emr.control.binds import Bind, Binds, HostForm, host_names, parse_bind
from emr.control.places import MEMORY, Places
from emr.control.rows import Row
from emr.control.values import VARIABLE, Choice, Distinct, Form, Mode, Real, Size, Text, Whole
from emr.front.desk import NO_LIMITS, KeyLimits
from emr.front.exchange import ServerLimits
from emr.lane.settings import LaneSettings

T = TypeVar("T")

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
HOUR_MS = 3_600_000  # the longest deadline that a caller may ask for
COUNT_MAX = 1_000_000
PATH = Text("the path of a file")


class Applies(Enum):
    """When a change of a setting takes effect."""

    AT_RELOAD = "reload"
    AT_RESTART = "restart"


RELOAD, RESTART = Applies.AT_RELOAD, Applies.AT_RESTART


def _set(
    default: T, form: Form, applies: Applies, help: str, flag: str = "", example: object = None
) -> T:
    """A field of a section, with all that is known of the setting.

    `example` stands in `config init` for a setting without a default.
    """
    told = {"form": form, "applies": applies, "help": help, "flag": flag, "example": example}
    return field(default=default, metadata=told)


@dataclass(frozen=True, slots=True)
class Server:
    """`[server]`."""

    bind: tuple[str, ...] = _set(
        ("127.0.0.1:3200",), Binds(), RESTART,
        "where to listen: host:port, unix:/path, or a list; an inherited systemd socket wins",
        flag="--bind",
    )  # fmt: skip
    socket_mode: int = _set(0o660, Mode(), RESTART, "permissions of a Unix socket")
    max_body_bytes: int = _set(
        16 * MIB, Size(KIB, GIB), RESTART, "the largest body of a request; over it 413"
    )
    max_head_bytes: int = _set(
        32 * KIB, Size(KIB, MIB), RESTART, "the largest head of a request; over it 431"
    )
    max_connections: int = _set(
        12_000, Whole(1, COUNT_MAX), RESTART,
        "connections at a time; the soft limit of open files is raised to fit at start",
    )  # fmt: skip
    max_texts_per_request: int = _set(
        2048, Whole(1, 100_000), RELOAD, "texts in one request; over it 400"
    )
    deadline_ms: int = _set(
        60_000, Whole(1, HOUR_MS), RELOAD, "deadline of an interactive request that names none"
    )
    bulk_deadline_ms: int = _set(
        600_000, Whole(1, HOUR_MS), RELOAD, "deadline of a bulk request that names none"
    )
    key_variables: tuple[str, ...] = _set(
        (), Distinct(VARIABLE), RELOAD,
        "further environment variables that a provider added over the admin API may name as its"
        " key; those that end in _API_KEY always may, EMR_* never",
    )  # fmt: skip
    head_timeout_ms: int = _set(
        10_000, Whole(1, HOUR_MS), RESTART, "time for the head of a request, whole"
    )
    body_timeout_ms: int = _set(
        30_000, Whole(1, HOUR_MS), RESTART, "time for the body of a request, whole"
    )
    keepalive_ms: int = _set(
        75_000, Whole(1, HOUR_MS), RESTART, "how long a connection may stay idle"
    )
    drain_ms: int = _set(
        30_000, Whole(1, HOUR_MS), RESTART, "how long a stop waits for work in flight"
    )
    tls_cert: str | None = _set(
        None, PATH, RESTART, "PEM file of the certificate chain", example="/etc/emr/tls/cert.pem"
    )
    tls_key: str | None = _set(
        None, PATH, RESTART, "PEM file of its private key", example="/etc/emr/tls/key.pem"
    )
    client_ca: str | None = _set(
        None, PATH, RESTART, "PEM file of the CA that must have signed every client's certificate",
        example="/etc/emr/tls/clients.pem",
    )  # fmt: skip
    allowed_hosts: tuple[str, ...] | None = _set(
        None, Distinct(HostForm(), least=1), RESTART,
        'Host names that are answered, loopback names always; "*" is any. Without it: loopback'
        " names when bound to loopback, else any",
        example=("emr.internal",),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Multiplexer:
    """`[multiplexer]`."""

    batch_window_ms: int = _set(
        50, Whole(0, 60_000), RESTART,
        "the longest a text is held back on purpose, while calls are in flight; a lone text never",
    )  # fmt: skip
    channel_capacity: int = _set(
        1024, Whole(1, COUNT_MAX), RESTART, "waiting requests a lane; over it 503"
    )
    initial_batch_size: int = _set(
        1, Whole(1, 100_000), RESTART,
        "the first fill threshold K, in texts; holds back only while a call is in flight",
    )  # fmt: skip
    success_streak_threshold: int = _set(
        10, Whole(1, COUNT_MAX), RESTART, "clean calls in a row before K goes down by one"
    )
    max_queue_bytes: int = _set(
        256 * MIB,
        Size(MIB, 64 * GIB),
        RESTART,
        "all waiting texts together, and 200 bytes for each; over it 503",
    )


@dataclass(frozen=True, slots=True)
class Retry:
    """`[retry]`."""

    max_retries: int = _set(
        2, Whole(0, 100), RESTART, "further attempts after a broken or malformed one"
    )
    per_attempt_cap_ms: int = _set(
        15_000, Whole(1, HOUR_MS), RESTART,
        "the longest back-off that emr chooses itself; a provider's Retry-After is never shortened",
    )  # fmt: skip
    cumulative_cap_ms: int = _set(
        45_000, Whole(1, HOUR_MS), RESTART,
        "the longest an interactive request waits after its first failure",
    )  # fmt: skip
    connect_timeout_ms: int = _set(5_000, Whole(1, HOUR_MS), RESTART, "time to reach a provider")
    call_timeout_ms: int = _set(60_000, Whole(1, HOUR_MS), RESTART, "time of one call, whole")


@dataclass(frozen=True, slots=True)
class Health:
    """`[health]`."""

    rolling_window_minutes: int = _set(
        60, Whole(1, 1440), RESTART, "over which the figures of a provider are taken"
    )
    failure_threshold: int = _set(
        5, Whole(1, COUNT_MAX), RESTART, "broken calls in a row before the sin-bin"
    )
    sinbin_initial_seconds: int = _set(30, Whole(1, 86_400), RESTART, "the first sin-bin")
    sinbin_max_seconds: int = _set(600, Whole(1, 86_400), RESTART, "the longest sin-bin")
    sinbin_multiplier: float = _set(
        2.0, Real(1.0, 100.0), RESTART, "how much longer each further sin-bin is"
    )
    recovery_probe_interval_seconds: int = _set(
        30, Whole(1, 86_400), RESTART, "between probes of a provider in the sin-bin"
    )
    binned_wait_ms: int = _set(
        15_000, Whole(1, HOUR_MS), RESTART,
        "the longest an interactive request waits behind a sin-bin before 503",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cache:
    """`[cache]`."""

    max_bytes: int = _set(64 * MIB, Size(0, 1024 * GIB), RESTART, "in memory; 0 for none")
    path: str | None = _set(
        None, PATH, RESTART, "its file on disk; without one: memory only",
        example="~/.cache/emr/vectors.db",
    )  # fmt: skip
    max_disk_bytes: int = _set(GIB, Size(0, 1024 * GIB), RESTART, "on disk; 0 for none")
    scope: str | None = _set(
        None, Choice(("shared", "key")), RESTART,
        "whether keys share entries. Without it: shared when every bind is loopback or a Unix"
        " socket, else key (a hit tells that somebody asked that text before)",
        example="key",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class KeyDefaults:
    """`[keys]`: the limits of keys that have none of their own."""

    requests_per_minute: int | None = _set(
        None, Whole(1, COUNT_MAX), RELOAD,
        "requests a minute of a key that has no such limit of its own; over it 429",
        example=600,
    )  # fmt: skip
    tokens_per_minute: int | None = _set(
        None, Whole(1, 10**12), RELOAD,
        "tokens a minute of a key that has no such limit of its own",
        example=1_000_000,
    )  # fmt: skip
    tokens_per_month: int | None = _set(
        None, Whole(1, 10**15), RELOAD,
        "tokens a calendar month (UTC) of a key that has no such limit of its own",
        example=100_000_000,
    )  # fmt: skip

    def limits(self) -> KeyLimits:
        """As they are held against requests."""
        limits = KeyLimits(self.requests_per_minute, self.tokens_per_minute, self.tokens_per_month)
        return NO_LIMITS if limits == NO_LIMITS else limits


@dataclass(frozen=True, slots=True)
class Usage:
    """`[usage]`."""

    retention_days: int = _set(
        90, Whole(1, 36_500), RESTART, "how long usage is kept; that of the present month always"
    )


@dataclass(frozen=True, slots=True)
class Database:
    """`[database]`."""

    path: str = _set(
        "~/.config/emr/emr.db", PATH, RESTART, "the SQLite file of keys, providers and usage",
        flag="--database",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Log:
    """`[log]`."""

    level: str = _set(
        "info", Choice(("debug", "info", "warning", "error")), RELOAD, "what is logged",
        flag="--log-level",
    )  # fmt: skip
    format: str = _set(
        "auto", Choice(("auto", "text", "json")), RESTART,
        "auto: text on a terminal, JSON lines otherwise",
        flag="--log-format",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """The effective configuration. `models` maps an alias to `provider/model`."""

    server: Server = Server()
    multiplexer: Multiplexer = Multiplexer()
    retry: Retry = Retry()
    health: Health = Health()
    cache: Cache = Cache()
    keys: KeyDefaults = KeyDefaults()
    usage: Usage = Usage()
    database: Database = Database()
    log: Log = Log()
    models: Mapping[str, str] = field(default_factory=dict)
    providers: tuple[Row, ...] = ()

    def binds(self) -> tuple[Bind, ...]:
        """Where to listen, parsed."""
        return tuple(parse_bind(text) for text in self.server.bind)

    def allowed_hosts(self) -> frozenset[str] | None:
        """The Host names that are answered, lower case, no port; None for any."""
        return host_names(self.binds(), self.server.allowed_hosts)

    def cache_scope(self) -> str:
        """`shared` or `key`."""
        if self.cache.scope is not None:
            return self.cache.scope
        return "shared" if all(bind.is_loopback for bind in self.binds()) else "key"

    def database_file(self, places: Places) -> Path | None:
        """The database's file, None for one in memory (`:memory:`)."""
        return None if self.database.path == MEMORY else places.expand(self.database.path)

    def start_warnings(self) -> tuple[str, ...]:
        """What an operator should know before the server listens."""
        if self.server.tls_cert is not None:
            return ()
        return tuple(
            f"listening on {bind} without TLS: keys and texts cross the network in the clear;"
            " set server.tls_cert and server.tls_key, or bind to 127.0.0.1"
            for bind in self.binds()
            if not bind.is_loopback
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of the table. Without a default it may be left unset, and has `example`."""

    section: str
    name: str
    default: Any
    form: Form
    applies: Applies
    help: str
    flag: str
    example: Any

    @property
    def key(self) -> str:
        """Its dotted name, `server.bind`."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it, EMR_SERVER_BIND."""
        return f"EMR_{self.section}_{self.name}".upper()

    def of(self, settings: Settings) -> Any:
        """Its value in `settings`."""
        return getattr(getattr(settings, self.section), self.name)


SECTIONS: dict[str, type[Any]] = {
    "server": Server, "multiplexer": Multiplexer, "retry": Retry, "health": Health,
    "cache": Cache, "keys": KeyDefaults, "usage": Usage, "database": Database, "log": Log,
}  # fmt: skip


def _table() -> Iterator[Setting]:
    for section, kind in SECTIONS.items():
        for one in fields(kind):
            known: Field[Any] = one
            assert known.default is not MISSING, "a setting without a default: a bug"
            told = known.metadata
            yield Setting(
                section, known.name, known.default,
                told["form"], told["applies"], told["help"], told["flag"], told["example"],
            )  # fmt: skip


SETTINGS: tuple[Setting, ...] = tuple(_table())


def lane_settings(settings: Settings) -> LaneSettings:
    """What the core obeys; times in seconds."""
    mux, retry, health = settings.multiplexer, settings.retry, settings.health
    return LaneSettings(
        batch_window_s=mux.batch_window_ms / 1000,
        channel_capacity=mux.channel_capacity,
        initial_batch_size=mux.initial_batch_size,
        success_streak_threshold=mux.success_streak_threshold,
        max_queue_bytes=mux.max_queue_bytes,
        max_retries=retry.max_retries,
        per_attempt_cap_s=retry.per_attempt_cap_ms / 1000,
        cumulative_cap_s=retry.cumulative_cap_ms / 1000,
        call_timeout_s=retry.call_timeout_ms / 1000,
        rolling_window_s=health.rolling_window_minutes * 60.0,
        failure_threshold=health.failure_threshold,
        sinbin_initial_s=float(health.sinbin_initial_seconds),
        sinbin_max_s=float(health.sinbin_max_seconds),
        sinbin_multiplier=health.sinbin_multiplier,
        probe_interval_s=float(health.recovery_probe_interval_seconds),
        binned_wait_s=health.binned_wait_ms / 1000,
        share_flights=settings.cache_scope() == "shared",
    )


def server_limits(settings: Settings) -> ServerLimits:
    """What the server obeys; times in seconds."""
    server = settings.server
    return ServerLimits(
        max_body_bytes=server.max_body_bytes,
        max_head_bytes=server.max_head_bytes,
        max_connections=server.max_connections,
        head_timeout_s=server.head_timeout_ms / 1000,
        body_timeout_s=server.body_timeout_ms / 1000,
        keepalive_s=server.keepalive_ms / 1000,
        drain_s=server.drain_ms / 1000,
        allowed_hosts=settings.allowed_hosts(),
    )
