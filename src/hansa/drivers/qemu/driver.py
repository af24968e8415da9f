"""Guests as QEMU processes that outlive the agent; it finds them again by /proc and QMP."""

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from hansa.drivers.qemu import build, cgroup, parse, process
from hansa.drivers.qemu.kernel import unpacked
from hansa.drivers.qemu.leash import Leash
from hansa.drivers.qemu.qmp import Monitor, connect
from hansa.errors import DriverError
from hansa.model.envelope import Key
from hansa.ports import Exit, Machine, Running

_SOCKETS = ("agent.qmp", "audit.qmp", "console.sock")
_TICK_S = 10.0
_MEET_S = 30.0
_ADOPT_S = 5.0
_SERIAL_BYTES = 4 << 20
_KEPT_HOMES = 64
_OVMF = Path("/usr/share/OVMF")


class QemuSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says to its hypervisor."""

    home: str
    netns: str = ""  # Name of the network namespace to run guests in; "" is our own.
    accel: Literal["tcg", "kvm"] = "tcg"  # `pick_accel` tells which.
    tsc_khz: int = 0
    leash: tuple[str, ...] = ()  # Its command line, without the socket; () allows no fenced guests.
    kill_us: int = 5_000_000  # A killed guest that is not gone by then is reported as stuck.


class _Guest:
    """A guest that we watch."""

    def __init__(self, which: parse.Identity, pid: int, home: Path, *, is_fenced: bool) -> None:
        self.which, self.pid, self.home, self.is_fenced = which, pid, home, is_fenced
        self.pidfd = os.pidfd_open(pid)
        self.monitor: Monitor | None = None
        self.why: tuple[parse.Reason, str] | None = None
        self.is_stopping = False
        self.watching: asyncio.Task[None] | None = None

    def hear(self, said: Mapping[str, object]) -> None:
        """Take an event or a status; one that is at its end is let go, with its disks flushed."""
        if self.why is None and (why := parse.gone(said)):
            self.why = why
            process.kill(self.pidfd, signal.SIGTERM)

    def running(self) -> Running:
        key, epoch, life = self.which
        return Running(key=key, epoch=epoch, life=life, pid=self.pid, is_fenced=self.is_fenced)

    async def let_go(self) -> None:
        """Forget it, alive or not."""
        if self.monitor:
            await self.monitor.close()
        if self.watching:
            self.watching.cancel()
            await asyncio.wait([self.watching])
        os.close(self.pidfd)


class QemuHypervisor:
    """The port `Hypervisor` on one node.  Use it within one event loop, and close it."""

    def __init__(self, settings: QemuSettings) -> None:
        """Begin with knowing of no guest; `found` looks for them."""
        self._settings = settings
        home = Path(settings.home)
        self._homes = home / "guests"
        self._homes.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._homes = self._homes.resolve()
        self._kernels = home / "kernels"
        self.leash = Leash(home, settings.leash)
        self._guests: dict[Key, _Guest] = {}
        self._locks: defaultdict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._gone: list[Exit] = []
        self._news = asyncio.Event()

    async def start(self, machine: Machine, taps: Mapping[str, int]) -> Running:
        """Make it stand and let it run."""
        which = parse.Identity(machine.key, machine.epoch, machine.life)
        try:
            async with self._locks[machine.key]:
                there = await self._there(machine.key)
                if there is None:
                    return await self._begin(machine, which, taps)
                if there.which != which:
                    name = build.name(*there.which)
                    raise DriverError("guest-busy", f"{name} runs: stop it first")
                return there.running()
        finally:
            for tap in taps.values():
                os.close(tap)

    async def stop(self, key: Key, grace_us: int) -> None:
        """Make no guest of this key run."""
        async with self._locks[key]:
            guest = await self._there(key)
            if guest is None:
                return
            guest.is_stopping = True
            if grace_us > 0 and guest.monitor:
                with contextlib.suppress(DriverError):
                    await guest.monitor.execute("system_powerdown")
                    if await self._gone_within(guest, grace_us):
                        return
            process.kill(guest.pidfd)
            if not await self._gone_within(guest, self._settings.kill_us):
                raise DriverError("guest-stuck", f"{key}: process {guest.pid} cannot be killed")

    async def found(self) -> list[Running]:
        """Return all guests of this node that run."""
        for pid, which in (await asyncio.to_thread(process.scan, self._homes)).items():
            if not self._locks[which.key].locked():  # Else it is just being started, or stopped.
                async with self._locks[which.key]:
                    await self._adopt(pid, which)
        self._sweep()
        return [guest.running() for guest in self._guests.values() if guest.why is None]

    async def exits(self) -> list[Exit]:
        """Wait until a guest is gone, and return all that went since the last call."""
        while not self._gone:
            self._news.clear()
            await self._news.wait()
        gone, self._gone = self._gone, []
        return gone

    async def renew(self, deadline_us: int) -> int:
        """Let fenced guests live until then."""
        if deadline_us == 0:
            try:
                return int((await self.leash.ask("renew", deadline_us=0))["deadline_us"])
            except DriverError:
                return 0  # Without a leash there is nobody to live.
        await self.leash.ensure()
        return int((await self.leash.ask("renew", deadline_us=deadline_us))["deadline_us"])

    async def audit(self, key: Key) -> dict[str, object]:
        """Return what QMP says, over a monitor of its own."""
        if key not in self._guests:
            raise DriverError("guest-missing", f"{key} does not run here")
        monitor = await connect(self._home(key), "audit.qmp", lambda _: None)
        try:
            blocks = await monitor.execute("query-named-block-nodes", flat=True)
            return {
                "status": (await monitor.execute("query-status"))["status"],
                "vcpus": len(await monitor.execute("query-cpus-fast")),
                "ram_bytes": (await monitor.execute("query-memory-size-summary"))["base-memory"],
                "disks": parse.disks(blocks),
                "macs": parse.macs(await monitor.execute("query-rx-filter")),
            }
        finally:
            await monitor.close()

    def files(self, key: Key) -> dict[str, str]:
        """Return paths by use."""
        home = self._home(key)
        return {"serial_log": str(home / "serial.log"), "console": str(home / "console.sock")}

    async def close(self) -> None:
        """Let go of all guests; they run on."""
        guests, self._guests = self._guests, {}
        for guest in guests.values():
            await guest.let_go()

    def _hash(self, key: Key) -> str:
        return hashlib.sha256(key.encode()).hexdigest()[:12]

    def _home(self, key: Key) -> Path:
        return self._homes / self._hash(key)

    async def _there(self, key: Key) -> _Guest | None:
        """Return the guest of this key that runs, also one that we had not found yet."""
        if key not in self._guests:
            for pid, which in (await asyncio.to_thread(process.scan, self._homes)).items():
                if which.key == key:
                    await self._adopt(pid, which)
        guest = self._guests.get(key)
        if guest and guest.why:
            await self._gone_within(guest, self._settings.kill_us)
        return self._guests.get(key)

    async def _adopt(self, pid: int, which: parse.Identity) -> None:
        """Watch a guest that a former process started."""
        if which.key in self._guests:
            return
        is_fenced = pid in await self.leash.children()
        try:
            guest = _Guest(which, pid, self._home(which.key), is_fenced=is_fenced)
        except ProcessLookupError:
            return
        if process.identity(pid, self._homes) != which:
            await guest.let_go()
            return
        with contextlib.suppress(DriverError, OSError, TimeoutError):
            guest.monitor = await asyncio.wait_for(
                connect(guest.home, "agent.qmp", guest.hear), _ADOPT_S
            )
            status = await guest.monitor.execute("query-status")
            if status["status"] == "prelaunch":  # Who was about to start it died before he let it.
                await self._undo(guest)
                return
            guest.hear(status)
        self._watch_from_now(guest)

    async def _begin(
        self, machine: Machine, which: parse.Identity, taps: Mapping[str, int]
    ) -> Running:
        """Start the process, meet it and let it run, or leave nothing of it."""
        home = self._home(machine.key)
        host = await asyncio.to_thread(self._prepare, machine, home, taps)
        machine = await asyncio.to_thread(self._unpacked, machine)
        argv = build.argv(machine, host, taps)
        groups = cgroup.make(machine, cgroup.name(home))
        fds = [taps[plug.tap] for plug in machine.plugs]
        try:
            if machine.is_fenced:
                pid = await self._spawn_on_leash(argv, home, fds, groups)
            else:
                pid = process.spawn(argv, home, home / "qemu.log", fds)
            guest = _Guest(which, pid, home, is_fenced=machine.is_fenced)
        except BaseException:
            await cgroup.remove(cgroup.name(home))
            raise
        try:
            if not machine.is_fenced:
                cgroup.join(groups, pid)
            guest.monitor = await self._meet(guest)
            await guest.monitor.execute("cont")
        except (OSError, DriverError) as error:
            await self._undo(guest)
            said = process.tail(home / "qemu.log")
            raise DriverError("qemu", f"{machine.key} does not start: {said or error}") from error
        except BaseException:
            await self._undo(guest)
            raise
        self._watch_from_now(guest)
        return guest.running()

    def _prepare(self, machine: Machine, home: Path, taps: Mapping[str, int]) -> build.Host:
        """Make a place for it to run in; what its former life said on the serial port is kept."""
        if missing := {plug.tap for plug in machine.plugs} - set(taps):
            raise DriverError("tap-missing", f"{machine.key} has no open {sorted(missing)}")
        home.mkdir(exist_ok=True, mode=0o700)
        self._prune()
        _clean(home)
        (home / "qemu.log").unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            (home / "serial.log").rename(home / "serial.log.1")
        settings = self._settings
        host = build.Host(accel=settings.accel, tsc_khz=settings.tsc_khz, netns=settings.netns)
        if machine.boot.kernel:
            return host
        if machine.boot.machine == "microvm":
            raise DriverError("boot-unsupported", "microvm boots a kernel only", retryable=False)
        if machine.boot.firmware == "BIOS":
            return host
        firmware, variables = _OVMF / "OVMF_CODE_4M.fd", home / "variables.fd"
        if not firmware.exists():
            raise DriverError("firmware-missing", f"no {firmware}: install the package ovmf")
        if not variables.exists():
            shutil.copyfile(_OVMF / "OVMF_VARS_4M.fd", variables)
        return msgspec.structs.replace(host, firmware=str(firmware), variables=str(variables))

    def _unpacked(self, machine: Machine) -> Machine:
        """Return it with a kernel that need not unpack itself, where that is slow."""
        if self._settings.accel == "kvm" or not machine.boot.kernel:
            return machine
        kernel = unpacked(Path(machine.boot.kernel).resolve(), self._kernels)
        boot = msgspec.structs.replace(machine.boot, kernel=str(kernel))
        return msgspec.structs.replace(machine, boot=boot)

    def _sweep(self) -> None:
        """Clear away after guests that ended while no agent was there."""
        held = {guest.home for guest in self._guests.values()}
        held |= {self._home(key) for key, lock in self._locks.items() if lock.locked()}
        for home in self._homes.iterdir():
            if home not in held and (home / "agent.qmp").exists():
                _clean(home)
                cgroup.drop(cgroup.name(home))

    def _prune(self) -> None:
        """Remove what the longest gone guests left, so that it cannot grow for ever."""
        homes = sorted(self._homes.iterdir(), key=lambda home: home.stat().st_mtime)
        alive = {guest.home for guest in self._guests.values()}
        for home in [home for home in homes[:-_KEPT_HOMES] if home not in alive]:
            if not (home / "agent.qmp").exists():
                shutil.rmtree(home)

    async def _spawn_on_leash(
        self, argv: list[str], home: Path, fds: list[int], groups: list[Path]
    ) -> int:
        """Return the process that the leash started."""
        await self.leash.ensure()
        answer = await self.leash.ask(
            "start",
            fds,
            name=home.name,
            argv=argv,
            cwd=str(home),
            env=dict(os.environ),
            stderr=str(home / "qemu.log"),
            fds=list(fds),
            cgroups=[str(path) for path in groups],
        )
        return int(answer["pid"])

    async def _meet(self, guest: _Guest) -> Monitor:
        """Connect to its monitor as soon as it listens."""
        give_up = asyncio.get_running_loop().time() + _MEET_S
        while True:
            try:
                return await connect(guest.home, "agent.qmp", guest.hear)
            except OSError:
                if await process.ended(guest.pidfd, 0.01):
                    raise
                if asyncio.get_running_loop().time() > give_up:
                    raise

    async def _undo(self, guest: _Guest) -> None:
        """Leave nothing of a start that failed."""
        process.kill(guest.pidfd)
        await process.ended(guest.pidfd, self._settings.kill_us / 1e6)
        process.reap(guest.pid)
        await guest.let_go()
        _clean(guest.home)
        await cgroup.remove(cgroup.name(guest.home))

    def _watch_from_now(self, guest: _Guest) -> None:
        self._guests[guest.which.key] = guest
        guest.watching = asyncio.create_task(self._watch(guest))

    async def _watch(self, guest: _Guest) -> None:
        """See to its end, and say how it ended."""
        while not await process.ended(guest.pidfd, _TICK_S):
            process.bound(guest.home / "serial.log", _SERIAL_BYTES)
            if guest.why:  # It was told to go, and had its time.
                process.kill(guest.pidfd)
        if guest.monitor:
            await asyncio.wait_for(guest.monitor.ended(), _ADOPT_S)
            await guest.monitor.close()
        exited = await self._exit(guest, process.reap(guest.pid))
        _clean(guest.home)
        await cgroup.remove(cgroup.name(guest.home))
        os.close(guest.pidfd)
        del self._guests[guest.which.key]
        self._gone.append(exited)
        self._news.set()

    async def _exit(self, guest: _Guest, status: int | None) -> Exit:
        """Return why a guest that ended did so."""
        key, epoch, life = guest.which
        is_fenced = False
        if guest.is_fenced and (told := await self.leash.end_of(guest.pid)):
            status, is_fenced = told
        detail = guest.why[1] if guest.why else parse.ended(status)
        if is_fenced:
            return Exit(key=key, epoch=epoch, life=life, reason="fenced", detail=detail)
        if guest.is_stopping:
            return Exit(key=key, epoch=epoch, life=life, reason="stopped", detail=detail)
        reason = guest.why[0] if guest.why else "crashed"
        return Exit(key=key, epoch=epoch, life=life, reason=reason, detail=detail)

    async def _gone_within(self, guest: _Guest, timeout_us: int) -> bool:
        """Wait until all of it is cleared away."""
        if guest.watching:
            await asyncio.wait([guest.watching], timeout=timeout_us / 1e6)
        return self._guests.get(guest.which.key) is not guest


def _clean(home: Path) -> None:
    """Remove the sockets of a guest that is gone; its logs are kept."""
    for name in _SOCKETS:
        (home / name).unlink(missing_ok=True)
