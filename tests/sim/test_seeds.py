"""Tenants and faults as a seed has them: nothing happens that must not, and all comes to rest."""

import pytest

from hansa.sim.run import run


@pytest.mark.parametrize("seed", range(20))
def test_what_a_seed_makes_happen_does_no_harm_and_comes_to_rest(seed: int) -> None:
    report = run(seed, 50)
    assert report.ok, "\n".join(report.lines)


def test_an_end_that_is_told_while_a_start_is_under_way_is_nobodys() -> None:
    """A late end of the last guest once made the agent lose sight of the one that it began."""
    report = run(10, 10)
    assert report.ok, "\n".join(report.lines)
