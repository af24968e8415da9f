"""What `ip`, `bridge` and `nft` say, as data; and what networks that is.  Pure."""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import msgspec

from hansa.drivers.net.build import GATEWAY_MAC
from hansa.drivers.net.shape import Answers, Elements, Host, Inner, Outer
from hansa.drivers.net.tables import TRANSITS
from hansa.drivers.net.wish import answered, blocks, vtep_mac
from hansa.model.envelope import Key
from hansa.ports import LocalNic, NodeNetwork, RemoteNic


class _Link(msgspec.Struct, frozen=True):
    ifname: str
    address: str = ""
    ifalias: str = ""
    flags: tuple[str, ...] = ()
    linkinfo: dict[str, Any] = {}

    @property
    def is_tap(self) -> bool:
        return self.linkinfo.get("info_kind") == "tun"


class _Route(msgspec.Struct, frozen=True):
    dst: str
    gateway: str = ""
    dev: str = ""
    protocol: str = ""
    type: str = "unicast"
    flags: tuple[str, ...] = ()

    @property
    def to(self) -> str:
        return self.dst if "/" in self.dst or self.dst == "default" else f"{self.dst}/32"

    def __str__(self) -> str:
        """Return it as `ip route replace` reads it."""
        if self.type == "unreachable":
            return f"unreachable {self.to}"
        via = f" via {self.gateway}" if self.gateway else ""
        onlink = " onlink" if "onlink" in self.flags else ""
        return f"{self.to}{via} dev {self.dev}{onlink}"


class _Neighbour(msgspec.Struct, frozen=True):
    dst: str
    dev: str
    lladdr: str = ""


class _Forwarding(msgspec.Struct, frozen=True):
    mac: str
    dst: str = ""


def inner(said: bytes, said_fdb: bytes, said_nft: bytes) -> Inner:
    """Return a network's namespace.

    `said` is of one `ip -j -d -batch`: links, routes, permanent neighbours.
    """
    lines = _documents(said)
    links = {link.ifname: link for link in msgspec.convert(lines[0], list[_Link])}
    routes = [each for each in msgspec.convert(lines[1], list[_Route]) if _is_ours(each)]
    neighbours = msgspec.convert(lines[2], list[_Neighbour])
    fdb = msgspec.json.decode(said_fdb or b"[]", type=list[_Forwarding])
    alias = links["vx"].ifalias if "vx" in links else ""
    way = next((each.gateway for each in routes if each.dst == "default"), "")
    mark, elements = ruleset(said_nft, ("inet net", "arp net"))
    return Inner(
        key=alias + links["uplink"].ifalias if alias else "",
        mark=mark,
        slot=_slot(way) if way else -1,
        links=frozenset(links),
        taps={
            name: link.address == GATEWAY_MAC and "UP" in link.flags
            for name, link in links.items()
            if link.is_tap
        },
        elements=elements,
        routes={route.to: str(route) for route in routes},
        neighbours={f"{each.dst} dev {each.dev}": each.lladdr for each in neighbours},
        fdb={each.mac: each.dst for each in fdb if each.dst},
    )


def outer(said: bytes, said_nft: bytes, uplink: str) -> Outer:
    """Return the node's namespace.  `said` is of one `ip -j -batch`: routes, proxies."""
    lines = _documents(said)
    routes = [each for each in msgspec.convert(lines[0], list[_Route]) if _is_ours(each)]
    proxies = msgspec.convert(lines[1], list[_Neighbour])
    mark, elements = ruleset(said_nft, ("inet up",))
    return Outer(
        mark=mark,
        elements=elements,
        routes={each.dst: str(each) for each in routes if each.dev.startswith("n-")},
        proxies=frozenset(each.dst for each in proxies if each.dev == uplink),
    )


def ruleset(said: bytes, tables: Sequence[str]) -> tuple[str, Elements]:
    """Return the mark of these tables, and the members of their sets and maps."""
    mark, elements = "", dict[str, dict[str, str]]()
    for each in msgspec.json.decode(said)["nftables"]:
        ((kind, what),) = each.items()
        table = f"{what.get('family')} {what.get('table')}"
        if table not in tables:
            continue
        if kind == "chain" and what["name"].startswith("is-"):
            mark = what["name"]
        if kind in {"set", "map"}:
            elements[f"{table} {what['name']}"] = dict(_members(what))
    return mark, {name: members for name, members in elements.items() if members}


def networks(host: Host, node: Outer, inners: Mapping[str, Inner]) -> dict[Key, NodeNetwork]:
    """Return the networks that are really there, and of their NICs those that lack nothing."""
    publics = answered(host, node, inners)
    return {
        Key(each.key): _network(int(netns.removeprefix(host.prefix)), each, publics)
        for netns, each in inners.items()
        if each.key
    }


def _network(vni: int, there: Inner, publics: Answers) -> NodeNetwork:
    cidrs = sorted(to for to, way in there.routes.items() if way == f"unreachable {to}")
    is_held = set(blocks(cidrs)) == there.elements.get("inet net inside", {}).keys()
    return NodeNetwork(
        key=Key(there.key),
        vni=vni,
        cidrs=tuple(cidrs) if is_held else (),
        local=tuple(_local(there, publics, f"dev n-{vni}")),
        remote=tuple(_remote(there)),
    )


def _local(there: Inner, publics: Answers, leads_here: str) -> Iterator[LocalNic]:
    sets = there.elements
    first = sets.get("inet net priv2pub", {})
    for member in sorted(sets.get("inet net nic4", {})):
        tap, mac, address = (part.strip('"') for part in member.split(" . "))
        mine = sorted(
            (public != first.get(address), public)
            for public, (route, inside) in publics.items()
            if route.endswith(leads_here) and inside == address
        )
        if (
            there.taps.get(tap)
            and there.routes.get(f"{address}/32") == f"{address}/32 dev {tap}"
            and there.neighbours.get(f"{address} dev {tap}") == mac
            and member in sets.get("arp net nic", {})
            and f'"{tap}"' in sets.get("inet net into", {}).keys() & sets.get("inet net outof", {})
        ):
            found = tuple(public for _, public in mine)
            yield LocalNic(tap=tap, mac=mac, address=address, publics=found)


def _remote(there: Inner) -> Iterator[RemoteNic]:
    for to, way in sorted(there.routes.items()):
        match way.split():
            case [_, "via", vtep, "dev", "vx", "onlink"]:
                mac = vtep_mac(vtep)
                if there.neighbours.get(f"{vtep} dev vx") == mac and there.fdb.get(mac) == vtep:
                    yield RemoteNic(address=to.removesuffix("/32"), vtep=vtep)
            case _:
                pass


def _documents(said: bytes) -> list[Any]:
    return [msgspec.json.decode(line) for line in said.splitlines() if line.strip()]


def _is_ours(route: _Route) -> bool:
    return route.protocol != "kernel"


def _slot(nodes_end: str) -> int:
    return (int(IPv4Address(nodes_end)) - int(IPv4Network(TRANSITS).network_address)) // 2


def _members(what: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kinds = what["type"] if isinstance(what["type"], list) else [what["type"]]
    for said in what.get("elem", []):
        key, value = said if "map" in what else (said, "")
        yield _key(key, kinds), _value(value)


def _key(said: object, kinds: Sequence[str]) -> str:
    match said:
        case {"concat": [*parts]}:
            return " . ".join(_key(part, [kind]) for part, kind in zip(parts, kinds, strict=True))
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case _:
            return f'"{said}"' if kinds == ["ifname"] else str(said)


def _value(said: object) -> str:
    match said:
        case {"accept": None}:
            return "accept"
        case {"jump": {"target": target}}:
            return f"jump {target}"
        case _:
            return str(said)
