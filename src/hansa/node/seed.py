"""The files of a guest's NoCloud seed, as cloud-init reads them."""

import json

from hansa.wire.messages import GuestWish, NicWish

GATEWAY = "169.254.1.1"
MTU = 1450


def files_of(wish: GuestWish, user_data: bytes) -> dict[str, bytes]:
    """Return meta-data, user-data and network-config.  JSON is YAML, and quotes safely."""
    name = wish.key.rpartition("/")[2]
    meta: dict[str, object] = {
        "instance-id": f"{wish.key}@{wish.epoch.incarnation}.{wish.epoch.counter}",
        "local-hostname": name,
    }
    if wish.ssh_keys:
        meta["public-keys"] = list(wish.ssh_keys)
    network = {
        "version": 2,
        "ethernets": {f"eth{index}": _nic(nic, index) for index, nic in enumerate(wish.nics)},
    }
    return {
        "meta-data": json.dumps(meta).encode(),
        "user-data": user_data,
        "network-config": json.dumps(network).encode(),
    }


def _nic(nic: NicWish, index: int) -> dict[str, object]:
    said: dict[str, object] = {
        "match": {"macaddress": nic.mac},
        "set-name": f"eth{index}",
        "addresses": [f"{nic.address}/32"],
        "mtu": MTU,
    }
    if index == 0:
        said["routes"] = [{"to": "0.0.0.0/0", "via": GATEWAY, "on-link": True}]
    return said
