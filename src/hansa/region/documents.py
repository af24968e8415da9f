"""What a node is to have, as a function of the state; and whose document a commit changed."""

from collections.abc import Iterator
from hashlib import sha256

from hansa.model.address import tap_of
from hansa.model.block_storage import BlockStorage
from hansa.model.envelope import Key
from hansa.model.image import CMDLINE, MACHINE, Content, Image
from hansa.model.instance import Instance, Placed
from hansa.model.naming import resolve
from hansa.model.network import Network
from hansa.model.nic import Nic
from hansa.model.node import Node
from hansa.model.public_ip import PublicIp
from hansa.model.state import Change, Commit, State
from hansa.model.subnet import Subnet
from hansa.ports import LocalNic, NodeNetwork, RemoteNic
from hansa.scheduling.fold import Fold, disks_of
from hansa.wire.messages import Blob, BootWish, DiskWish, Document, GuestWish, NicWish

_NETWORKING = frozenset({Nic.kind, PublicIp.kind, Network.kind, Subnet.kind})


def document(state: State, fold: Fold, node: Key) -> Document:
    """Return all that a node is to have: its grants without a stop order, disks, networks."""
    grants = {key: grant for key, grant in fold.on.get(node, {}).items() if grant.stop is None}
    kept = {key: state.of(BlockStorage)[key] for key in sorted(fold.disks_on.get(node, ()))}
    return Document(
        generation=state.revision,
        guests=tuple(_guest(state, key, grants[key]) for key in sorted(grants)),
        disks=tuple(
            _disk(state, key, disk) for key, disk in kept.items() if disk.assignment.stop is None
        ),
        networks=tuple(_networks(state, fold, node, sorted(grants))),
    )


def touched(commit: Commit, fold: Fold) -> set[Key]:
    """Return the nodes whose document a commit changed; `fold` is that after it."""
    nodes: set[Key] = set()
    for change in commit.changes:
        if change.kind == Instance.kind:
            nodes |= _by_instance(commit.state, change, fold)
        elif change.kind in _NETWORKING:
            workspace = "/".join(change.key.split("/")[:2])
            nodes |= _in_workspace(commit.state, fold, workspace)
        elif change.kind == BlockStorage.kind:
            nodes |= _by_disk(change)
        elif change.kind == Node.kind and _vtep(change.old) != _vtep(change.new):
            nodes |= set(fold.on)
    return nodes


def secret_digest(text: str) -> str:
    """Return under which name a node fetches a user data; "" if there is none."""
    return sha256(text.encode()).hexdigest() if text else ""


def _vtep(noun: object) -> str:
    return noun.observed.vtep if isinstance(noun, Node) else ""


def _by_instance(state: State, change: Change, fold: Fold) -> set[Key]:
    old, new = change.old, change.new
    assert isinstance(old, Instance | None)
    assert isinstance(new, Instance | None)
    if old and new and _told(old) == _told(new):
        return set()
    ends = {each.grant.node for each in (old, new) if each and each.grant}
    if not ends:
        return ends
    # Those who send to its NICs must know where these are.
    return ends | _in_workspace(state, fold, change.key.rpartition("/")[0])


def _told(instance: Instance) -> tuple[object, ...]:
    """Return what documents say of an instance."""
    return instance.assignment, instance.power, instance.spec


def _in_workspace(state: State, fold: Fold, workspace: str) -> set[Key]:
    grants = [state.of(Instance)[key].grant for key in fold.granted_in.get(workspace, ())]
    return {grant.node for grant in grants if grant}


def _by_disk(change: Change) -> set[Key]:
    old, new = change.old, change.new
    assert isinstance(old, BlockStorage | None)
    assert isinstance(new, BlockStorage | None)
    if old and new and (old.assignment, old.spec) == (new.assignment, new.spec):
        return set()
    return {each.assignment.node for each in (old, new) if each} - {Key("")}


def _guest(state: State, key: Key, grant: Placed) -> GuestWish:
    instance = state.of(Instance)[key]
    disks = disks_of(state, key)
    first = next(iter(disks.values()), None)
    return GuestWish(
        key=key,
        epoch=grant.epoch,
        power=instance.power.wanted,
        on_partition=grant.on_partition,
        restarts=instance.power.restarts,
        vcpus=grant.size.vcpus,
        ram_gb=grant.size.ram_gb,
        disks=tuple(disks),
        nics=tuple(_nics(state, key, instance)),
        boot=_boot(_image(state, first)) if first else BootWish(),
        user_data=secret_digest(instance.spec.user_data),
        ssh_keys=instance.spec.ssh_keys,
    )


def _nics(state: State, key: Key, instance: Instance) -> Iterator[NicWish]:
    for nic_key, nic, network in _plugs(state, key):
        if nic.lease.address:
            yield NicWish(
                network=network, tap=tap_of(nic_key), mac=nic.mac, address=nic.lease.address
            )
    assert instance.grant


def _plugs(state: State, key: Key) -> Iterator[tuple[Key, Nic, Key]]:
    """Yield the NICs of an instance with the networks that they are in."""
    instance = state.of(Instance)[key]
    for reference in instance.spec.nic_refs:
        nic_key = resolve(Nic.kind, reference, instance.metadata)
        if nic_key is None or (nic := state.of(Nic).get(nic_key)) is None:
            continue
        subnet = resolve(Subnet.kind, nic.spec.subnet_ref, nic.metadata)
        network = Key((subnet or "").rpartition("/")[0])
        if network in state.of(Network):
            yield nic_key, nic, network


def _image(state: State, disk: BlockStorage) -> Image | None:
    source = disk.spec.source_image_ref
    named = resolve(Image.kind, source, disk.metadata) if source else None
    return state.of(Image).get(named) if named else None


def _blob(content: Content | None) -> Blob | None:
    return Blob(digest=content.digest, size_bytes=content.size_bytes) if content else None


def _boot(image: Image | None) -> BootWish:
    if image is None:
        return BootWish()
    blobs = image.manifest.blobs
    return BootWish(
        machine="microvm" if image.extensions.get(MACHINE) == "microvm" else "q35",
        firmware=image.spec.boot or "UEFI",
        kernel=_blob(blobs.get("kernel")),
        initrd=_blob(blobs.get("initrd")),
        cmdline=image.extensions.get(CMDLINE, ""),
    )


def _disk(state: State, key: Key, disk: BlockStorage) -> DiskWish:
    image = _image(state, disk)
    return DiskWish(
        key=key,
        epoch=disk.assignment.epoch,
        size_gb=disk.spec.size_gb,
        image=_blob(image.manifest.blobs.get("disk")) if image else None,
        is_made=disk.is_made,
    )


def _networks(state: State, fold: Fold, node: Key, guests: list[Key]) -> Iterator[NodeNetwork]:
    """Yield the networks of the guests that are on here, with all NICs that are on anywhere."""
    local: dict[Key, list[LocalNic]] = {}
    for key in guests:
        if state.of(Instance)[key].power.wanted == "on":
            for nic_key, nic, network in _plugs(state, key):
                if nic.lease.address:
                    local.setdefault(network, []).append(_local(state, nic_key, nic))
    for network, nics in sorted(local.items()):
        noun = state.of(Network)[network]
        yield NodeNetwork(
            key=network,
            vni=noun.overlay.vni,
            cidrs=noun.blocks,
            local=tuple(nics),
            remote=tuple(_remote(state, fold, node, network)),
        )


def _local(state: State, key: Key, nic: Nic) -> LocalNic:
    named = [resolve(PublicIp.kind, each, nic.metadata) for each in nic.spec.public_ip_refs]
    found = [state.of(PublicIp).get(each) for each in named if each]
    publics = tuple(ip.lease.address for ip in found if ip and ip.lease.address)
    return LocalNic(tap=tap_of(key), mac=nic.mac, address=nic.lease.address, publics=publics)


def _remote(state: State, fold: Fold, node: Key, network: Key) -> Iterator[RemoteNic]:
    for key in sorted(fold.granted_in.get(network.rpartition("/")[0], ())):
        instance = state.of(Instance)[key]
        grant = instance.grant
        if grant is None or grant.node == node or instance.power.wanted == "off":
            continue
        there = state.of(Node).get(grant.node)
        for _, nic, home in _plugs(state, key):
            if home == network and nic.lease.address and there and there.observed.vtep:
                yield RemoteNic(address=nic.lease.address, vtep=there.observed.vtep)
