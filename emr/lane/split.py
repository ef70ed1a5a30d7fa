"""What a call brought, given to those who share it: vectors by place, tokens by largest remainder.

The return addresses travel beside the payload in the same order: the vectors come in the order of
the batch's texts, and a ticket's `places` say where each belongs in its request.
"""

from __future__ import annotations

from collections.abc import Sequence

from emr.lane.flight import Flights
from emr.lane.ticket import Batch, Origin, Request, Ticket
from emr.lane.verdict import Reply


def share(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` by `weights` so that the parts are whole and sum to it exactly.

    The largest remainder method (Hamilton): each gets the floor of its quota, and what is left
    goes one by one to the largest remainders, the first of equals first.
    """
    if len(weights) == 1:
        return [total]
    whole = sum(weights)
    if whole <= 0:
        weights, whole = [1] * len(weights), len(weights)
    parts = [total * w // whole for w in weights]
    left = total - sum(parts)
    if left:
        by_remainder = sorted(range(len(weights)), key=lambda i: -(total * weights[i] % whole))
        for i in by_remainder[:left]:
            parts[i] += 1
    return parts


def give(
    batch: Batch, reply: Reply, seconds: float, flights: Flights, provider: str
) -> list[Request]:
    """Put the vectors of `reply` into the requests of the batch, and book what was billed.

    Who waited for a text beside its holder gets the same vector, and an equal share of the text's
    bill. Returns the requests that are complete now. Those that ended meanwhile take no vector;
    their share of the bill stays theirs.
    """
    vectors = reply.vectors
    assert reply.body is not None or len(vectors) == batch.texts, "a count not checked: a bug"
    origin = Origin(reply.dimensions, reply.model, provider)
    complete: list[Request] = []
    shares: list[tuple[Request, int]] = []
    at = 0
    for ticket in batch.tickets:
        request, places = ticket.request, ticket.places
        weight = _weight(ticket)
        for place, waiters in flights.end(request, places):
            vector = vectors[at + places.index(place)]
            own, *parts = share(request.tokens[place], [1] * (len(waiters) + 1))
            weight += own - request.tokens[place]
            for (waiter, where), part in zip(waiters, parts, strict=True):
                shares.append((waiter, part))
                waiter.queue_s = max(waiter.queue_s, batch.sent_at - waiter.arrived)
                waiter.attempts = max(1, waiter.attempts)
                _tell(waiter, batch, reply, seconds)
                if not waiter.ended:
                    waiter.measure(origin)
                    waiter.vectors[where] = vector
                    _take(waiter, 1, complete)
        shares.append((request, weight))
        _tell(request, batch, reply, seconds)
        if not request.ended:
            if reply.body is not None:
                request.body = reply.body
                _take(request, request.missing, complete)
            else:
                request.measure(origin)
                for offset, place in enumerate(places, at):
                    request.vectors[place] = vectors[offset]
                _take(request, len(places), complete)
        at += len(places)
    _bill(batch, shares, reply.tokens)
    return complete


def waste(batch: Batch, tokens: int) -> None:
    """Book what the provider billed for a reply of no use: those whose texts were sent pay."""
    _bill(batch, [(ticket.request, _weight(ticket)) for ticket in batch.tickets], tokens)


def _weight(ticket: Ticket) -> int:
    """The estimated tokens of a ticket's texts, as they are now.

    Not those that it was sent with: the estimates may have changed since, and a share of a text
    taken off a sum of others would be less than nothing.
    """
    tokens, places = ticket.request.tokens, ticket.places
    return tokens[places[0]] if len(places) == 1 else sum([tokens[place] for place in places])


def _tell(request: Request, batch: Batch, reply: Reply, seconds: float) -> None:
    """Keep what the answer's headers say of the call."""
    request.provider_s = max(request.provider_s, seconds)
    request.batch_texts = max(request.batch_texts, batch.texts)
    request.model = reply.model or request.params.model


def _take(request: Request, texts: int, complete: list[Request]) -> None:
    request.missing -= texts
    if request.missing == 0:
        complete.append(request)


def _bill(batch: Batch, shares: Sequence[tuple[Request, int]], total: int | None) -> None:
    """Book the call's tokens: what the provider counted, else the estimates."""
    weights = [weight for _, weight in shares]
    billed = weights if total is None else share(total, weights)
    batch.bill = [(request, tokens) for (request, _), tokens in zip(shares, billed, strict=True)]
    for request, tokens in batch.bill:
        request.billed += tokens
