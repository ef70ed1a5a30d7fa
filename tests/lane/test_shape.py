"""What pace makes of a batch: one account, one lane, the cuts one by one."""

from __future__ import annotations

from random import Random

import pytest

from emr.lane.account import Account
from emr.lane.fill import Filling, Room, fill
from emr.lane.lane import Lane
from emr.lane.settings import AccountSpec, LaneSettings, LimitSpec
from emr.lane.shape import shaped
from emr.lane.ticket import Ticket
from emr.lane.verdict import Dimension
from tests.lane.support import batch_of, lane_of, sized, tag

ROOM = Room(1000, 1000, 1 << 20)


def account_of(**limits: float) -> Account:
    told = {Dimension(d): LimitSpec(limit, True) for d, limit in limits.items()}
    return Account(AccountSpec("p", "m", limits=told), LaneSettings(), Random(1))


def waiting(*sizes: tuple[int, bool]) -> Lane:
    """A lane of tickets of so many texts of ten tokens, bulk or not."""
    tickets = []
    for number, (texts, bulk) in enumerate(sizes):
        request = sized(texts, tokens=10)
        request.bulk = bulk
        tickets.append(Ticket(request, range(texts), tag(number), 0.0))
    return lane_of(*tickets)


def shape(account: Account, lane: Lane, now: float = 0.0) -> Filling:
    account.pace.refresh(now)
    return shaped(account, lane, fill(lane, ROOM), ROOM, now)


def use(account: Account, tokens: int, now: float = 0.0) -> None:
    """A call of so many tokens, in one text, went and was answered."""
    batch = batch_of(sized(1, tokens=tokens))
    account.pace.charge(now, batch)
    account.pace.landed(now, batch, None, refused=False)


def test_without_limits_nothing_is_cut() -> None:
    filling = shape(account_of(), waiting((50, False), (50, True)))
    assert (filling.tickets, filling.texts, filling.tokens) == (2, 100, 1000)


def test_nor_when_all_of_it_may_go() -> None:
    assert shape(account_of(tokens=100_000.0), waiting((50, False), (50, True))).texts == 100


# headed by an interactive ticket


def test_headed_by_an_interactive_ticket_it_is_what_may_go_now() -> None:
    account = account_of(tokens=6000.0)  # 600 tokens in six seconds
    use(account, 250)
    filling = shape(account, waiting((1, False), (90, False)))
    assert (filling.texts, filling.tokens) == (35, 350)


def test_but_never_less_than_that_ticket() -> None:
    account = account_of(tokens=6000.0)
    use(account, 600)
    filling = shape(account, waiting((5, False), (90, False)))
    assert (filling.tickets, filling.cut_texts, filling.texts) == (1, 0, 5)


def test_and_the_same_of_texts() -> None:
    account = account_of(items=600.0)  # 60 texts in six seconds
    assert shape(account, waiting((1, False), (90, False))).texts == 91, "nothing is owed"
    use(account, 1)
    assert shape(account, waiting((1, False), (90, False))).texts == 59
    for _ in range(59):
        use(account, 1)
    assert shape(account, waiting((5, False), (90, False))).texts == 5


# headed by bulk


@pytest.mark.parametrize(("used", "texts"), [(5500, 50), (5501, 45), (5900, 45)])
def test_bulk_without_room_is_cut_to_nine_tenths_and_waits(used: int, texts: int) -> None:
    account = account_of(tokens=6000.0)
    use(account, used)
    assert shape(account, waiting((50, True))).texts == texts


@pytest.mark.parametrize(("used", "texts"), [(550, 50), (551, 45)])
def test_and_the_same_of_its_texts(used: int, texts: int) -> None:
    account = account_of(items=600.0)
    for _ in range(used):
        use(account, 1)
    assert shape(account, waiting((50, True))).texts == texts


# bulk beside interactive texts


@pytest.mark.parametrize(("now", "texts"), [(60.0, 10), (60.1, 50)])
def test_for_a_minute_after_interactive_texts_bulk_is_cut_to_its_debt(
    now: float, texts: int
) -> None:
    """Half a second of 12,000 tokens a minute."""
    account = account_of(tokens=12_000.0)
    account.pace.interactive_came(0.0)
    assert shape(account, waiting((50, True)), now).texts == texts


def test_whoever_heads_it() -> None:
    account = account_of(tokens=12_000.0)
    account.pace.interactive_came(0.0)
    assert shape(account, waiting((1, False), (50, True))).texts == 10


def test_interactive_texts_alone_are_not() -> None:
    account = account_of(tokens=12_000.0)
    account.pace.interactive_came(0.0)
    assert shape(account, waiting((1, False), (50, False))).texts == 51


def test_to_the_time_of_its_own_call_when_that_is_longer() -> None:
    account = account_of(tokens=12_000.0)
    account.pace.interactive_came(0.0)
    for _ in range(20):
        account.latency.took(500, 1.5)
    assert shape(account, waiting((50, True))).texts == pytest.approx(30, abs=1)


def test_or_to_one_calls_share_when_that_is_more() -> None:
    account = account_of(tokens=12_000.0, calls=30.0)
    account.pace.interactive_came(0.0)
    assert shape(account, waiting((50, True))).texts == 40


def test_and_to_the_debt_in_texts() -> None:
    account = account_of(items=1200.0)
    account.pace.interactive_came(0.0)
    assert shape(account, waiting((50, True))).texts == 10


def test_one_text_goes_at_least() -> None:
    account = account_of(tokens=60.0)
    account.pace.interactive_came(0.0)
    assert shape(account, waiting((50, True))).texts == 1
