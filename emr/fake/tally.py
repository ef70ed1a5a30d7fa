"""What the fake counted: calls, texts and tokens, by ending, key and model.

A key is shown as eight hex digits of its hash, never itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b


def key_id(key: str) -> str:
    """How a key is called in counts."""
    return blake2b(key.encode(), digest_size=4).hexdigest()


@dataclass(slots=True)
class Sum:
    """Calls answered with vectors, and what they carried."""

    calls: int = 0
    texts: int = 0
    tokens: int = 0

    def add(self, texts: int, tokens: int) -> None:
        """One more call."""
        self.calls += 1
        self.texts += texts
        self.tokens += tokens

    def plain(self) -> dict[str, int]:
        """As JSON shows it."""
        return {"calls": self.calls, "texts": self.texts, "tokens": self.tokens}


@dataclass(slots=True)
class Tally:
    """Counts since the start or the last reset.

    `calls` are all that came. `good` are those answered with right vectors, and billed; `spoilt`
    those answered with a 200 that no client can use; `left` those whose client went away first.
    """

    since: float = 0.0
    calls: int = 0
    good: Sum = field(default_factory=Sum)
    spoilt: Sum = field(default_factory=Sum)
    left: Sum = field(default_factory=Sum)
    by_status: Counter[int] = field(default_factory=Counter)
    by_fault: Counter[str] = field(default_factory=Counter)
    by_complaint: Counter[str] = field(default_factory=Counter)
    by_size: Counter[int] = field(default_factory=Counter)
    by_key: dict[str, Sum] = field(default_factory=dict)
    by_model: dict[str, Sum] = field(default_factory=dict)

    def add_good(self, key: str, model: str, texts: int, tokens: int) -> None:
        """A call answered with right vectors."""
        self.good.add(texts, tokens)
        for table, name in ((self.by_key, key), (self.by_model, model)):
            one = table.get(name)
            if one is None:
                one = table[name] = Sum()
            one.add(texts, tokens)

    def plain(self, now: float) -> dict[str, object]:
        """As JSON shows it; the texts of a call by size, smallest first."""
        return {
            "seconds": round(now - self.since, 3),
            "calls": self.calls,
            "texts": self.good.texts,
            "tokens": self.good.tokens,
            "good": self.good.plain(),
            "spoilt": self.spoilt.plain(),
            "left": self.left.plain(),
            "by_status": {str(k): n for k, n in sorted(self.by_status.items())},
            "by_fault": dict(self.by_fault),
            "by_complaint": dict(self.by_complaint),
            "by_size": {str(k): n for k, n in sorted(self.by_size.items())},
            "by_key": {key_id(name): s.plain() for name, s in self.by_key.items()},
            "by_model": {name: s.plain() for name, s in self.by_model.items()},
        }
