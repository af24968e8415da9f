"""The telegraph over a NATS server: it reconnects for ever, and loses what it must."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Callable

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

QUEUE_MAX = 65_536
"""What is not taken by then is lost: the region asks again."""


class NatsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where, as whom, and what to listen to."""

    url: str
    jwt: str
    subjects: tuple[str, ...]
    ca: str = ""  # A file of the CA that signed the server's certificate; "" is no TLS.


class NatsTelegraph:
    """Core NATS: at most once, in no order."""

    def __init__(self, settings: NatsSettings, sign: Callable[[bytes], bytes]) -> None:
        """Keep how to connect; `sign` signs with the user's key."""
        self._settings, self._sign = settings, sign
        self._client: Client | None = None
        self._inbox: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(QUEUE_MAX)
        self._connecting: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to connect, and go on until it is closed."""
        self._connecting = asyncio.create_task(self._connect())

    async def send(self, subject: str, data: bytes) -> None:
        """Send it, or lose it."""
        if self._client and self._client.is_connected:
            with contextlib.suppress(Error, OSError):
                await self._client.publish(subject, data)

    async def receive(self) -> tuple[str, bytes]:
        """Wait for the next message."""
        return await self._inbox.get()

    @property
    def is_connected(self) -> bool:
        """Whether the server is there now."""
        return bool(self._client and self._client.is_connected)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connecting:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._client:
            with contextlib.suppress(Error, OSError):
                await self._client.close()

    async def _connect(self) -> None:
        context = (
            ssl.create_default_context(cafile=self._settings.ca) if self._settings.ca else None
        )
        while True:
            client = Client()
            try:
                await client.connect(
                    self._settings.url,
                    tls=context,
                    user_jwt_cb=self._settings.jwt.encode,
                    signature_cb=lambda nonce: base64.b64encode(self._sign(nonce.encode())),
                    error_cb=_ignore,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.25,  # type: ignore[arg-type]  # it sleeps for it
                    connect_timeout=2,
                    ping_interval=5,
                )
                break
            except (Error, OSError, TimeoutError):
                await asyncio.sleep(0.25)
        self._client = client
        for subject in self._settings.subjects:
            await client.subscribe(subject, cb=self._take)
        await client.flush()

    async def _take(self, message: Msg) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._inbox.put_nowait((message.subject, message.data))


async def _ignore(_error: Exception) -> None:
    """Lose what is lost: the library would log whole tracebacks."""
