"""`python -m hansa.wiring.demo [--keep]`: the story of one region, told on this machine."""

import fcntl
import os
import shutil
import sys
import tempfile
from pathlib import Path

from hansa.lab.story import Failed, Story
from hansa.wiring.lab import Lab

HELP = """\
next: it goes on running; by hand:
  export HANSA_HOME={home}
  hansa status · hansa get instance -w demo · hansa explain instance far -w demo
  and at the end: python -m hansa.wiring.demo --clear {home}"""


def main(argv: list[str]) -> int:
    """Tell it, and leave nothing behind; return the exit code."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hansa"
    if argv[:1] == ["--clear"]:
        _clear(Lab(Path(argv[1]), cache))
        return 0
    with Path(tempfile.gettempdir(), "hansa-lab.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # One lab at a time: its addresses are this machine's.
        home = Path(tempfile.mkdtemp(prefix="hansa-demo-"))
        lab = Lab(home, cache)
        try:
            Story(lab, lambda line: print(line, flush=True)).tell()  # noqa: T201 - it is a story
        except Failed as failed:
            sys.stderr.write(f" ✗ {failed}\n   logs were: {home}/*.log, {home}/node-*/node.log\n")
            if "--keep" not in argv:
                _keep_logs(home)
                _clear(lab)
            return 1
        except BaseException:
            _clear(lab)
            raise
        if "--keep" in argv:
            sys.stdout.write(HELP.format(home=home) + "\n")
            return 0
        _clear(lab)
        sys.stdout.write("         no process, link, table or file left\n")
        return 0


def _clear(lab: Lab) -> None:
    lab.clear()
    shutil.rmtree(lab.home, ignore_errors=True)


def _keep_logs(home: Path) -> None:
    """Copy the logs to where the failing line says: the rest goes."""
    kept = home.with_name(home.name + "-logs")
    for log in home.rglob("*.log"):
        target = kept / log.relative_to(home)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(log, target)
    sys.stderr.write(f"   kept in {kept}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
