"""Every write of the store fails once, and nothing that was acknowledged is lost by it.

A shim is preloaded into a child, as Python's SQLite takes no other file system: so what is tested
is the very library that runs.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKLOAD = Path(__file__).with_name("store_workload.py")
SURVIVED = {"went on", "in doubt", "not opened"}
OUTCOMES = {
    "full once": SURVIVED,
    "full": SURVIVED,
    "broken once": SURVIVED,
    "broken": SURVIVED,
    "killed": {"killed"},
}

spec = importlib.util.spec_from_file_location("store_workload", WORKLOAD)
assert spec is not None
assert spec.loader is not None
workload = importlib.util.module_from_spec(spec)
spec.loader.exec_module(workload)


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(workload.built_shim(tmp_path_factory.mktemp("shim")))


@pytest.mark.parametrize("fault", OUTCOMES)
def test_whichever_write_fails_what_was_acknowledged_is_there(
    fault: str, shim: str, tmp_path: Path
) -> None:
    child = subprocess.run(
        [sys.executable, WORKLOAD, fault, tmp_path],
        env=os.environ | {"LD_PRELOAD": shim, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert not child.stderr
    outcomes = json.loads(child.stdout)
    assert outcomes.pop("untouched") == 1
    assert OUTCOMES[fault] == set(outcomes), outcomes
    assert sum(outcomes.values()) > 50, outcomes
