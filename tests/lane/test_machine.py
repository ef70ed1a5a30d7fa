"""A short run of the machine: everything at any time, and every check after every turn.

Deep runs: `python -m tests.lane.machine --steps 20000 --seed 1`.
"""

from __future__ import annotations

from random import SystemRandom

from tests.lane import machine

STEPS = 6000  # about five seconds


def test_every_check_holds_whatever_happens() -> None:
    machine.run(STEPS, 1)


def test_and_with_a_seed_of_today() -> None:
    """A new seed each time; Hypothesis prints the script that breaks a check."""
    machine.run(STEPS, SystemRandom().randrange(1 << 32))
