"""A NoCloud seed: an ISO image of a few files, made and read in memory.  Pure but for memory."""

import io
from collections.abc import Mapping

from pycdlib import PyCdlib

LABEL = "cidata"


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return the image with these files in its root; their names are in Rock Ridge and Joliet."""
    iso, packed = PyCdlib(), io.BytesIO()
    iso.new(interchange_level=3, vol_ident=LABEL, rock_ridge="1.09", joliet=3)
    for number, (name, data) in enumerate(sorted(files.items())):
        iso.add_fp(
            io.BytesIO(data),
            len(data),
            iso_path=f"/FILE{number}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
        )
    iso.write_fp(packed)
    iso.close()
    return packed.getvalue()


def unpack(image: bytes) -> tuple[str, dict[str, bytes]]:
    """Return the label of a seed, and its files."""
    iso = PyCdlib()
    iso.open_fp(io.BytesIO(image))
    files = {}
    for child in iso.list_children(joliet_path="/"):
        if child is not None and child.is_file():
            name = child.file_identifier().decode("utf-16-be")
            data = io.BytesIO()
            iso.get_file_from_iso_fp(data, joliet_path=f"/{name}")
            files[name] = data.getvalue()
    label = iso.pvd.volume_identifier.decode().strip()
    iso.close()
    return label, files
