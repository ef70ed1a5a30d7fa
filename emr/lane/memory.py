"""What an account learned of its provider, as plain values that outlive the process, and back.

Kept is what refusals and headers taught: the limits a minute, each with the whole state of its law,
so that it goes on where it was; that two calls at once are refused; the caps of one call; the
tokens of a byte. Not kept is what passes by itself: gates, slots, latencies, and the log of the
last minute, which a restart takes longer than.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emr.lane.account import Account
from emr.lane.caps import Caps
from emr.lane.learner import recall_limit, remember_limit
from emr.lane.verdict import Dimension

Kept = dict[str, Any]  # as JSON has it
CAPS = ("max_texts", "max_tokens", "max_bytes")
RATIO_DIGITS = 3  # of the tokens of a byte: its changes are written, and the last digits change


def remember(account: Account) -> Kept:
    """What the account learned; empty when that is nothing."""
    kept: Kept = {}
    limits = {
        dimension.value: remember_limit(meter.learner)
        for dimension, meter in account.pace.meters.items()
        if meter.learner.learned or meter.learner.announced_limit is not None
    }
    if limits:
        kept["limits"] = limits
    if account.pace.lessons.burst_one:
        kept["burst_one"] = True
    caps, told = account.caps, Caps(account.spec)
    kept |= {n: getattr(caps, n) for n in CAPS if getattr(caps, n) < getattr(told, n)}
    if caps.tokens_a_byte != told.tokens_a_byte:
        kept["tokens_a_byte"] = max(10.0**-RATIO_DIGITS, round(caps.tokens_a_byte, RATIO_DIGITS))
    return kept


def recall(account: Account, kept: Mapping[str, Any]) -> None:
    """Let a new account know what one like it learned.

    Raises KeyError, TypeError, ValueError, AttributeError when `kept` is nothing that `remember`
    gives; the account is not to be used then.
    """
    for dimension, state in kept.get("limits", {}).items():
        meter = account.pace.meters[Dimension(dimension)]
        recall_limit(meter.learner, state, configured=meter.configured)
    account.pace.lessons.burst_one = kept.get("burst_one", False) is True
    caps = account.caps
    for name in CAPS:
        if name in kept:
            setattr(caps, name, min(getattr(caps, name), max(1, int(kept[name]))))
    if "tokens_a_byte" in kept:
        caps.guess(float(kept["tokens_a_byte"]))
