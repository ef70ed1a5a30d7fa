"""What a call brought, given to those who share it: vectors by place, tokens by largest remainder.

The return addresses travel beside the payload in the same order: the vectors come in the order of
the batch's texts, and a ticket's `places` say where each belongs in its request.
"""

from __future__ import annotations

from collections.abc import Sequence

from emr.lane.ticket import Batch, Request
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


def give(batch: Batch, reply: Reply, seconds: float) -> list[Request]:
    """Put the vectors of `reply` into the requests of the batch, and book what was billed.

    Returns the requests that are complete now. Those that ended meanwhile take no vector; their
    share of the bill stays theirs.
    """
    complete: list[Request] = []
    tickets = batch.tickets
    weights = [t.tokens for t in tickets]
    billed = weights if reply.tokens is None else share(reply.tokens, weights)
    vectors = reply.vectors
    assert reply.body is not None or len(vectors) == batch.texts, "a count not checked: a bug"
    at = 0
    for ticket, tokens in zip(tickets, billed, strict=True):
        request = ticket.request
        request.billed += tokens
        request.provider_s = max(request.provider_s, seconds)
        request.batch_texts = max(request.batch_texts, batch.texts)
        request.model = reply.model or request.params.model
        places = ticket.places
        if not request.ended:
            if reply.body is not None:
                request.body = reply.body
                request.missing = 0
            elif len(places) == 1:
                request.vectors[places[0]] = vectors[at]
                request.missing -= 1
            else:
                for offset, place in enumerate(places, at):
                    request.vectors[place] = vectors[offset]
                request.missing -= len(places)
            if request.missing == 0:
                complete.append(request)
        at += len(places)
    return complete
