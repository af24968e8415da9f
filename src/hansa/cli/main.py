"""`hansa`: the commands that run a region; each imports what it needs when it is called."""

import sys
from pathlib import Path

import typer

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
region = typer.Typer(hidden=True, help="The region's own process.")
node = typer.Typer(help="Add nodes, see them, declare one lost.")
lab = typer.Typer(help="Many hosts on this machine.")
app.add_typer(region, name="region")
app.add_typer(node, name="node")
app.add_typer(lab, name="lab")


def _home() -> Path:
    from hansa.wiring.settings import default_home  # noqa: PLC0415 - help must be quick

    return default_home()


@region.command("run")
def region_run() -> None:
    """Run the region of HANSA_HOME."""
    from hansa.wiring.region import run_region  # noqa: PLC0415

    run_region(_home())


@node.command("run", hidden=True)
def node_run() -> None:
    """Run the node of HANSA_HOME."""
    from hansa.wiring.node import run_node  # noqa: PLC0415

    run_node(_home())


@lab.command("demo")
def lab_demo(*, keep: bool = typer.Option(False, help="Leave it running.")) -> None:
    """Tell the story of one region, with real guests, and remove every trace."""
    import tempfile  # noqa: PLC0415

    from hansa.lab.story import Story  # noqa: PLC0415
    from hansa.wiring.lab import Lab  # noqa: PLC0415

    home = Path(tempfile.mkdtemp(prefix="hansa-demo-"))
    world = Lab(home, Path.home() / ".cache/hansa")
    try:
        Story(world, print).tell()
    finally:
        if not keep:
            world.clear()


def main() -> None:
    """Run the command line."""
    app()
    sys.exit(0)
