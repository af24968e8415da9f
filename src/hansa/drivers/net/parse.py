"""What `ip`, `bridge` and `nft` say, as data.  Pure."""

from typing import Any

import msgspec

from hansa.ports import LocalNic, NodeNetwork, RemoteNic


def names(text: bytes, prefix: str) -> dict[int, str]:
    """Return the namespaces of networks by VNI, from `ip -j netns`."""
    found = [each["name"] for each in _list(text)]
    mine = [name for name in found if name.startswith(prefix)]
    return {int(name[len(prefix) :]): name for name in mine if name[len(prefix) :].isdigit()}


def taps(text: bytes) -> set[str]:
    """Return the devices that are guests', from `ip -j link`."""
    return {each["ifname"] for each in _list(text)} - {"lo", "uplink", "vx"}


def alias(text: bytes) -> tuple[str, int]:
    """Return what the VXLAN device says it is of, and its VNI, from `ip -j -d link show vx`."""
    (link,) = _list(text)
    return link.get("ifalias", ""), link["linkinfo"]["info_data"]["id"]


def host_routes(text: bytes) -> dict[str, str]:
    """Return destination to next hop, or device if it has none, of routes to one NIC."""
    found = {}
    for each in _list(text):
        if "/" not in each["dst"] and each["dst"] != "default" and each.get("type") is None:
            found[each["dst"]] = each.get("gateway") or each["dev"]
    return found


def blocks(text: bytes) -> list[str]:
    """Return the blocks that do not leave the network."""
    return [each["dst"] for each in _list(text) if each.get("type") == "unreachable"]


def publics(routes: bytes, proxies: bytes) -> dict[str, str]:
    """Return the public addresses that the node answers for, by the device they lead to."""
    proxied = {each["dst"] for each in _list(proxies) if each.get("proxy") is not False}
    return {
        each["dst"]: each["dev"]
        for each in _list(routes)
        if each["dev"].startswith("n-") and each["dst"] in proxied
    }


def network(  # noqa: PLR0913, PLR0917 - one reading a parameter
    key: str, vni: int, links: bytes, routes: bytes, ruleset: bytes, answered: dict[str, str]
) -> NodeNetwork:
    """Return a network as the kernel has it."""
    there, ways = taps(links), host_routes(routes)
    sets = _sets(ruleset)
    pairs: dict[str, list[str]] = {}
    for public, private in sets.get("pub2priv", []):
        if answered.get(public) == f"n-{vni}":
            pairs.setdefault(private, []).append(public)
    first = dict(sets.get("priv2pub", []))
    local = [
        LocalNic(tap=tap, mac=mac, address=address, publics=_ordered(pairs, first, address))
        for tap, mac, address in sets.get("nic4", [])
        if tap in there and ways.get(address) == tap
    ]
    remote = [RemoteNic(address=a, vtep=w) for a, w in ways.items() if w not in there]
    return NodeNetwork(
        key=key,  # type: ignore[arg-type]  # what the kernel says is a key
        vni=vni,
        cidrs=tuple(blocks(routes)),
        local=tuple(sorted(local, key=lambda nic: nic.address)),
        remote=tuple(sorted(remote, key=lambda nic: nic.address)),
    )


def _ordered(pairs: dict[str, list[str]], first: dict[str, str], address: str) -> tuple[str, ...]:
    """Return the public addresses of one NIC, that of what it sends first."""
    found = sorted(pairs.get(address, []))
    return tuple(sorted(found, key=lambda public: public != first.get(address)))


def _sets(ruleset: bytes) -> dict[str, list[tuple[str, ...]]]:
    """Return the elements of sets and maps by name."""
    said = msgspec.json.decode(ruleset, type=dict[str, list[dict[str, Any]]])["nftables"]
    found: dict[str, list[tuple[str, ...]]] = {}
    for each in said:
        for kind in ("set", "map"):
            if kind in each and each[kind]["family"] == "inet":
                members = each[kind].get("elem", [])
                found[each[kind]["name"]] = [_element(member) for member in members]
    return found


def _element(member: Any) -> tuple[str, ...]:  # noqa: ANN401 - what nft says
    match member:
        case {"concat": parts}:
            return tuple(parts)
        case [str(key), str(value)]:
            return key, value
        case [key, value]:
            return (str(key), str(value))
        case _:
            return (str(member),)


def _list(text: bytes) -> list[dict[str, Any]]:
    return msgspec.json.decode(text or b"[]", type=list[dict[str, Any]])
