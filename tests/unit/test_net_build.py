"""The commands of a node's networks, word for word, and that what is at rest gets none.

HANSA_GOLDEN=write writes the expected texts anew, to be read before they are committed.
"""

import os
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hansa.drivers.net import build, wish
from hansa.drivers.net.shape import Host, Inner, Outer, Plan, Step
from hansa.drivers.net.tables import mark_of, node_table
from hansa.model.envelope import Key
from hansa.ports import LocalNic, NodeNetwork, RemoteNic

GOLDEN = Path(__file__).parents[1] / "golden/net"
HOST = Host(
    prefix="r-n1-",
    uplink="eth0",
    vtep="198.51.100.11",
    node_address="192.0.2.11",
    underlay="198.51.100.0/24",
)
PUBLIC = "192.0.2.101"
NIC = LocalNic(tap="ta0", mac="52:54:00:00:00:05", address="10.0.1.5", publics=(PUBLIC,))
NET = NodeNetwork(
    key=Key("t/w/a"),
    vni=7,
    cidrs=("10.0.0.0/16",),
    local=(NIC,),
    remote=(RemoteNic(address="10.0.1.6", vtep="198.51.100.12"),),
)
OTHER = replace(
    NET, key=Key("u/w/b"), vni=8, local=(replace(NIC, tap="tb0", publics=()),), remote=()
)
WITHOUT = replace(NET, local=(replace(NIC, publics=()),))
WITH = replace(OTHER, local=(replace(OTHER.local[0], publics=(PUBLIC,)),))


def there(networks: Iterable[NodeNetwork], *, taps: bool = True) -> dict[str, Inner]:
    """Return the namespaces of networks that are at rest."""
    return {
        wish.namespace(HOST, each.vni): replace(
            wish.wanted(each, each.vni % build.SLOTS, [nic.tap for nic in each.local if taps]),
            links=frozenset({"lo", "uplink", "vx"}),
        )
        for each in networks
    }


def node(networks: Iterable[NodeNetwork], inners: Mapping[str, Inner]) -> Outer:
    """Return a node's namespace at rest, with these networks."""
    networks = list(networks)
    publics = wish.answers(HOST, networks, inners)
    elements = {
        "inet up vteps": {nic.vtep: "" for each in networks for nic in each.remote},
        "inet up public": dict.fromkeys(publics, ""),
        "inet up ports": {"22": ""},
    }
    return Outer(
        mark=mark_of(node_table(HOST)),
        elements=elements,
        routes={public: route for public, (route, _) in publics.items()},
        proxies=frozenset(publics),
    )


def change(before: list[NodeNetwork], after: list[NodeNetwork], *, taps: bool = True) -> Plan:
    inners = there(before, taps=taps)
    return build.plan(HOST, after, node(before, inners), inners)


def steps(plan: Plan) -> list[Step]:
    return [*plan.first, *(step for part in plan.parts for step in part), *plan.last]


def is_golden(name: str, made: Iterable[Step]) -> bool:
    text = "".join(f"# {step.tool} in {step.netns or 'the node'}\n{step.text}\n" for step in made)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("HANSA_GOLDEN") == "write":
        path.write_text(text)
    return path.read_text() == text


def test_a_first_network_is_made_by_this() -> None:
    assert is_golden("first-apply", steps(build.plan(HOST, [NET], Outer(), {})))


def test_a_tap_that_came_gets_its_place_by_this() -> None:
    inners = there([NET], taps=False)
    placed = replace(inners["r-n1-7"], taps={"ta0": False})
    assert is_golden("tap-came", build.port(HOST, NET, node([NET], inners), placed))


def test_a_nic_is_added_by_this() -> None:
    near = LocalNic(tap="ta1", mac="52:54:00:00:00:06", address="10.0.2.5")
    far = RemoteNic(address="10.0.2.6", vtep="198.51.100.13")
    more = replace(NET, local=(NIC, near), remote=(*NET.remote, far))
    assert is_golden("nic-added", steps(change([NET], [more])))


def test_a_public_address_moves_by_this() -> None:
    assert is_golden("public-moved", steps(change([NET, OTHER], [WITHOUT, WITH])))


def test_a_network_is_removed_by_this() -> None:
    assert is_golden("network-removed", steps(change([NET, OTHER], [OTHER], taps=False)))


def test_a_network_with_a_guest_left_is_emptied_by_this() -> None:
    assert is_golden("network-emptied", steps(change([NET], [])))


def test_chains_of_another_text_are_replaced_with_all_members_in_one_transaction() -> None:
    inners = there([NET])
    old = {netns: replace(inner, mark="is-old") for netns, inner in inners.items()}
    made = steps(build.plan(HOST, [NET], replace(node([NET], inners), mark="is-old"), old))
    texts = {step.netns: step.text for step in made if step.tool == "nft"}
    assert {"", "r-n1-7"} == texts.keys()
    assert all("delete table" in text for text in texts.values())
    assert f"add element inet up public {{ {PUBLIC} }}" in texts[""]
    assert f"add element inet net pub2priv {{ {PUBLIC} : 10.0.1.5 }}" in texts["r-n1-7"]


def test_networks_whose_numbers_share_a_slot_get_one_each_and_keep_it() -> None:
    later = replace(OTHER, vni=NET.vni + build.SLOTS)
    made = steps(change([NET], [later, NET]))
    assert any("addr add 169.254.128.17/31" in step.text for step in made)
    last = replace(OTHER, vni=build.SLOTS - 1)
    wrapped = replace(NET, vni=2 * build.SLOTS - 1)
    made = steps(change([last], [last, wrapped]))
    assert any("addr add 169.254.128.1/31" in step.text for step in made)


addresses = st.integers(0, 7).map(lambda number: str(IPv4Address(0x0A000100 + number)))
publics = st.integers(0, 3).map(lambda number: f"192.0.2.{number}")


@st.composite
def nodes(draw: st.DrawFn) -> list[NodeNetwork]:
    """Return networks in which no address, local, remote or public, is twice."""
    free = draw(st.lists(publics, unique=True))
    made = []
    for vni in draw(st.lists(st.integers(1, 3), unique=True)):
        here = draw(st.lists(addresses, unique=True))
        cut = draw(st.integers(0, len(here)))
        nics = []
        for address in here[:cut]:
            count = draw(st.integers(0, min(2, len(free))))
            mine, free = free[:count], free[count:]
            tap = f"t{vni}{address[-1]}"
            mac = f"52:54:00:00:00:0{vni}"
            nics.append(LocalNic(tap=tap, mac=mac, address=address, publics=tuple(mine)))
        vteps = st.sampled_from(("198.51.100.12", "198.51.100.13"))
        far = tuple(RemoteNic(address=address, vtep=draw(vteps)) for address in here[cut:])
        key = Key(draw(st.sampled_from("xy")) + str(vni))
        made.append(
            NodeNetwork(key=key, vni=vni, cidrs=("10.0.0.0/16",), local=tuple(nics), remote=far)
        )
    return made


@given(nodes())
def test_what_is_as_wished_gets_no_command(networks: list[NodeNetwork]) -> None:
    assert steps(change(networks, networks)) == []
    assert steps(change(networks, networks, taps=False)) == []


def index(made: list[Step], tool: str, word: str) -> int | None:
    found = (i for i, step in enumerate(made) if step.tool == tool and word in step.text)
    return next(found, None)


@given(nodes(), nodes())
def test_translation_comes_before_the_way_and_goes_after_it(
    before: list[NodeNetwork], after: list[NodeNetwork]
) -> None:
    made = steps(change(before, after))
    for number in range(4):
        public = f"192.0.2.{number}"
        lost = index(made, "ip", f"neigh del proxy {public}")
        untranslated = next(
            (
                i
                for i, step in enumerate(made)
                if step.netns and step.tool == "nft"
                for line in step.text.splitlines()
                if line.startswith("delete element inet net pub2priv") and public in line
            ),
            None,
        )
        translated = index(made, "nft", f"{public} : ")
        answered = index(made, "ip", f"neigh replace proxy {public}")
        told = index(made, "announce", public)
        forgotten = index(made, "conntrack", f"-D -d {public}")
        if lost is not None and untranslated is not None:
            assert forgotten is not None
            assert lost < untranslated < forgotten
        if answered is not None:
            assert told is not None
            assert (translated if translated is not None else -1) < answered < told
            assert lost is None or lost < answered
