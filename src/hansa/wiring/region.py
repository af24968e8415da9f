"""The root of a region: its parts picked, put together, and run until it is told to stop."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
import uvicorn
import uvloop

from hansa.drivers.images.inspect import inspect_image, prepare
from hansa.drivers.nats import build as nats
from hansa.drivers.nats.driver import NatsSettings, NatsTelegraph
from hansa.errors import DriverError
from hansa.model.envelope import Metadata, Resource
from hansa.model.naming import key_of
from hansa.model.refusal import Refusal
from hansa.model.region import Region
from hansa.model.sku import DEFAULT, PRICE, InstanceSku, NetworkSku, StorageSku
from hansa.model.state import Action, Commit, Delete, Proposal, State, put
from hansa.reconcile.leases import Pool
from hansa.reconcile.power import ACTIONS
from hansa.region.access import Access, Gate
from hansa.region.committer import Committer
from hansa.region.core import Core, Send
from hansa.region.joining import Contact, Joining
from hansa.region.server import RegionServer
from hansa.region.watching import Newsroom
from hansa.serve.app import App, make_app
from hansa.serve.http import Receive, Reply, Scope, SendEvent, answer
from hansa.serve.view import from_request
from hansa.store.codec import rows_of, state_of
from hansa.store.sqlite import SqliteStore
from hansa.wiring import keys, logs
from hansa.wiring.clock import RealClock
from hansa.wiring.settings import RegionSettings, Sku, default_home, load

PROVIDERS = ("seca.region", "seca.workspace", "seca.storage", "seca.compute", "seca.network")


def run_region(home: Path) -> None:
    """Run the region of this home until SIGTERM or SIGINT."""
    logs.set_up()
    settings = load(home / "region.yaml", RegionSettings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(home, settings))


async def _run(home: Path, settings: RegionSettings) -> None:
    store = SqliteStore(str(home / "region.db"))
    try:
        revision, rows = store.load()
        server, app, telegraph = _assemble(home, settings, store, state_of(revision, rows))
        telegraph.open()
        work = asyncio.create_task(server.run())
        try:
            await server.propose(_catalogue(settings))
            await _serve(home, settings, app, work)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await telegraph.close()
    finally:
        store.close()


def _assemble(
    home: Path, settings: RegionSettings, store: SqliteStore, state: State
) -> tuple[RegionServer, App, NatsTelegraph]:
    clock = RealClock()
    pool = Pool(settings.public_pool, frozenset(settings.public_reserved))
    core = Core(state, settings.timers, pool, clock.now_us())
    newsroom = Newsroom(state.revision)
    key = keys.signing_key(home / "keys/region.key")
    access = Access(
        region=settings.name, key=keys.public(key), administrators=settings.administrators
    )
    telegraph = _telegraph(home, settings)
    parts: list[RegionServer] = []
    committer = Committer(
        core, store, rows_of, clock, lambda commit, sends: _told(parts, commit, sends)
    )
    blobs = home / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    server = RegionServer(
        region=settings.name,
        committer=committer,
        store=store,
        newsroom=newsroom,
        gate=Gate(access, lambda: core.state),
        joining=Joining(_contact(home, settings), _credentials(home)),
        telegraph=telegraph,
        clock=clock,
        blob_dir=str(blobs),
        inspect=_inspect,
        chance=keys.chance,
    )
    parts.append(server)
    app = make_app(server, ACTIONS, clock)
    return server, _with_ca(app, home / "keys/ca.pem"), telegraph


def _told(parts: list[RegionServer], commit: Commit, sends: Sequence[Send]) -> None:
    """Pass news on to the server, which is put together after the committer that it holds."""
    for server in parts:
        server.took_effect(commit, sends)


def _with_ca(app: App, path: Path) -> App:
    """Return the application with the region's CA beside it: who joins checks its fingerprint."""
    ca = path.read_bytes() if path.exists() else b""

    async def serve(scope: Scope, receive: Receive, send: SendEvent) -> None:
        if ca and scope["type"] == "http" and scope["path"] == "/ca.pem":
            await answer(send, Reply(200, ca, ((b"content-type", b"text/plain"),)))
        else:
            await app(scope, receive, send)

    return serve


def nats_url(settings: RegionSettings) -> str:
    """Return where the region's NATS server is."""
    scheme = "nats" if settings.is_loopback else "tls"
    return settings.nats_url or f"{scheme}://{settings.listen}:{settings.nats_port}"


def _telegraph(home: Path, settings: RegionSettings) -> NatsTelegraph:
    account, user = (keys.signing_key(home / f"keys/nats-{who}.key") for who in ("account", "user"))
    jwt = nats.user_jwt(
        nats.nkey(keys.public(account), "account"),
        nats.nkey(keys.public(user), "user"),
        "region",
        account.sign,
        0,
        pub=["hansa.*.down"],
        sub=["hansa.*.up"],
    )
    ca = "" if settings.is_loopback else str(home / "keys/ca.pem")
    said = NatsSettings(url=nats_url(settings), jwt=jwt, subjects=("hansa.*.up",), ca=ca)
    return NatsTelegraph(said, user.sign)


def _credentials(home: Path) -> Callable[[str, str, int], str]:
    account = keys.signing_key(home / "keys/nats-account.key")

    def credentials(node: str, key: str, now_s: int) -> str:
        return nats.user_jwt(
            nats.nkey(keys.public(account), "account"),
            nats.nkey(bytes.fromhex(key), "user"),
            node,
            account.sign,
            now_s,
            pub=[nats.up(node)],
            sub=[nats.down(node)],
        )

    return credentials


def _contact(home: Path, settings: RegionSettings) -> Contact:
    ca = b"" if settings.is_loopback else (home / "keys/ca.pem").read_bytes()
    return Contact(
        region=settings.name,
        endpoint=settings.endpoint,
        nats=nats_url(settings),
        ca=ca.decode(),
        ca_sha256=keys.fingerprint(ca) if ca else "",
    )


async def _inspect(path: str) -> int | Refusal:
    try:
        facts = await inspect_image(Path(path))
        if facts.format == "raw":
            made = await prepare(Path(path))
            made.replace(path)
    except DriverError as error:
        return Refusal(code=error.code, message=str(error))
    return facts.virtual_bytes


def _catalogue(settings: RegionSettings) -> Proposal:
    """Return the proposal to have on offer what the settings say, and nothing else."""
    nouns: list[Resource] = [_region(settings)]
    for tenant in settings.tenants:
        for noun, skus in (
            (InstanceSku, settings.skus.compute),
            (StorageSku, settings.skus.storage),
            (NetworkSku, settings.skus.network),
        ):
            nouns += [_sku(noun, tenant, name, sku) for name, sku in skus.items()]
    wanted = {(noun.kind, key_of(noun)): noun for noun in nouns}

    def propose(state: State, at: datetime) -> list[Action] | Refusal:
        actions: list[Action] = []
        for (kind, key), noun in wanted.items():
            if state.nouns.get(kind, {}).get(key) != noun:
                actions.append(put(noun, at))
        for kind in (Region.kind, InstanceSku.kind, StorageSku.kind, NetworkSku.kind):
            gone = [key for key in state.nouns.get(kind, {}) if (kind, key) not in wanted]
            actions += [Delete(kind=kind, key=key) for key in gone]
        return actions

    return propose


def _region(settings: RegionSettings) -> Region:
    base = f"{settings.endpoint}/providers"
    providers = [{"name": name, "version": "v1", "url": f"{base}/{name}"} for name in PROVIDERS]
    said = {"spec": {"availableZones": settings.zones, "providers": providers}}
    return from_request(Region, Metadata(name=settings.name), msgspec.json.encode(said))


def _sku(noun: type[Resource], tenant: str, name: str, sku: Sku) -> Resource:
    extensions = {PRICE: str(sku.micro_euro_per_hour)} if sku.micro_euro_per_hour else {}
    if sku.default:
        extensions[DEFAULT] = "true"
    said = {"labels": sku.labels, "extensions": extensions, "spec": sku.spec}
    sent = {member: value for member, value in said.items() if value}
    return from_request(noun, Metadata(name=name, tenant=tenant), msgspec.json.encode(sent))


async def _serve(
    home: Path, settings: RegionSettings, app: App, work: "asyncio.Task[None]"
) -> None:
    """Serve until a signal; or until the work behind it fails, which is then raised."""
    tls = {}
    if not settings.is_loopback:
        _, cert, key = keys.certificates(home / "keys", settings.listen)
        tls = {"ssl_certfile": str(cert), "ssl_keyfile": str(key)}
    config = uvicorn.Config(
        app,
        host=settings.listen,
        port=settings.port,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=3,
        **tls,  # type: ignore[arg-type]  # two names of files
    )
    server = uvicorn.Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: setattr(server, "should_exit", True))
    work.add_done_callback(lambda _: setattr(server, "should_exit", True))
    await server.serve()
    if work.done():
        work.result()


if __name__ == "__main__":
    run_region(default_home())
