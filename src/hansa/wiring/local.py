"""A region and a node on this machine, as processes of their own that outlive who starts them."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
from msgspec.structs import replace

from hansa.drivers.nats import build as nats
from hansa.errors import DriverError, HansaError, SettingsError
from hansa.model.envelope import Key
from hansa.wiring import keys
from hansa.wiring.node import hypervisor, networks
from hansa.wiring.settings import NodeSettings, RegionSettings, load, store, write

Report = Callable[[str, str], None]
"""Told of each step: its name, and what came of it."""
DEADLINE_S = 30
NETNS, LINK = "hansa-node", "hansa0"
"""The namespace of this machine's node, and this host's end of the veth to it."""


class UpResult(msgspec.Struct, frozen=True, kw_only=True):
    """What is up, and how to reach it."""

    endpoint: str
    region: str
    token_file: str
    ca_file: str = ""
    changed: bool = False


class NotUpError(HansaError):
    """A process did not come up; the message names its log."""

    code = "busy"


def up(
    home: Path,
    *,
    report: Report,
    settings: RegionSettings | None = None,
    node: NodeSettings | None = None,
) -> UpResult:
    """Start what is not running; repeating it changes nothing.

    `settings` and `node` are used where the home has none yet.
    """
    result = up_region(home, report=report, settings=settings)
    if node is None or (home / "node/node.yaml").exists():
        if not (home / "node/node.yaml").exists():
            return result
    elif invitation := _invite(home, node.name):
        own = replace(node, netns=node.netns or NETNS)
        join(home / "node", invitation, node=own, report=report)
    _namespace(load(home / "node/node.yaml", NodeSettings))
    changed = start(home / "node", "node", ["hansa.wiring.node"], report)
    return replace(result, changed=result.changed or changed)


def up_region(
    home: Path, *, report: Report, settings: RegionSettings | None, netns: str = ""
) -> UpResult:
    """Start NATS and the region server, in a network namespace if one is named."""
    path = home / "region.yaml"
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    if not path.exists():
        store(path, settings or RegionSettings())
    said = load(path, RegionSettings)
    region_key = keys.signing_key(home / "keys/region.key")
    token = home / "keys/admin.token"
    keys.administrator_token(token, said.administrators[0], said.name, region_key)
    ca = "" if said.is_loopback else str(keys.certificates(home / "keys", said.listen)[0])
    changed = False
    if not said.nats_url:
        _write_nats(home, said)
        command = [str(Path(sys.executable).parent / "nats-server"), "-c", str(home / "nats.conf")]
        changed |= start(home, "nats", command, report, is_ours=False, netns=netns)
    changed |= start(home, "region", ["hansa.wiring.region"], report, netns=netns)
    _wait(home, said, ca)
    return UpResult(
        endpoint=said.endpoint,
        region=said.name,
        token_file=str(token),
        ca_file=ca,
        changed=changed,
    )


def start(  # noqa: PLR0913 - how a process is started
    home: Path,
    name: str,
    command: list[str],
    report: Report,
    *,
    is_ours: bool = True,
    netns: str = "",
) -> bool:
    """Start a process unless it runs; tell whether it was started."""
    if pid := running(home, name):
        report(name, f"runs, pid {pid}")
        return False
    enter = ["nsenter", f"--net=/run/netns/{netns}"] if netns else []
    argv = [*enter, *([sys.executable, "-m", *command] if is_ours else command)]
    log = home / f"{name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603 - our own program
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env={**os.environ, "HANSA_HOME": str(home)},
        )
    write(home / f"{name}.pid", json.dumps([process.pid, _began(process.pid)]).encode())
    process.returncode = 0  # It is to outlive us: no wait, and no warning that there was none.
    report(name, f"started, pid {process.pid}")
    return True


def running(home: Path, name: str) -> int:
    """Return the pid of a process that was started, 0 if it is gone."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        pid, began = json.loads((home / f"{name}.pid").read_text())
        if _began(pid) == began:
            return int(pid)
    return 0


def kill(home: Path, name: str, number: int = signal.SIGTERM) -> None:
    """Signal a process, and wait until it is gone."""
    pid = running(home, name)
    if not pid:
        return
    os.kill(pid, number)
    _until(lambda: not running(home, name), f"{name} (pid {pid}) does not end")


def down(home: Path, *, report: Report) -> None:
    """Stop guests, node and region; what they stored stays."""
    for path in sorted({home / "node", home}):
        if (path / "node.yaml").exists():
            kill(path, "node")
            asyncio.run(clear_node(path))
            netns = load(path / "node.yaml", NodeSettings).netns
            if netns == NETNS:
                subprocess.run(["ip", "netns", "del", netns], check=False, capture_output=True)  # noqa: S603, S607 - our own
            report("node", "stopped, with its guests and networks")
    for name in ("region", "nats"):
        kill(home, name)
        report(name, "stopped")


async def clear_node(home: Path, grace_us: int = 5_000_000) -> None:
    """Stop all guests of a node, and take its networks away; its disks stay."""
    settings = load(home / "node.yaml", NodeSettings)
    there = hypervisor(home, settings, "tcg")
    try:
        guests = await there.found()
        await asyncio.gather(*(there.stop(guest.key, grace_us) for guest in guests))
        with contextlib.suppress(DriverError):
            await networks(settings).remove()
        with contextlib.suppress(DriverError):
            await there.leash.ask("quit")
    finally:
        await there.close()


def _namespace(settings: NodeSettings) -> None:
    """Make the node's namespace, with one veth to here: this host's own rules stay as they are."""
    if not settings.netns or Path("/run/netns", settings.netns).exists():
        return
    block = settings.node_address.rpartition(".")[0]
    for line in (
        f"ip netns add {settings.netns}",
        f"ip link add {LINK} type veth peer name {settings.uplink} netns {settings.netns}",
        f"ip addr add {block}.1/24 dev {LINK}",
        f"ip link set dev {LINK} up",
        f"ip -n {settings.netns} link set dev lo up",
        f"ip -n {settings.netns} addr add {settings.node_address}/24 dev {settings.uplink}",
        f"ip -n {settings.netns} addr add {settings.vtep}/24 dev {settings.uplink}",
        f"ip -n {settings.netns} link set dev {settings.uplink} up",
        f"ip -n {settings.netns} route add default via {block}.1",
    ):
        done = subprocess.run(line.split(), capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise NotUpError(f"{line}: {done.stderr.strip()} (a node needs root)")


def join(home: Path, invitation: str, *, node: NodeSettings, report: Report) -> None:
    """Make this machine a node: the key is made here, and stays here."""
    endpoint, _, secret = invitation.partition("#")
    parts = secret.rsplit(".", 2)
    if len(parts) != 3:  # noqa: PLR2004 - name, token, fingerprint
        raise SettingsError("this is no invitation: take the whole line that node invite printed")
    name, token, fingerprint = parts
    key = keys.signing_key(home / "node.key")
    body = {"node": name, "token": token, "key": keys.public(key).hex()}
    ca = _pinned_ca(endpoint, fingerprint) if fingerprint else ""
    verify = ssl.create_default_context(cadata=ca) if ca else False
    reply = httpx.post(
        f"{endpoint}/providers/hansa.operator/v1/join",
        json=body,
        verify=verify,
        timeout=10,
        trust_env=False,
    )
    if reply.is_error:
        raise SettingsError(f"the region refuses: {reply.json().get('detail', reply.text)}")
    welcome = reply.json()
    ca_file = ""
    if welcome["ca"]:
        ca_file = str(home / "ca.pem")
        write(home / "ca.pem", welcome["ca"].encode())
    settings = replace(
        node,
        name=name,
        region=welcome["region"],
        endpoint=endpoint,
        nats=welcome["nats"],
        jwt=welcome["jwt"],
        ca=ca_file,
    )
    store(home / "node.yaml", settings, secret=True)
    report("join", f"node {name} of region {welcome['region']}")


def _pinned_ca(endpoint: str, fingerprint: str) -> str:
    """Return the CA of a region, if it is the one that the invitation names."""
    url = httpx.URL(endpoint)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = (url.host, url.port or 443)
    with (
        socket.create_connection(address, timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=url.host),
        httpx.Client(verify=context, trust_env=False, timeout=10) as client,
    ):
        pem = client.get(f"{endpoint}/ca.pem").text
    if not keys.fingerprint(pem.encode()).startswith(fingerprint):
        raise SettingsError("the region at this address is not the one that the invitation names")
    return pem


def invite(home: Path, name: str, zone: str) -> str:
    """Return the line by which another machine becomes a node, asked of the region itself."""
    said = load(home / "region.yaml", RegionSettings)
    ca = str(home / "keys/ca.pem")
    verify = ssl.create_default_context(cafile=ca) if not said.is_loopback else False
    token = (home / "keys/admin.token").read_text()
    reply = httpx.put(
        f"{said.endpoint}/providers/hansa.operator/v1/invitations/{name}",
        json={"spec": {"zone": zone}},
        headers={"Authorization": f"Bearer {token}"},
        verify=verify,
        timeout=10,
        trust_env=False,
    )
    reply.raise_for_status()
    line: str = reply.json()["token"]
    return line


def console_path(home: Path, key: Key) -> str:
    """Return the socket of a guest's serial port."""
    settings = load(home / "node.yaml", NodeSettings)
    return hypervisor(home, settings, "tcg").files(key)["console"]


def _invite(home: Path, name: str) -> str:
    said = load(home / "region.yaml", RegionSettings)
    return invite(home, name, said.zones[0])


def _write_nats(home: Path, said: RegionSettings) -> None:
    operator, account = (
        keys.signing_key(home / f"keys/nats-{who}.key") for who in ("operator", "account")
    )
    names = nats.nkey(keys.public(operator), "operator"), nats.nkey(keys.public(account), "account")
    now_s = int((home / "keys/nats-operator.key").stat().st_mtime)
    tls = None
    if not said.is_loopback:
        _, cert, key = keys.certificates(home / "keys", said.listen)
        tls = str(cert), str(key)
    text = nats.config(
        said.listen,
        said.nats_port,
        str(home),
        nats.operator_jwt(names[0], operator.sign, now_s),
        names[1],
        nats.account_jwt(names[0], names[1], operator.sign, now_s),
        tls,
    )
    write(home / "nats.conf", text.encode(), secret=True)


def _wait(home: Path, said: RegionSettings, ca: str) -> None:
    verify = ssl.create_default_context(cafile=ca) if ca else False

    def answers() -> bool:
        if not running(home, "region"):
            raise NotUpError(f"the region did not come up; its log: {home / 'region.log'}")
        with contextlib.suppress(httpx.HTTPError):
            reply = httpx.get(f"{said.endpoint}/healthz", verify=verify, timeout=2, trust_env=False)
            return reply.is_success
        return False

    _until(answers, f"the region does not answer; its log: {home / 'region.log'}")


def _until(holds: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not holds():
        if time.monotonic() > end:
            raise NotUpError(otherwise)
        time.sleep(0.05)


def _began(pid: int) -> str:
    """Return when a process began, so that a pid that is used again is another; "" if it ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
