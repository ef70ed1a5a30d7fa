"""What a call's ending does: to the laws of its account, and to the tickets that travelled in it.

A signal moves only what it says something about: RATE the gate and K, OVERLOAD the gate, TRANSIENT
the sin-bin, SIZE_ the caps, AUTH and QUOTA the gate; PROTOCOL and BAD_ move nothing but the tickets
of the call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from emr.lane import family, patience, words
from emr.lane.effects import Effects
from emr.lane.gate import LATCHES, TRIED_AGAIN, Known, Reason
from emr.lane.poison import Part, Trial
from emr.lane.retry import backoff_s
from emr.lane.slots import OVERLOADED, SLOW, TIMED_OUT
from emr.lane.split import give, waste
from emr.lane.ticket import Batch, Request, Ticket
from emr.lane.verdict import Ending, Outcome, Reply, Verdict

if TYPE_CHECKING:
    from emr.lane.account import Account

SIZES = (Ending.SIZE_ITEMS, Ending.SIZE_TOKENS, Ending.SIZE_BYTES)
LATCHING = (Ending.AUTH, Ending.QUOTA)
NOT_BILLED = (*SIZES, *LATCHING, Ending.BAD_TEXT, Ending.BAD_REQUEST, Ending.RATE, Ending.OVERLOAD)
WAITS = (Ending.RATE, Ending.OVERLOAD)


def settle(account: Account, batch: Batch, outcome: Outcome, now: float, out: Effects) -> None:
    """Take in how a call ended. Each of its tickets is answered, refused, or waits again."""
    if outcome.reply is not None:
        outcome = _measured(account, batch, outcome, outcome.reply)
    out.outcome = outcome
    verdict, reply = outcome.verdict, outcome.reply
    ending = verdict.ending
    ended_before = {ticket.request for ticket in batch.tickets if ticket.request.ended}
    account.flying.discard(batch)
    if batch.canary:
        batch.tickets[0].request.left = True  # nobody waits for it: it never goes again
    if batch.trial is not None and batch.part is not Part.DEEPER:
        batch.trial.deciding -= 1
    _move_pace(account, batch, outcome, now)
    _move_laws(account, batch, verdict, now, out)
    for ticket in batch.tickets:
        ticket.moved = False
    if ending is Ending.OK:
        assert reply is not None, "an OK without a reply: a bug"
        _answer(account, batch, reply, now, out)
    elif ending in SIZES:
        _shrink(account, batch, verdict, now, out)
    elif ending is Ending.BAD_TEXT:
        _bad_text(account, batch, verdict, now, out)
    elif ending is Ending.BAD_REQUEST:
        _refuse_all(account, batch, verdict, now, out)
    elif ending in LATCHING:
        said = words.Said(verdict, batch)
        for ticket in _alive(batch.tickets):
            target = family.better(account, ticket, now)
            if target is None:
                _give_up(account, said, ticket.request, verdict, out)
            else:
                family.move(account, target, ticket, now)
    elif ending in WAITS:
        _wait_again(account, batch, verdict, now, out)
    elif batch.trial is not None:
        _try_group_again(account, batch, verdict, now, out)
    else:
        _try_again(account, batch, verdict, now, out)
    if ending is not Ending.OK:
        _let_waiters_go(account, batch, verdict, ended_before, now, out)
    if account.gate.reason in LATCHES and now < account.gate.until:
        patience.shed(account, now, out)  # what was put back, or waited for this try
    elif account.gate.reason is Reason.BINNED:
        family.move_out(account, now)  # what was put back, where another member is well


def _measured(account: Account, batch: Batch, outcome: Outcome, reply: Reply) -> Outcome:
    """The outcome; that of a broken call, but billed, when its vectors have a wrong length."""
    fault = account.lengths.fault(batch.lane_params, reply.dimensions)
    if not fault:
        return outcome
    if reply.tokens is not None:
        waste(batch, reply.tokens)
    verdict = Verdict(Ending.PROTOCOL, outcome.verdict.status, fault)
    return replace(outcome, verdict=verdict, reply=None)


def _let_waiters_go(
    account: Account,
    batch: Batch,
    verdict: Verdict,
    ended_before: set[Request],
    now: float,
    out: Effects,
) -> None:
    """Whose ticket ended by this call: those who wait for the same texts share its refusal.

    Not that of a text which is not known to be the guilty one, and not that of a holder who ended
    for reasons of his own, and not where the provider's words have a text that is not theirs: the
    first of them holds the text then.
    """
    shared = verdict.ending is not Ending.BAD_TEXT or batch.texts == 1
    said = words.Said(verdict, batch)
    for ticket in batch.tickets:
        request = ticket.request
        if not request.ended:
            continue
        for held_at, waiters in account.flights.end(request, ticket.places):
            refusal = request.refusal
            own = request in ended_before or refusal is None
            if own or refusal is None or not shared:
                account.promote([waiters], now)
                continue
            for waiter, place in waiters:
                if said.is_for(waiter):
                    out.refuse(waiter, words.of_a_sharer(refusal, held_at, place))
            others = [each for each in waiters if not said.is_for(each[0])]
            if others:
                account.promote([others], now)


def _move_pace(account: Account, batch: Batch, outcome: Outcome, now: float) -> None:
    """The log, and what headers and refusals teach about the limits."""
    pace, caps, verdict = account.pace, account.caps, outcome.verdict
    if outcome.limits is not None:
        pace.observe(now, batch, outcome.limits)
    if verdict.ending is Ending.RATE:
        # refused though nothing else was sent for a minute: too large, or nothing to learn from
        if not pace.alone(batch):
            pace.refused(now, batch, verdict)
        elif batch.tokens > caps.most_tokens:
            half = max(1, batch.tokens // 2, caps.most_tokens)
            caps.max_tokens = min(caps.max_tokens, half)
    billed = outcome.reply.tokens if outcome.reply is not None else None
    pace.landed(now, batch, billed, refused=verdict.ending in NOT_BILLED)
    pace.rtt_s = account.latency.rtt_s


def _move_laws(account: Account, batch: Batch, verdict: Verdict, now: float, out: Effects) -> None:
    """Gate, slots and K, and who cannot wait for what the gate now says."""
    gate, slots = account.gate, account.slots
    ending = verdict.ending
    if ending is Ending.TRANSIENT and batch.short:
        return  # cut off earlier than such calls need: it says nothing about the provider
    if ending is Ending.BAD_REQUEST and verdict.status is None:
        return  # nor does one that could not be put into its words, and was never sent
    if ending is Ending.OVERLOAD:
        slots.cut(OVERLOADED, batch.number, account.calls, now)
    elif verdict.timed_out:
        slots.cut(TIMED_OUT, batch.number, account.calls, now)
    before, binned_before, until_before = gate.epoch, gate.reason, gate.until
    if ending in LATCHING:  # everyone will be told its words
        verdict = replace(verdict, message=words.Said(verdict, batch).to_all())
    twin = family.has_healthy_twin(account)
    known = Known(account.latency.rtt_s, account.pace.interval_s, twin)
    gate.settle(verdict, batch.epoch, now, known)
    if gate.reason is Reason.RATE:
        account.pace.lessons.held(now, gate.until)
    changed = gate.epoch != before
    if changed:
        if binned_before in TRIED_AGAIN and gate.ramping:
            slots.restart()
        _note_gate(account, verdict, now, out)
        family.gate_changed(account, now)
    if changed or gate.until > until_before:
        patience.shed(account, now, out)
    if ending is Ending.OK:
        _grow(account, batch, now)
        if account.threshold.clean():
            account.note(out, "K lowered after clean calls", k=account.threshold.value)
        return
    account.threshold.broken()
    if ending is Ending.RATE and changed:
        account.threshold.rate_limited(account.caps.max_texts)
        account.note(out, "K doubled after a rate limit", k=account.threshold.value)


def _grow(account: Account, batch: Batch, now: float) -> None:
    """A success: C may grow, and with it a ramp may end."""
    slots, latency = account.slots, account.latency
    if slots.too_slow(batch.tokens, now - batch.sent_at, now):
        slots.cut(SLOW, batch.number, account.calls, now)
        account.gate.troubled(now)
        return
    most = slots.most(account.rate_calls(latency.estimate_s(batch.tokens)))
    if slots.success(len(account.flying) + 1, latency.rtt_s, most, now):
        account.gate.end_ramp()


def _note_gate(account: Account, verdict: Verdict, now: float, out: Effects) -> None:
    gate = account.gate
    figures: dict[str, object] = {"gate": gate.reason.value, "verdict": verdict.ending.value}
    if gate.until > now:
        figures["seconds"] = round(gate.until - now, 3)
    if gate.reason is Reason.BINNED:
        figures["consecutive_failures"] = gate.failures
        figures["sinbin_seconds"] = round(gate.bin.ends - now, 3)
    account.note(out, "Gate changed", **figures)


def _answer(account: Account, batch: Batch, reply: Reply, now: float, out: Effects) -> None:
    """The call brought vectors: everyone gets their own."""
    seconds = now - batch.sent_at
    account.latency.took(batch.tokens, seconds)
    estimates_changed = account.caps.succeeded(batch, reply.tokens, now)
    provider = account.spec.provider
    for request in give(batch, reply, seconds, account.flights, provider):
        request.answered_by = provider
        if request.mixed:
            if request.cached:
                request.ask_anew()
                request.weigh(account.caps)
                account.enter(request, now)
                continue
            request.refusal = words.mixed(provider)
        out.ended.append(request)
    if estimates_changed:
        account.weigh_again()


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
    for ticket in reversed(_alive(batch.tickets)):
        account.put_back(ticket, now)
    if estimates_changed:
        account.weigh_again()


def _bad_text(account: Account, batch: Batch, verdict: Verdict, now: float, out: Effects) -> None:
    """A text is at fault: its caller is told, or looked for; the others go again."""
    if batch.part is Part.CANARY:
        _parameters_at_fault(account, batch, verdict, now, out)
        return
    guilty, place = _guilty(batch, verdict)
    if guilty is not None:
        said = words.Said(verdict, batch).to(guilty)
        if place is not None and verdict.index is not None:
            said = words.own_index(said, verdict.index, place)
        param = None if place is None else f"input[{place}]"
        out.refuse(guilty, words.bad_text(account.spec.provider, verdict, said, param))
        if batch.callers > 1 or batch.trial is not None:
            account.isolation.poisoned(guilty.caller, now)
    innocent = _alive(batch.tickets)
    if batch.trial is None and guilty is not None:
        for ticket in reversed(innocent):
            account.put_back(ticket, now)
        return
    trial = batch.trial or Trial(batch.lane_params)
    if guilty is None:
        _look_for_guilty(trial, batch, innocent)
    elif innocent:
        trial.groups.append((Part.DEEPER, innocent))
    account.isolation.put(trial)


def _look_for_guilty(trial: Trial, batch: Batch, tickets: list[Ticket]) -> None:
    """Halve a refused group; after two refused first halves ask the canary first."""
    trial.halve(tickets, Part.FIRST_HALF if batch.part is None else Part.DEEPER)
    if batch.part is Part.FIRST_HALF:
        trial.first_halves_failed += 1
        if trial.first_halves_failed == 2:
            trial.ask_canary()


def _parameters_at_fault(
    account: Account, batch: Batch, verdict: Verdict, now: float, out: Effects
) -> None:
    """Even the harmless sentence was refused: everyone in the trial is told what it was told."""
    trial = batch.trial
    assert trial is not None, "a canary without a trial: a bug"
    for _, group in trial.groups:
        for ticket in group:
            told = words.bad_text(account.spec.provider, verdict, verdict.message, None)
            out.refuse(ticket.request, told)
    account.sift(now)


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


def _refuse_all(account: Account, batch: Batch, verdict: Verdict, now: float, out: Effects) -> None:
    """The parameters are at fault, and all texts of a lane have the same."""
    if batch.part is Part.CANARY:
        _parameters_at_fault(account, batch, verdict, now, out)
        return
    said = words.Said(verdict, batch)
    for ticket in batch.tickets:
        told = words.bad_text(account.spec.provider, verdict, said.to(ticket.request), None)
        out.refuse(ticket.request, told)


def _wait_again(account: Account, batch: Batch, verdict: Verdict, now: float, out: Effects) -> None:
    """A rate limit, or used up capacity: no try was spent; the gate tells when to go on."""
    again = _alive(batch.tickets)
    for ticket in reversed(again):
        _failed(ticket.request, verdict, now)
        if batch.trial is None:
            account.put_back(ticket, now)
    if batch.trial is not None:
        _send_group_again(account, batch, again)
    patience.shed(account, now, out)
    account.look_at_patience()


def _send_group_again(account: Account, batch: Batch, tickets: list[Ticket]) -> None:
    """The same isolation call once more."""
    assert batch.trial is not None, "not an isolation call: a bug"
    assert batch.part is not None, "an isolation call without a part: a bug"
    if tickets:
        batch.trial.groups.append((batch.part, tickets))
        account.isolation.put(batch.trial)


def _try_group_again(
    account: Account, batch: Batch, verdict: Verdict, now: float, out: Effects
) -> None:
    """An isolation call broke: a try for its tickets, but no credit; the gate holds it back."""
    said = words.Said(verdict, batch)
    for ticket in _alive(batch.tickets):
        _failed(ticket.request, verdict, now)
        ticket.tries += 1
        if ticket.tries > account.settings.max_retries:
            _give_up(account, said, ticket.request, verdict, out)
    _send_group_again(account, batch, _alive(batch.tickets))
    account.look_at_patience()


def _try_again(account: Account, batch: Batch, verdict: Verdict, now: float, out: Effects) -> None:
    """The call broke: tickets with tries left go again after a back-off, for one credit a call."""
    if batch.probe:
        for ticket in _alive(batch.tickets):  # no try: a probe may fail as often as it must
            _failed(ticket.request, verdict, now)
            family.wait_anew(account, ticket, now)
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
