"""How long a lane's vectors are: a reply of another length is not the vector that was asked for.

The length is told: by the request, by the provider's row or by the table of models. Where nobody
tells, it is what the provider answered before; a new length is believed when it comes BELIEVED
times in a row (the model behind the name was exchanged), and until then counts as a broken reply.
One request that is tried again, in parts too, is not enough for that: a provider that now and then
loses a number must not have its way by being asked twice.
"""

from __future__ import annotations

from collections.abc import Mapping

from emr.lane.ticket import Params

REMEMBERED = 512  # lanes whose length is kept in mind; the oldest is forgotten first
BELIEVED = 10  # twice the calls that one request of three texts may take
PACKED = ("binary", "ubinary")  # eight numbers of the model's are one of the vector's


class Lengths:
    """The lengths of an account's vectors; `known` are the defaults by model id."""

    __slots__ = ("_known", "_seen", "_suspects")

    def __init__(self, known: Mapping[str, int]) -> None:
        self._known = known
        self._seen: dict[Params, int] = {}
        self._suspects: dict[Params, tuple[int, int]] = {}  # a new length, and how often it came

    def fault(self, params: Params, length: int) -> str:
        """What is wrong with vectors of this length; empty when they are right."""
        if params.whole is not None:
            return ""
        told = params.dimensions or self._known.get(params.model)
        if told is not None:
            wanted = told // 8 if params.dtype in PACKED else told
            return "" if length == wanted else self._sentence(length, wanted)
        seen = self._seen.get(params)
        if seen is None or length == seen:
            self._remember(params, length)
            return ""
        suspect, times = self._suspects.get(params, (length, 0))
        times = times + 1 if suspect == length else 1
        if times >= BELIEVED:
            self._remember(params, length)
            return ""
        self._suspects[params] = (length, times)
        return self._sentence(length, seen)

    def _remember(self, params: Params, length: int) -> None:
        self._suspects.pop(params, None)
        if params not in self._seen and len(self._seen) >= REMEMBERED:
            oldest = next(iter(self._seen))
            del self._seen[oldest]
            self._suspects.pop(oldest, None)
        self._seen[params] = length

    @staticmethod
    def _sentence(length: int, wanted: int) -> str:
        return (
            f"its vectors have {length} numbers, not {wanted}; if that is right, set `dimensions` "
            "of the provider"
        )
