"""Ready-made images, built where a home keeps them."""

from collections.abc import Callable
from pathlib import Path

from hansa.drivers.images import tiny


def build_tiny(home: Path, report: Callable[[str, str], None]) -> dict[str, Path | str]:
    """Build the image `tiny`, or find it built: paths of its parts, its command line, machine."""
    made = tiny.build_tiny(home / "tiny")
    report("tiny", f"built in {made.kernel.parent}")
    return {
        "kernel": made.kernel,
        "initrd": made.initrd,
        "cmdline": made.cmdline,
        "machine": "microvm",
    }
