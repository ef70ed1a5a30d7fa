"""What a call's ending does: to the laws of its account, and to the tickets that travelled in it.

A signal moves only what it says something about: RATE the gate and K, OVERLOAD the gate, TRANSIENT
the sin-bin, SIZE_ the caps, AUTH and QUOTA the gate; PROTOCOL and BAD_ move nothing but the tickets
of the call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from emr.lane import patience, words
from emr.lane.effects import Effects
from emr.lane.gate import LATCHES, TRIED_AGAIN, Reason
from emr.lane.retry import backoff_s
from emr.lane.split import give
from emr.lane.ticket import Batch, Request, Ticket
from emr.lane.verdict import Ending, Reply, Verdict

if TYPE_CHECKING:
    from emr.lane.account import Account

SIZES = (Ending.SIZE_ITEMS, Ending.SIZE_TOKENS, Ending.SIZE_BYTES)
BROKEN = (Ending.TRANSIENT, Ending.PROTOCOL)
LATCHING = (Ending.AUTH, Ending.QUOTA)
WAITS = (Ending.RATE, Ending.OVERLOAD)


def settle(
    account: Account, batch: Batch, verdict: Verdict, reply: Reply | None, now: float, out: Effects
) -> None:
    """Take in how a call ended. Each of its tickets is answered, refused, or waits again."""
    account.flying.discard(batch)
    ending = verdict.ending
    _move_laws(account, batch, verdict, now, out)
    if ending is Ending.OK:
        assert reply is not None, "an OK without a reply: a bug"
        _answer(account, batch, reply, now, out)
    elif ending in SIZES:
        _shrink(account, batch, verdict, now, out)
    elif ending is Ending.BAD_TEXT:
        _bad_text(account, batch, verdict, now, out)
    elif ending is Ending.BAD_REQUEST:
        _refuse_all(account, batch, verdict, out)
    elif ending in LATCHING:
        said = words.Said(verdict, batch)
        for ticket in batch.tickets:
            _give_up(account, said, ticket.request, verdict, out)
    elif ending in WAITS:
        _wait_again(account, batch.tickets, verdict, now, out)
    else:
        _try_again(account, batch, verdict, now, out)
    if account.gate.reason in LATCHES and now < account.gate.until:
        patience.shed(account, now, out)  # what was put back, or waited for this try


def _move_laws(account: Account, batch: Batch, verdict: Verdict, now: float, out: Effects) -> None:
    """Gate, slots and K, and who cannot wait for what the gate now says."""
    gate, slots = account.gate, account.slots
    ending = verdict.ending
    if ending is Ending.TRANSIENT and batch.short:
        return  # cut off earlier than such calls need: it says nothing about the provider
    before, binned_before = gate.epoch, gate.reason
    if ending in LATCHING:  # everyone will be told its words
        verdict = replace(verdict, message=words.Said(verdict, batch).to_all())
    gate.settle(verdict, batch.epoch, now, account.latency.rtt_s, account.pace.interval_s)
    changed = gate.epoch != before
    if changed:
        if binned_before in TRIED_AGAIN and gate.ramping:
            slots.restart()
        _note_gate(account, verdict, now, out)
        patience.shed(account, now, out)
    if ending is Ending.OK:
        if slots.success(len(account.flying) + 1):
            gate.end_ramp()
        if account.threshold.clean():
            account.note(out, "K lowered after clean calls", k=account.threshold.value)
    elif ending is Ending.RATE and changed:
        account.threshold.rate_limited(account.caps.max_texts)
        account.note(out, "K doubled after a rate limit", k=account.threshold.value)


def _note_gate(account: Account, verdict: Verdict, now: float, out: Effects) -> None:
    gate = account.gate
    figures: dict[str, object] = {"gate": gate.reason.value, "verdict": verdict.ending.value}
    if gate.until > now:
        figures["seconds"] = round(gate.until - now, 3)
    if gate.reason is Reason.BINNED:
        figures["consecutive_failures"] = gate.failures
        figures["sinbin_seconds"] = round(gate.bin_ends - now, 3)
    account.note(out, "Gate changed", **figures)


def _answer(account: Account, batch: Batch, reply: Reply, now: float, out: Effects) -> None:
    """The call brought vectors: everyone gets their own."""
    seconds = now - batch.sent_at
    account.latency.took(batch.tokens, seconds)
    account.caps.succeeded(batch, reply.tokens, now)
    complete = give(batch, reply, seconds)
    for request in complete:
        request.answered_by = account.spec.provider
    out.ended.extend(complete)


def _shrink(account: Account, batch: Batch, verdict: Verdict, now: float, out: Effects) -> None:
    """The call was too large: smaller ones go at once; one text or a whole body has none."""
    if batch.texts == 1 or batch.lane_params.whole is not None:
        _bad_text(account, batch, verdict, now, out)
        return
    caps = account.caps
    estimates_changed = caps.refused(batch, verdict)
    account.note(
        out, "Cap learned", texts=caps.max_texts, tokens=caps.max_tokens, bytes=caps.max_bytes
    )
    for ticket in _alive(batch.tickets):
        account.put_back(ticket, now)
    if estimates_changed:
        account.weigh_again()


def _bad_text(account: Account, batch: Batch, verdict: Verdict, now: float, out: Effects) -> None:
    """A text is at fault: its caller is told; the others go again."""
    guilty, place = _guilty(batch, verdict)
    if guilty is None:
        for ticket in _alive(batch.tickets):
            ticket.alone = True
            account.put_back(ticket, now)
        return
    said = words.Said(verdict, batch).to(guilty)
    if place is not None and verdict.index is not None:
        said = words.own_index(said, verdict.index, place)
    param = None if place is None else f"input[{place}]"
    out.refuse(guilty, words.bad_text(account.spec.provider, verdict, said, param))
    for ticket in _alive(batch.tickets):
        account.put_back(ticket, now)


def _guilty(batch: Batch, verdict: Verdict) -> tuple[Request | None, int | None]:
    """Whose text is at fault, and its place in that request, as far as it is known."""
    if verdict.index is not None and 0 <= verdict.index < batch.texts:
        at = verdict.index
        for ticket in batch.tickets:
            if at < len(ticket.places):
                return ticket.request, ticket.places[at]
            at -= len(ticket.places)
    if batch.callers == 1:
        request = batch.tickets[0].request
        return request, batch.tickets[0].places[0] if batch.texts == 1 else None
    return None, None


def _refuse_all(account: Account, batch: Batch, verdict: Verdict, out: Effects) -> None:
    """The parameters are at fault, and all texts of a lane have the same."""
    said = words.Said(verdict, batch)
    for ticket in batch.tickets:
        told = words.bad_text(account.spec.provider, verdict, said.to(ticket.request), None)
        out.refuse(ticket.request, told)


def _wait_again(
    account: Account, tickets: Iterable[Ticket], verdict: Verdict, now: float, out: Effects
) -> None:
    """A rate limit, or used up capacity: no try was spent; the gate tells when to go on."""
    for ticket in _alive(tickets):
        request = ticket.request
        request.failed_at = request.failed_at or now
        request.failed_by = verdict
        account.put_back(ticket, now)
    patience.shed(account, now, out)
    account.look_at_patience()


def _try_again(account: Account, batch: Batch, verdict: Verdict, now: float, out: Effects) -> None:
    """The call broke: tickets with tries left go again after a back-off, for one credit a call."""
    if batch.probe:
        for ticket in _alive(batch.tickets):  # no try: a probe may fail as often as it must
            _failed(ticket.request, verdict, now)
            ticket.tag = account.order.tag(ticket.request, ticket.tokens)
            account.put_back(ticket, now)
        account.look_at_patience()
        return
    again: list[Ticket] = []
    said = words.Said(verdict, batch)
    for ticket in _alive(batch.tickets):
        _failed(ticket.request, verdict, now)
        ticket.tries += 1
        if ticket.tries > account.settings.max_retries:
            _give_up(account, said, ticket.request, verdict, out)
            continue
        if ticket.tries > 1 and batch.texts > account.caps.largest_success(now):
            ticket.most_texts = max(1, batch.texts // 2)
        again.append(ticket)
    again = [t for t in again if not t.request.ended]
    if not again:
        return
    paid = account.credits.take(now)
    for ticket in again:
        if not paid and not ticket.request.bulk:
            _give_up(account, said, ticket.request, verdict, out)
    again = [t for t in again if not t.request.ended]
    if paid:
        for ticket in again:
            wait = backoff_s(ticket.tries, account.settings.per_attempt_cap_s, account.rng)
            account.resting.put(ticket, now + wait)
    elif again:
        account.resting.owe(again)
    account.look_at_patience()


def _failed(request: Request, verdict: Verdict, now: float) -> None:
    request.failed_at = request.failed_at or now
    request.failed_by = verdict


def _give_up(
    account: Account, said: words.Said, request: Request, verdict: Verdict, out: Effects
) -> None:
    out.refuse(request, words.failed(account.spec.provider, verdict, said.to(request)))


def _alive(tickets: Iterable[Ticket]) -> list[Ticket]:
    return [ticket for ticket in tickets if not ticket.request.ended]
