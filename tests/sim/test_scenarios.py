"""Each nasty scenario does no harm, and passes."""

import pytest

from hansa.sim.run import run
from hansa.sim.scenarios import SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_nasty_scenario_does_no_harm_and_passes(name: str) -> None:
    report = run(1, 4, name)
    assert report.ok, "\n".join(report.lines)
