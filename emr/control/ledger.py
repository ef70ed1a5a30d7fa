"""What passed since the last flush, by key, provider and model, in plain integers.

Rules of this file
- Tokens are booked a call, as its bill was shared (`emr.lane.split`): whoever left meanwhile pays
  for what was sent for him, and the lines of one call sum to what the provider billed. What a
  provider billed for a reply that could not be read is not known, and not booked.
- A call that several requests share is shared in millionths, by tokens as its bill is, and what
  division leaves goes to the first: the lines of all keys sum to the calls that were made.
- A request is booked when it ends, at the provider that answered it, or where it waited last.
- Calls of emr's own (the harmless sentence that tries a provider, an operator's tests and probes)
  are booked to the key without a name.
- Lines are made anew after each flush, so that a changed price counts from then on. On the way of
  a request there is a look-up, and nothing is made: measured 0.4 µs a request of one text for its
  end, and 0.5 to 0.9 µs for its share of a call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from emr.control.quotas import Purse, Quotas
from emr.lane.effects import Send
from emr.lane.ticket import Request
from emr.lane.verdict import Outcome

CALL = 1_000_000  # parts of a call; no call is shared by more requests
OWN = ""  # the key of emr's own calls

Price = Callable[[str, str], float | None]
At = tuple[str, str, str]  # key id, provider, model


class Line:
    """The counters of one key at one model of a provider. `price` is of a million tokens, or None.

    `requests` are all that ended: answered, refused (`errors`), and left (`abandoned`); `limited`
    are those that the key's own limits kept out. `texts` were answered, `cache_hits` of them from
    the cache. `alone` is how many calls the answered requests would have taken one by one.
    """

    __slots__ = (
        "abandoned", "alone", "cache_hits", "call_parts", "errors", "limited", "price", "purse",
        "requests", "texts", "tokens",
    )  # fmt: skip

    def __init__(self, price: float | None, purse: Purse) -> None:
        self.price = price
        self.purse = purse
        self.requests = self.errors = self.abandoned = self.limited = 0
        self.texts = self.cache_hits = self.alone = 0
        self.tokens = self.call_parts = 0

    def add(self, other: Line) -> None:
        """Count what another line of the same key, provider and model counted.

        Where their prices differ, nobody knows what the sum costs.
        """
        for name in COUNTERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if self.price != other.price:
            self.price = None

    @property
    def cost(self) -> float:
        """What its tokens cost in dollars, as far as that is known."""
        return 0.0 if self.price is None else self.tokens * self.price / 1e6

    @property
    def tokens_without_price(self) -> int:
        """Its tokens of which nobody knows what they cost."""
        return self.tokens if self.price is None else 0


COUNTERS = tuple(name for name in Line.__slots__ if name not in ("price", "purse"))


class Ledger:
    """The lines of all that passed since `take`. `begun` is called when the first is made."""

    def __init__(self, quotas: Quotas, price: Price, begun: Callable[[], None]) -> None:
        self.lines: dict[At, Line] = {}
        self._quotas = quotas
        self._price = price
        self._begun = begun

    # what is told

    def called(self, send: Send, outcome: Outcome, seconds: float) -> None:
        """A provider call ended: book its tokens, and the call itself, to those who share it."""
        batch = send.batch
        provider, model = send.account.spec.provider, batch.lane_params.model
        bill = batch.bill
        if (
            batch.tickets[0].request.caller == OWN
        ):  # travels alone, and neither saves calls nor wastes
            self._line(OWN, provider, model).alone += 1
        if bill:
            whole = sum([tokens for _, tokens in bill])
        else:  # nothing was billed: the call is theirs whose texts it carried
            self._failed(provider, model, [(t.request, t.tokens) for t in batch.tickets])
            return
        lines, left = self.lines, CALL
        for request, tokens in bill:
            line = lines.get((request.caller, provider, model))
            if line is None:
                line = self._line(request.caller, provider, model)
            line.tokens += tokens
            part = CALL * tokens // whole if whole else CALL // len(bill)
            line.call_parts += part
            left -= part
            purse = line.purse
            purse.tokens_month += tokens
            if purse.is_watched:
                self._quotas.billed(purse, request, tokens)
        if left:
            lines[bill[0][0].caller, provider, model].call_parts += left

    def _failed(self, provider: str, model: str, sent: Sequence[tuple[Request, int]]) -> None:
        whole, left = sum([tokens for _, tokens in sent]), CALL
        for request, tokens in sent:
            part = CALL * tokens // whole if whole else CALL // len(sent)
            self._line(request.caller, provider, model).call_parts += part
            left -= part
        self._line(sent[0][0].caller, provider, model).call_parts += left

    def called_by_operator(self, provider: str, model: str, tokens: int) -> None:
        """A call that an operator asked for went round the lanes."""
        line = self._line(OWN, provider, model)
        line.tokens += tokens
        line.call_parts += CALL
        line.alone += 1

    def ended(self, request: Request) -> None:
        """A request is answered, refused, or left."""
        provider, caller = request.answered_by, request.caller
        if provider and caller:  # it was taken in, and is not emr's own
            model = request.params.model
            line = self.lines.get((caller, provider, model))
            if line is None:
                line = self._line(caller, provider, model)
            line.requests += 1
            if request.left:
                line.abandoned += 1
            elif request.refusal is not None:
                line.errors += 1
            else:
                texts = len(request.texts)
                line.texts += texts
                line.cache_hits += request.cached
                line.alone += 1 if texts <= 1 else calls_alone(request)
        self._quotas.ended(request)

    def limited(self, caller: str, provider: str, model: str, requests: int) -> None:
        """The key's own limits kept so many requests out."""
        self._line(caller, provider, model).limited += requests

    # what was counted

    def take(self) -> dict[At, Line]:
        """All lines; counting begins anew."""
        lines, self.lines = self.lines, {}
        return lines

    def _line(self, caller: str, provider: str, model: str) -> Line:
        at = (caller, provider, model)
        line = self.lines.get(at)
        if line is None:
            if not self.lines:
                self._begun()
            purse = self._quotas.purse(caller)
            line = self.lines[at] = Line(self._price(provider, model), purse)
        return line


def calls_alone(request: Request) -> int:
    """How many calls a request would take on its own, at what a call of its provider may carry."""
    if not request.members:
        return 1
    caps = request.members[0].caps
    by_texts = math.ceil(len(request.texts) / caps.max_texts)
    return max(1, by_texts, math.ceil(sum(request.tokens) / caps.max_tokens))
