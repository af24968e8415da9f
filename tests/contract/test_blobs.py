"""What all stores of blobs on a node do: the remembered one and the files."""
# ruff: noqa: ASYNC240 - nobody else waits in a test's loop

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import pytest

from hansa.drivers.fake.blobs import FakeBlobs
from hansa.drivers.images import seed
from hansa.drivers.images.blobs import BlobCache
from hansa.errors import DriverError
from hansa.model.envelope import Key
from hansa.model.stamp import Stamp
from hansa.ports import Blobs

KEY, EPOCH = Key("t/w/i"), Stamp(1, 5)
CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()
SEED = {"meta-data": b"instance-id: i\n", "user-data": b"#cloud-config\n", "network-config": b"x"}


class Region:
    """Where blobs come from; it counts what it is asked for, and breaks when told to."""

    def __init__(self) -> None:
        self.content = {DIGEST: CONTENT}
        self.offsets: list[int] = []
        self.breaks_after = len(CONTENT)

    async def fetch_range(self, digest: str, offset: int) -> AsyncIterator[bytes]:
        self.offsets.append(offset)
        if digest not in self.content:
            raise DriverError("unreachable", "it has not got it")
        whole = self.content[digest]
        for at in range(offset, len(whole), 1000):
            if at - offset >= self.breaks_after:
                raise DriverError("unreachable", "the line was cut")
            yield whole[at : at + 1000]


class Node:
    def __init__(self, home: Path, kind: str) -> None:
        self._home, self._kind = home, kind
        self.region = Region()

    def blobs(self, *, is_full: bool = False) -> Blobs:
        margin_bytes = 1 << 62 if is_full else 0
        if self._kind == "fake":
            return FakeBlobs(self.region.content, margin_bytes=margin_bytes)
        return BlobCache(self._home, self.region, margin_bytes)


@pytest.fixture(params=["fake", "files"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    return Node(tmp_path, request.param)


def run(story: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(story())


async def refused(blobs: Blobs, digest: str = DIGEST) -> str:
    """Return the code of the refusal, having seen that nothing is there after it."""
    with pytest.raises(DriverError) as refusal:
        await blobs.fetch(digest, len(CONTENT))
    assert blobs.path(digest) is None
    assert blobs.found() == []
    return refusal.value.code


def test_what_was_fetched_is_here(node: Node) -> None:
    async def story() -> None:
        blobs = node.blobs()
        assert blobs.path(DIGEST) is None
        path = await blobs.fetch(DIGEST, len(CONTENT))
        assert path == await blobs.fetch(DIGEST, len(CONTENT))
        assert path == blobs.path(DIGEST)
        assert blobs.found() == [DIGEST]

    run(story)


def test_what_is_not_what_it_says_is_not_kept(node: Node) -> None:
    async def story() -> None:
        blobs = node.blobs()
        node.region.content[DIGEST] = CONTENT[:-1] + b"!"
        assert await refused(blobs) == "digest-mismatch"
        node.region.content[DIGEST] = CONTENT
        await blobs.fetch(DIGEST, len(CONTENT))
        assert blobs.found() == [DIGEST]

    run(story)


def test_what_the_region_has_not_is_unreachable(node: Node) -> None:
    async def story() -> None:
        assert await refused(node.blobs(), "0" * 64) == "unreachable"

    run(story)


def test_without_space_nothing_is_fetched(node: Node) -> None:
    async def story() -> None:
        assert await refused(node.blobs(is_full=True)) == "disk-full"
        assert node.region.offsets == []

    run(story)


def test_a_seed_can_be_written_again_and_dropped_again(node: Node) -> None:
    async def story() -> None:
        blobs = node.blobs()
        path = await blobs.seed(KEY, EPOCH, SEED)
        assert path == await blobs.seed(KEY, EPOCH, SEED)
        assert blobs.found() == []
        for _ in range(2):
            await blobs.drop_seed(KEY)

    run(story)


# What only files can do.


def test_what_was_begun_is_resumed_also_by_the_next_agent(tmp_path: Path) -> None:
    async def story() -> None:
        node = Node(tmp_path, "files")
        node.region.breaks_after = 3000
        assert await refused(node.blobs()) == "unreachable"
        assert await refused(node.blobs()) == "unreachable"
        node.region.breaks_after = len(CONTENT)
        path = await node.blobs().fetch(DIGEST, len(CONTENT))
        assert Path(path).read_bytes() == CONTENT
        assert node.region.offsets == [0, 3000, 6000]
        assert Path(path).stat().st_mode & 0o222 == 0

    run(story)


def test_a_part_that_went_bad_is_thrown_away(tmp_path: Path) -> None:
    async def story() -> None:
        node = Node(tmp_path, "files")
        (tmp_path / f"{DIGEST}.part").write_bytes(b"?" * 100)
        assert await refused(node.blobs()) == "digest-mismatch"
        await node.blobs().fetch(DIGEST, len(CONTENT))
        assert node.region.offsets == [100, 0]

    run(story)


def test_one_who_sends_without_end_is_not_listened_to(tmp_path: Path) -> None:
    async def story() -> None:
        node = Node(tmp_path, "files")
        node.region.content[DIGEST] = CONTENT * 1000
        node.region.breaks_after = len(CONTENT) * 1000
        assert await refused(node.blobs()) == "digest-mismatch"
        assert [path.name for path in tmp_path.iterdir()] == ["seeds"]

    run(story)


def test_two_who_want_the_same_fetch_it_once(tmp_path: Path) -> None:
    async def story() -> None:
        node = Node(tmp_path, "files")
        blobs = node.blobs()
        await asyncio.gather(*(blobs.fetch(DIGEST, len(CONTENT)) for _ in range(3)))
        assert node.region.offsets == [0]

    run(story)


def test_a_seed_is_a_nocloud_image_for_its_owner_only(tmp_path: Path) -> None:
    async def story() -> None:
        blobs = Node(tmp_path, "files").blobs()
        path = Path(await blobs.seed(KEY, EPOCH, SEED))
        assert seed.unpack(path.read_bytes()) == ("cidata", SEED)
        assert path.stat().st_mode & 0o777 == 0o600
        other = Path(await blobs.seed(Key("t/w/other"), EPOCH, SEED))
        await blobs.drop_seed(KEY)
        assert list(path.parent.iterdir()) == [other]

    run(story)
