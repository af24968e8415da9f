"""Images as strangers send them, and the parts of the tiny one."""

import asyncio
import json
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from hansa.drivers.images import build, guest, names, parse
from hansa.drivers.images.inspect import inspect_image, prepare
from hansa.errors import DriverError
from hansa.model.envelope import Key
from hansa.model.stamp import Stamp

MIB = 1 << 20


def qemu_img(*words: str) -> None:
    argv = ["qemu-img", *words]
    subprocess.run(argv, check=True, capture_output=True)


def code_of(path: Path) -> str:
    with pytest.raises(DriverError) as refused:
        asyncio.run(inspect_image(path))
    return refused.value.code


def test_a_raw_and_a_qcow2_image_are_told_apart(tmp_path: Path) -> None:
    raw, qcow2 = tmp_path / "a", tmp_path / "b"
    raw.write_bytes(bytes(MIB))
    qemu_img("create", "-f", "qcow2", str(qcow2), "3M")
    assert asyncio.run(inspect_image(raw)) == parse.ImageFacts(format="raw", virtual_bytes=MIB)
    said = asyncio.run(inspect_image(qcow2))
    assert said == parse.ImageFacts(format="qcow2", virtual_bytes=3 * MIB)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-b", "secret", "-F", "raw"], "image-has-backing"),
        (["-o", "data_file=outside,data_file_raw=on"], "image-has-data-file"),
    ],
)
def test_an_image_that_names_other_files_is_refused(
    tmp_path: Path, words: list[str], code: str
) -> None:
    path = tmp_path / "image"
    (tmp_path / "secret").write_bytes(bytes(MIB))
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", *words, "image", "1M"]
    subprocess.run(argv, cwd=tmp_path, check=True)
    assert code_of(path) == code
    qemu_img("create", "-f", "qcow2", str(path), "1M")
    assert asyncio.run(inspect_image(path)).format == "qcow2"


@pytest.mark.parametrize(
    "head", [b"KDMV", b"\x1f\x8b", b"QFI\xfb", b"QFI\xfb\0\0\0\x09" + bytes(200)]
)
def test_what_is_neither_is_refused(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "image"
    path.write_bytes(head.ljust(512, b"\0"))
    assert code_of(path) == "image-invalid"


@pytest.mark.parametrize("size_bytes", [0, 513])
def test_a_raw_image_has_whole_sectors(tmp_path: Path, size_bytes: int) -> None:
    path = tmp_path / "image"
    path.write_bytes(bytes(size_bytes))
    assert code_of(path) == "image-invalid"


@pytest.mark.parametrize(
    ("at", "value", "why"), [(20, 63, "cluster size"), (32, 1, "it is encrypted")]
)
def test_a_qcow2_that_nobody_can_read_is_refused(
    tmp_path: Path, at: int, value: int, why: str
) -> None:
    path = tmp_path / "image"
    qemu_img("create", "-f", "qcow2", str(path), "1M")
    head = bytearray(path.read_bytes())
    struct.pack_into(">I", head, at, value)
    path.write_bytes(head)
    with pytest.raises(DriverError, match=why) as refused:
        asyncio.run(inspect_image(path))
    assert refused.value.code == "image-invalid"


def test_a_raw_image_becomes_a_qcow2_of_the_same_content(tmp_path: Path) -> None:
    raw, back = tmp_path / "image", tmp_path / "back"
    raw.write_bytes(b"hansa" + bytes(MIB - 5))
    made = asyncio.run(prepare(raw))
    assert asyncio.run(inspect_image(made)).format == "qcow2"
    qemu_img("convert", "-f", "qcow2", "-O", "raw", str(made), str(back))
    assert raw.read_bytes() == back.read_bytes()
    assert made == asyncio.run(prepare(made))


def test_that_there_is_no_space_or_a_lock_is_told_apart() -> None:
    assert parse.failure("qemu-img: x: No space left on device").code == "disk-full"
    assert parse.failure('Failed to get "write" lock').code == "disk-busy"
    assert parse.failure("else").code == "qemu-img"


def test_names_tell_hash_and_epoch_and_nothing_of_others() -> None:
    key, epoch = Key("t/w/d"), Stamp(2, 31)
    assert names.parsed(names.of_epoch(key, epoch, ".qcow2")) == (names.of_key(key), epoch)
    assert names.parsed("lost+found") is None


def test_a_module_loses_its_signature_and_nothing_else() -> None:
    tail = struct.pack(">BBBBB3xI", 0, 0, 2, 0, 0, 300) + b"~Module signature appended~\n"
    assert build.unsigned(b"module" + bytes(300) + tail) == b"module"
    assert build.unsigned(b"module") == b"module"


def test_an_archive_is_what_cpio_reads(tmp_path: Path) -> None:
    archive = build.cpio(["d"], {"d/f": b"12345"}, {"l": "d/f"})
    subprocess.run(["cpio", "-id", "--quiet"], cwd=tmp_path, input=archive, check=True)
    assert (tmp_path / "l").read_bytes() == b"12345"
    assert (tmp_path / "d/f").stat().st_mode & 0o777 == 0o755


def shell(tmp_path: Path, script: str) -> str:
    """Run a script of the guest's with the programs that the guest has."""
    busybox = shutil.which("busybox")
    assert busybox
    (tmp_path / "bin").mkdir(exist_ok=True)
    for applet in ("sed", "awk", "sh"):
        link = tmp_path / "bin" / applet
        if not link.is_symlink():
            link.symlink_to(busybox)
    for name, text in guest.FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return subprocess.run(
        [busybox, "sh", "-c", script],
        cwd=tmp_path,
        env={"PATH": str(tmp_path / "bin")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


NETPLAN = """
version: 2
ethernets:
  nic0:
    addresses:
    - 10.0.0.5/32
    - "fd00::5/128"
    match: {macaddress: '02:00:00:00:00:0A'}
    mtu: 1450
    nameservers:
      addresses: [192.0.2.1]
    routes:
    - on-link: true
      to: default
      via: 169.254.1.1
  nic1:
    match:
      macaddress: 02:00:00:00:00:0b
    addresses: [10.0.1.5/32]
"""
NICS = {
    "version": 2,
    "ethernets": {
        "nic0": {
            "match": {"macaddress": "02:00:00:00:00:0A"},
            "addresses": ["10.0.0.5/32", "fd00::5/128"],
            "mtu": 1450,
            "routes": [{"to": "default", "via": "169.254.1.1", "on-link": True}],
            "nameservers": {"addresses": ["192.0.2.1"]},
        },
        "nic1": {"match": {"macaddress": "02:00:00:00:00:0b"}, "addresses": ["10.0.1.5/32"]},
    },
}


@pytest.mark.parametrize(
    "config", [NETPLAN, json.dumps(NICS), json.dumps(NICS, separators=(",", ":"))]
)
def test_the_guest_reads_its_network_from_yaml_and_json(tmp_path: Path, config: str) -> None:
    (tmp_path / "config").write_text(config)
    said = shell(tmp_path, "sh bin/words config | awk -f lib/nics.awk")
    assert said.splitlines() == [
        "02:00:00:00:00:0a 10.0.0.5/32 169.254.1.1 1450",
        "02:00:00:00:00:0b 10.0.1.5/32 - -",
    ]


@pytest.mark.parametrize(
    "text", ["", "plain", 'a "b" \\ c\n\n\td', "ümläut \\n", "\x01\x1f\r\n{}", "&&\\&"]
)
def test_the_guest_quotes_whatever_it_was_given(tmp_path: Path, text: str) -> None:
    (tmp_path / "text").write_text(text)
    assert json.loads(shell(tmp_path, "awk -f lib/quote.awk <text")) == text
