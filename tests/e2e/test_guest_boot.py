"""Real guests boot, answer, go off and are found again: QEMU in emulation, one at a time."""

import asyncio
import fcntl
import json
import os
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from hansa.drivers.images.blobs import BlobCache
from hansa.drivers.images.disks import QcowDisks
from hansa.drivers.images.tiny import TinyImage, build_tiny
from hansa.drivers.qemu import cgroup
from hansa.drivers.qemu.driver import QemuHypervisor, QemuSettings
from hansa.drivers.qemu.qmp import connect
from hansa.drivers.qemu.smoke import measured_tsc_khz, pick_accel
from hansa.model.envelope import Key
from hansa.model.stamp import Stamp
from hansa.node import leash
from hansa.ports import Boot, Exit, Machine, Plug

KEY, EPOCH = Key("t/w/i"), Stamp(1, 7)
DEADLINE_S = 40.0
GRACE_US = 30_000_000
ADDRESS, MAC = "10.9.8.7", "02:00:0a:09:08:07"
USER_DATA = '#!/bin/sh\n# "quoted" \\ and\ttabbed\necho ran >> /data/notes\n'
NETWORK = {
    "version": 2,
    "ethernets": {
        "eth0": {
            "match": {"macaddress": MAC},
            "set-name": "eth0",
            "addresses": [f"{ADDRESS}/32"],
            "mtu": 1400,
            "routes": [{"to": "default", "via": "169.254.1.1", "on-link": True}],
            "nameservers": {"addresses": ["192.0.2.53"]},
        }
    },
}


@pytest.fixture(scope="session")
def tiny() -> TinyImage:
    return build_tiny(Path.home() / ".cache/hansa-tests/tiny", bootable=True)


def settings(home: Path) -> QemuSettings:
    command = (sys.executable, "-I", str(leash.__file__))
    return QemuSettings(home=str(home), tsc_khz=measured_tsc_khz(), leash=command)


async def machine(home: Path, tiny: TinyImage, way: str) -> Machine:
    """Return a machine with a fresh disk, that begins in one of our ways."""
    boot = Boot(
        machine="microvm" if way == "microvm" else "q35",
        kernel=str(tiny.kernel),
        initrd=str(tiny.initrd),
        cmdline=tiny.cmdline,
    )
    disks = QcowDisks(home / "disks")
    backing = str(tiny.disk) if way == "disk" else ""
    path = await disks.make(KEY, EPOCH, 1, backing)
    return Machine(
        key=KEY,
        epoch=EPOCH,
        vcpus=1,
        ram_gb=1,
        disks=(path,),
        boot=Boot(firmware="BIOS") if way == "disk" else boot,
    )


@asynccontextmanager
async def hypervisor_on(home: Path) -> AsyncIterator[QemuHypervisor]:
    hypervisor = QemuHypervisor(settings(home))
    try:
        yield hypervisor
    finally:
        for running in await hypervisor.found():
            await hypervisor.stop(running.key, 0)
        await hypervisor.close()
        if (home / "leash.sock").exists():
            await asyncio.to_thread(os.waitpid, (await hypervisor.leash.ask("quit"))["pid"], 0)


def run(home: Path, story: Callable[[QemuHypervisor], Awaitable[None]]) -> None:
    async def told() -> None:
        async with hypervisor_on(home) as hypervisor, asyncio.timeout(DEADLINE_S):
            await story(hypervisor)

    asyncio.run(told())


def home_of(hypervisor: QemuHypervisor) -> Path:
    return Path(hypervisor.files(KEY)["serial_log"]).parent


async def until(fact: Callable[[], object]) -> None:
    while not fact():  # noqa: ASYNC110 - of another process; the whole story has a deadline
        await asyncio.sleep(0.02)


async def says(hypervisor: QemuHypervisor, word: bytes) -> None:
    """Wait until the guest says this on its serial port."""
    log = Path(hypervisor.files(KEY)["serial_log"])
    await until(lambda: word in log.read_bytes())


async def ready(hypervisor: QemuHypervisor) -> None:
    await says(hypervisor, b"hansa-ready")


def exited(reason: str, detail: str) -> Exit:
    said = {"key": KEY, "epoch": EPOCH, "life": 0, "reason": reason, "detail": detail}
    return Exit(**said)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["microvm", "q35", "disk"])
def test_a_guest_boots_and_goes_off_when_it_is_asked(
    tmp_path: Path, tiny: TinyImage, way: str
) -> None:
    async def story(hypervisor: QemuHypervisor) -> None:
        await hypervisor.start(await machine(tmp_path, tiny, way), {})
        await ready(hypervisor)
        await hypervisor.stop(KEY, GRACE_US)
        assert await hypervisor.exits() == [exited("stopped", "guest-shutdown")]

    run(tmp_path, story)


@asynccontextmanager
async def typed(hypervisor: QemuHypervisor, line: str) -> AsyncIterator[None]:
    """Type a line into the guest's shell; what is not read yet when we hang up is lost."""
    await says(hypervisor, b"/ # ")
    console = Path(hypervisor.files(KEY)["console"])
    directory = os.open(console.parent, os.O_PATH)
    try:
        path = f"/proc/self/fd/{directory}/{console.name}"
        _, writer = await asyncio.open_unix_connection(path)
    finally:
        os.close(directory)
    writer.write(f"{line}\n".encode())
    try:
        yield
    finally:
        writer.close()
        await writer.wait_closed()


def test_how_a_guest_ended_is_known_even_if_no_agent_was_there(
    tmp_path: Path, tiny: TinyImage
) -> None:
    async def story(hypervisor: QemuHypervisor) -> None:
        await hypervisor.start(await machine(tmp_path, tiny, "microvm"), {})
        await ready(hypervisor)
        await hypervisor.close()
        async with typed(hypervisor, "/etc/acpi/PWRF/00000080"):
            monitor = await connect(home_of(hypervisor), "audit.qmp", lambda _: None)
            while (await monitor.execute("query-status"))["status"] != "shutdown":
                pass
            await monitor.close()
        async with hypervisor_on(tmp_path) as second:
            assert await second.found() == []
            assert await second.exits() == [exited("shutdown", "guest-shutdown")]

    run(tmp_path, story)


def test_a_panic_is_a_crash(tmp_path: Path, tiny: TinyImage) -> None:
    async def story(hypervisor: QemuHypervisor) -> None:
        await hypervisor.start(await machine(tmp_path, tiny, "microvm"), {})
        await ready(hypervisor)
        async with typed(hypervisor, "echo c > /proc/sysrq-trigger"):
            assert await hypervisor.exits() == [exited("crashed", "guest-panic")]

    run(tmp_path, story)


def test_a_machine_with_uefi_begins_in_its_firmware(tmp_path: Path, tiny: TinyImage) -> None:
    async def story(hypervisor: QemuHypervisor) -> None:
        by_bios = await machine(tmp_path, tiny, "disk")
        await hypervisor.start(replace(by_bios, boot=Boot(firmware="UEFI")), {})
        await says(hypervisor, b"BdsDxe")  # It finds no UEFI loader there, and says so.

    run(tmp_path, story)


def test_no_guest_is_run_by_kvm_that_has_not_booted_with_it(
    tmp_path: Path, tiny: TinyImage
) -> None:
    async def story() -> None:
        first = await pick_accel(tmp_path, tiny.kernel, tiny.initrd, tiny.cmdline, limit_s=5)
        assert first == await pick_accel(tmp_path, Path("/absent"), Path("/absent"), "")
        hypervisor = QemuHypervisor(replace(settings(tmp_path), accel=first.accel))
        await hypervisor.start(await machine(tmp_path, tiny, "microvm"), {})
        await ready(hypervisor)
        await hypervisor.stop(KEY, 0)
        await hypervisor.close()

    asyncio.run(story())


class Net(NamedTuple):
    """A namespace with a tap in it, which is open here."""

    name: str
    tap: int

    def get(self, path: str) -> str | None:
        """Ask the guest for a page; None if it does not answer so."""
        return self._said(["curl", "-sf", "-m", "5", f"http://{ADDRESS}{path}"])

    def _said(self, argv: list[str]) -> str | None:
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, *argv],
            capture_output=True,
            text=True,
            check=False,
        )
        return None if done.returncode else done.stdout


@contextmanager
def net_with_tap() -> Iterator[Net]:
    """Make what the driver of networks would: a tap with a route, and a gateway for the guest."""
    name = f"hb{os.getpid()}"
    tap = os.open("/dev/net/tun", os.O_RDWR)
    ifreq = struct.pack("16sH22x", name.encode(), 0x0002 | 0x1000 | 0x4000)
    fcntl.ioctl(tap, 0x400454CA, ifreq)
    script = f"""set -e
      ip netns add {name}; ip link set {name} netns {name}
      ip -n {name} link set lo up; ip -n {name} link set {name} up
      ip -n {name} addr add 169.254.1.1/32 dev {name}
      ip -n {name} route add {ADDRESS}/32 dev {name}"""
    subprocess.run(["sh", "-c", script], check=True)
    try:
        yield Net(name, tap)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


async def answer(net: Net, path: str) -> str:
    while True:
        page = await asyncio.to_thread(net.get, path)
        if page is not None:
            return page


def test_a_guest_proves_what_it_is_and_keeps_its_disk(tmp_path: Path, tiny: TinyImage) -> None:
    async def story(hypervisor: QemuHypervisor) -> None:
        async def nothing(_digest: str, _offset: int) -> AsyncIterator[bytes]:
            yield b""

        class Nowhere:
            fetch_range = staticmethod(nothing)

        seed = {
            "meta-data": b'{"instance-id": "i-1", "local-hostname": "lady"}',
            "user-data": USER_DATA.encode(),
            "network-config": json.dumps(NETWORK).encode(),
        }
        path = await BlobCache(tmp_path / "blobs", Nowhere()).seed(KEY, EPOCH, seed)
        plug = Plug(tap="tap0", mac=MAC)
        own = replace(await machine(tmp_path, tiny, "microvm"), seed=path, plugs=(plug,))
        with net_with_tap() as net:
            await hypervisor.start(own, {"tap0": os.dup(net.tap)})
            first = json.loads(await answer(net, "/"))
            assert {**first, "boot_id": "", "kernel": ""} == {
                "boot_id": "",
                "kernel": "",
                "mac": MAC,
                "hostname": "lady",
                "address": ADDRESS,
                "user_data": USER_DATA.rstrip("\n"),
            }
            assert (await hypervisor.audit(KEY))["macs"] == [MAC]
            assert "written" in await answer(net, "/cgi-bin/note?written")
            await ready(hypervisor)
            asked = json.loads(await answer(net, "/cgi-bin/fetch?http://127.0.0.1/"))
            assert asked == first
            await until(lambda: "ran" in (net.get("/notes") or ""))
            await hypervisor.stop(KEY, GRACE_US)

            await hypervisor.start(replace(own, life=1), {"tap0": net.tap})
            second = json.loads(await answer(net, "/"))
            assert first["boot_id"] != second["boot_id"]
            assert "written" in await answer(net, "/notes")

    run(tmp_path, story)


def assert_runs_in(netns: str, pid: int) -> None:
    """See to it that the process is QEMU's own, in its namespace and its cgroup."""
    proc = Path(f"/proc/{pid}")
    assert (proc / "exe").readlink().name == "qemu-system-x86_64"
    assert (proc / "ns/net").stat().st_ino == Path(f"/run/netns/{netns}").stat().st_ino
    limited = cgroup.name((proc / "cwd").readlink())
    assert limited in (proc / "cgroup").read_text()


def test_a_fenced_guest_dies_with_its_lease_in_its_namespace(
    tmp_path: Path, tiny: TinyImage
) -> None:
    async def story(hypervisor: QemuHypervisor) -> None:
        with net_with_tap() as net:
            inside = QemuHypervisor(replace(settings(tmp_path), netns=net.name))
            plug = Plug(tap="tap0", mac=MAC)
            own = replace(await machine(tmp_path, tiny, "microvm"), is_fenced=True, plugs=(plug,))
            await inside.renew(leash.now_us() + 8_000_000)
            running = await inside.start(own, {"tap0": net.tap})
            assert_runs_in(net.name, running.pid)
            assert await inside.exits() == [exited("fenced", "killed by signal 9")]
            await inside.close()
        assert await hypervisor.found() == []

    run(tmp_path, story)
