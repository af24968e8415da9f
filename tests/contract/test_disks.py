"""What all disks of a node do: the remembered ones and the qcow2 files."""
# ruff: noqa: ASYNC240 - nobody else waits in a test's loop

import asyncio
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from hansa.drivers.fake.disks import FakeDisks
from hansa.drivers.images.disks import QcowDisks
from hansa.errors import DriverError
from hansa.model.envelope import Key
from hansa.model.stamp import Stamp
from hansa.ports import Disks

KEY, EPOCH, LATER = Key("t/w/d"), Stamp(1, 5), Stamp(2, 1)
GIB = 1 << 30


class Node:
    """Where disks are made, with an image to make them over."""

    def __init__(self, home: Path, kind: str) -> None:
        self.home, self._kind = home, kind
        self.image = str(home / "image")
        qemu_img("create", "-q", "-f", "qcow2", self.image, "1G")

    def disks(self, *, is_full: bool = False) -> Disks:
        margin_bytes = 1 << 62 if is_full else 0
        if self._kind == "fake":
            return FakeDisks(margin_bytes=margin_bytes)
        return QcowDisks(self.home / "disks", margin_bytes)


def qemu_img(*words: str) -> str:
    argv = ["qemu-img", *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@pytest.fixture(params=["fake", "qcow"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    return Node(tmp_path, request.param)


def run(story: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(story())


def test_a_disk_is_found_by_key_and_epoch_and_is_as_large_as_asked(node: Node) -> None:
    async def story() -> None:
        disks = node.disks()
        paths = [await disks.make(KEY, epoch, 2, node.image) for epoch in (EPOCH, LATER)]
        there = {(disk.key, disk.epoch, disk.path) for disk in await disks.found()}
        assert there == {(KEY, EPOCH, paths[0]), (KEY, LATER, paths[1])}
        said = await disks.audit(KEY, EPOCH)
        assert (said["size_bytes"], said["backing"]) == (2 * GIB, node.image)

    run(story)


def test_an_empty_disk_is_over_nothing(node: Node) -> None:
    async def story() -> None:
        disks = node.disks()
        await disks.make(KEY, EPOCH, 1, "")
        assert (await disks.audit(KEY, EPOCH))["backing"] == ""

    run(story)


def test_to_make_it_again_grows_it_and_never_shrinks_it(node: Node) -> None:
    async def story() -> None:
        disks = node.disks()
        path = await disks.make(KEY, EPOCH, 1, node.image)
        for size_gb in (3, 2):
            assert path == await disks.make(KEY, EPOCH, size_gb, node.image)
            said = await disks.audit(KEY, EPOCH)
            assert (said["size_bytes"], said["backing"]) == (3 * GIB, node.image)

    run(story)


def test_without_space_nothing_is_made(node: Node) -> None:
    async def story() -> None:
        disks = node.disks(is_full=True)
        with pytest.raises(DriverError) as refused:
            await disks.make(KEY, EPOCH, 1, "")
        assert refused.value.code == "disk-full"
        assert await disks.found() == []
        assert disks.free_bytes() > 0

    run(story)


def test_what_is_deleted_is_gone_and_no_other(node: Node) -> None:
    async def story() -> None:
        disks = node.disks()
        for epoch in (EPOCH, LATER):
            await disks.make(KEY, epoch, 1, "")
        for _ in range(2):
            await disks.delete(KEY, EPOCH)
        assert [disk.epoch for disk in await disks.found()] == [LATER]
        with pytest.raises(DriverError) as refused:
            await disks.audit(KEY, EPOCH)
        assert refused.value.code == "disk-missing"

    run(story)


# What only files can do.


def test_a_disk_outlives_its_agent_and_keeps_what_was_written(tmp_path: Path) -> None:
    async def story() -> None:
        node = Node(tmp_path, "qcow")
        path = await node.disks().make(KEY, EPOCH, 1, node.image)
        qemu_io(path, "write -P 7 0 64k")
        again = await node.disks().make(KEY, EPOCH, 2, node.image)
        assert again == path
        assert "verification failed" not in qemu_io(path, "read -P 7 0 64k")
        assert "verification failed" in qemu_io(path, "read -P 8 0 64k")
        assert "verification failed" not in qemu_io(node.image, "read -P 0 0 64k")

    run(story)


def qemu_io(path: str, command: str) -> str:
    argv = ["qemu-io", "-f", "qcow2", "-c", command, path]
    return subprocess.run(argv, check=False, capture_output=True, text=True).stdout


def test_a_disk_is_never_smaller_than_its_image(tmp_path: Path) -> None:
    async def story() -> None:
        node = Node(tmp_path, "qcow")
        qemu_img("resize", "-q", node.image, "5G")
        disks = node.disks()
        await disks.make(KEY, EPOCH, 1, node.image)
        assert (await disks.audit(KEY, EPOCH))["size_bytes"] == 5 * GIB

    run(story)


def test_a_key_may_be_longer_than_a_file_name(tmp_path: Path) -> None:
    async def story() -> None:
        key = Key("/".join("abcdefgh" * 16 for _ in range(3)))
        disks = QcowDisks(tmp_path, 0)
        await disks.make(key, EPOCH, 1, "")
        assert [disk.key for disk in await disks.found()] == [key]
        await disks.delete(key, EPOCH)
        assert list(tmp_path.iterdir()) == []

    run(story)


def test_a_disk_over_an_image_that_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        disks = QcowDisks(tmp_path, 0)
        with pytest.raises(DriverError) as refused:
            await disks.make(KEY, EPOCH, 1, str(tmp_path / "absent"))
        assert refused.value.code == "qemu-img"
        assert await disks.found() == []
        assert list(tmp_path.iterdir()) == []

    run(story)


def test_what_a_crash_left_half_made_is_no_disk_and_is_in_nobodys_way(tmp_path: Path) -> None:
    async def story() -> None:
        disks = QcowDisks(tmp_path, 0)
        whole = Path(await disks.make(KEY, EPOCH, 1, ""))
        whole.rename(whole.with_suffix(".new"))
        assert await disks.found() == []
        assert str(whole) == await disks.make(KEY, EPOCH, 1, "")
        assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".key", ".qcow2"]

    run(story)
