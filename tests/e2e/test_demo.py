"""The demo is the proof of the whole: it checks each of its lines, and this checks that it did."""

import subprocess
import sys
from pathlib import Path

PREFIX = "hl-"
LINES = (
    "3 guests answer HTTP",
    "3 of 3 guests kept boot id and process",
    "killed: web (fence) is back on node-c",
    "db (stay) waits for node-a",
    "all deleted; audit clean",
    "no process, link, table or file left",
)


def traces() -> dict[str, set[str]]:
    """What a demo would leave: namespaces, links, cgroups, processes, files."""
    said = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True)
    processes = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "hansa-demo-" in words:
            processes.add(words)
    return {
        "namespaces": {line for line in said.stdout.splitlines() if line.startswith(PREFIX)},
        "links": {path.name for path in Path("/sys/class/net").glob(f"{PREFIX}*")},
        "cgroups": {str(path) for path in Path("/sys/fs/cgroup").glob("*/hansa-*")},
        "processes": processes,
        "files": {str(path) for path in Path("/tmp").glob("hansa-demo-*")},  # noqa: S108 - it looks
    }


def test_the_demo_tells_the_whole_story_and_leaves_nothing_behind() -> None:
    before = traces()
    told = subprocess.run(
        [sys.executable, "-m", "hansa.wiring.demo"],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    for line in LINES:
        assert line in told.stdout
    assert traces() == before
