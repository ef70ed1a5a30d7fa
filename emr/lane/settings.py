"""What an operator can set about the core, and what is known of an account before its first call.

Times are in seconds. The defaults are those of the configuration file; the reasons of the other
constants stand beside them in the modules that use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from emr.lane.verdict import Dimension


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """The settings of `[multiplexer]`, `[retry]` and `[health]` that the core obeys."""

    batch_window_s: float = 0.05
    channel_capacity: int = 1024
    initial_batch_size: int = 1
    success_streak_threshold: int = 10
    max_queue_bytes: int = 256 * 1024 * 1024
    max_retries: int = 2
    per_attempt_cap_s: float = 15.0
    cumulative_cap_s: float = 45.0
    call_timeout_s: float = 60.0
    rolling_window_s: float = 3600.0
    failure_threshold: int = 5
    sinbin_initial_s: float = 30.0
    sinbin_max_s: float = 600.0
    sinbin_multiplier: float = 2.0
    probe_interval_s: float = 30.0
    binned_wait_s: float = 15.0
    share_flights: bool = True  # whether keys share texts that are under way (`cache.scope`)
    max_lanes: int = 256
    max_lanes_a_caller: int = 32


class Home(Enum):
    """Where a provider runs: decides how many calls are eager and where the slots start."""

    HOSTED = "hosted"  # a public service: limited by rates
    SELF_HOSTED = "self-hosted"  # a server of the operator's: limited by its own capacity
    LOCAL = "local"  # the model inside the process: one call at a time


@dataclass(frozen=True, slots=True)
class LimitSpec:
    """A limit a minute: the operator's word (`configured`), or a guess to start with."""

    per_minute: float
    configured: bool


@dataclass(frozen=True, slots=True)
class AccountSpec:
    """An account as the provider's row and the table of kinds give it.

    `provider` is the name of the row, `scope` the model id, or empty when the limits hold for the
    whole organisation; `key` is the name of the variable of its credential. The caps are of one
    call. `limits` holds those that are known.
    """

    provider: str
    scope: str
    key: str = ""
    home: Home = Home.HOSTED
    max_texts: int = 128
    max_tokens: int = 100_000
    max_bytes: int = 8 * 1024 * 1024
    max_concurrency: int | None = None
    limits: Mapping[Dimension, LimitSpec] = field(default_factory=dict)
    tokens_a_byte: float = 0.35
    dimensions: Mapping[str, int] = field(default_factory=dict)  # defaults by model id
    weight: float = 1.0  # of what members of equal wait get
