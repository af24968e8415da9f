"""Images: tiny is built here, others come from files; each part is verified at its end."""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import typer

from hansa.cli import book, local
from hansa.cli.columns import Document
from hansa.cli.failure import CliError
from hansa.cli.grammar import Target
from hansa.cli.listing import Asked, Look, collect, table
from hansa.cli.printing import show
from hansa.cli.session import Session
from hansa.cli.units import measured
from hansa.cli.waiting import ANSWERS
from hansa.model.image import CMDLINE, MACHINE

_CHUNK = 1 << 20
_SUFFIXES = {".qcow2", ".img", ".raw"}


def register(app: typer.Typer) -> None:
    """Add the group."""
    images = book.group()
    book.add(images, build)
    book.add(images, import_, name="import")
    book.add(images, ls)
    book.add_group(app, images, "image", "Build, import and list images", book.INSTANCES)


def build(
    session: Session,
    recipe: Annotated[Literal["tiny"], typer.Argument(help="Which one.")] = "tiny",
) -> None:
    """Build a ready-made image, and upload it.

    hansa image build tiny
    hansa image build tiny -t other
    """
    session.changing()
    make_tiny(session)
    _end(session, recipe)


def make_tiny(session: Session) -> None:
    """Build tiny, and bring it to the region."""
    tiny = local.build_tiny(session.screen.step)
    body = image_body("tiny", answers="http:80")
    body["extensions"] = {CMDLINE: tiny.cmdline, MACHINE: tiny.machine}
    session.client.put("image", f"{session.home.tenant}/tiny", body)
    parts = {"kernel": Path(tiny.kernel), "initrd": Path(tiny.initrd)}
    for part, path in parts.items():
        upload(session, "tiny", part, path)


def import_(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A qcow2 or raw image.")],
    *,
    name: Annotated[str, typer.Option(metavar="NAME", help="Its name; else the file's.")] = "",
    sha256: Annotated[str, typer.Option(metavar="SUM", help="The sum that it must have.")] = "",
    boot: Annotated[Literal["BIOS", "UEFI"], typer.Option(help="How it boots.")] = "BIOS",
    answers: Annotated[
        str, typer.Option(metavar="http:PORT|tcp:PORT|none", help="How its guests show they work.")
    ] = "",
) -> None:
    """Bring in a qcow2 or raw image, verified; it goes on where it broke off.

    hansa image import debian-13.qcow2 --sha256 9f2c41e0...
    hansa image import disk.raw --name it --boot UEFI
    """
    session.changing()
    if not file.is_file():
        raise CliError("file-not-found", f"there is no file {file}")
    name = name or name_of(file)
    digest = digest_of(session, file)
    if sha256 and digest != sha256.lower():
        raise CliError(
            "checksum-mismatch",
            f'image "{name}" is not the announced one',
            where=f"{file}, {measured(file.stat().st_size)} read",
            why=f"sha256 announced {sha256}, found {digest}",
            fix="nothing was sent; check the publisher's sum, then repeat with --sha256 SUM",
        )
    body = image_body(name, answers=answers)
    body["spec"]["boot"] = boot
    session.client.put("image", f"{session.home.tenant}/{name}", body)
    upload(session, name, "disk", file, digest)
    _end(session, name)


def ls(session: Session) -> None:
    """List images.

    hansa image ls
    hansa image ls -o json
    """
    found = collect(session, [Target(("image",), "")], Asked())
    if session.output != "table":
        show(session, found, is_list=True)
    elif found:
        session.screen.result(table(session, found, Look(), wide=False))
    else:
        session.screen.hint(f"No images in tenant {session.home.tenant}. hansa image build tiny")


def image_body(name: str, *, answers: str = "") -> Document:
    """Return what is written of an image; its content is uploaded after that."""
    body: Document = {
        "spec": {
            "blockStorageRef": {"resource": f"images/{name}"},
            "cpuArchitecture": "amd64",
            "initializer": "cloudinit-22",
        }
    }
    if answers:
        body["annotations"] = {ANSWERS: answers}
    return body


def name_of(file: Path) -> str:
    """Return the name that a file's image gets: what stands before the ending, as SECA has it."""
    stem = file.stem if file.suffix.lower() in _SUFFIXES else file.name
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in stem.lower()).strip("-")
    return name or "image"


def digest_of(session: Session, file: Path) -> str:
    """Return a file's SHA-256; large ones show how far it is."""
    total, done, digest = file.stat().st_size, 0, hashlib.sha256()
    with file.open("rb") as source:
        while piece := source.read(_CHUNK):
            digest.update(piece)
            done += len(piece)
            session.screen.progress("sha256", done, total)
    return digest.hexdigest()


def upload(session: Session, name: str, part: str, file: Path, digest: str = "") -> None:
    """Bring one part of an image to the region, and say what came of it."""
    from hansa.client.client import Content  # noqa: PLC0415 - slow

    screen, size = session.screen, file.stat().st_size
    digest = digest or digest_of(session, file)
    with file.open("rb") as source:
        content = Content(f"{session.home.tenant}/{name}", part, source, size, digest)
        is_new = session.client.upload(content, lambda at, of: screen.progress(part, at, of))
    told = f"sha256 {digest[:6]}…, {measured(size)}{'' if is_new else ', was there'}"
    screen.step(part, f"{name:<14} {told}")


def _end(session: Session, name: str) -> None:
    if session.output == "table":
        session.screen.hint(f"next: hansa run {name}")
    else:
        show(session, [session.client.get("image", f"{session.home.tenant}/{name}")])
