"""Addresses are given to one at a time, are hosts, and come back."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.overlay.ipam import free_address, inside

blocks = st.builds(
    lambda number, length: str(IPv4Network((number, length), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(26, 32),
)


@given(blocks, st.lists(st.integers(0, 70)))
def test_each_host_is_given_once_and_comes_back_when_it_is_released(
    block: str, releases: list[int]
) -> None:
    network, held = IPv4Network(block), list[str]()
    hosts = {str(host) for host in network.hosts()}
    for release in [*releases, *range(70)]:
        given_one = free_address(block, set(held))
        assert (given_one is None) == (len(hosts) == len(held))
        if given_one is None:
            returned = held.pop(release % len(held))
            assert returned == free_address(block, set(held))
        else:
            assert given_one in hosts - set(held)
            held.append(given_one)


@given(st.integers(0, 2**24 - 1), st.integers(16, 30))
def test_network_and_broadcast_addresses_are_never_given(number: int, length: int) -> None:
    network = IPv4Network((number << 8, length), strict=False)
    first = free_address(str(network), set())
    assert first == str(network.network_address + 1)
    others = {str(host) for host in network.hosts()} - {first} if length > 24 else set()
    assert free_address(str(network), others) == first
    ends = {str(network.network_address), str(network.broadcast_address)}
    assert ends.isdisjoint({first})


@pytest.mark.parametrize(
    ("block", "hosts"),
    [
        ("10.0.0.0/30", ["10.0.0.1", "10.0.0.2"]),
        ("10.0.0.0/31", ["10.0.0.0", "10.0.0.1"]),
        ("10.0.0.9/32", ["10.0.0.9"]),
    ],
)
def test_small_blocks_have_these_hosts(block: str, hosts: list[str]) -> None:
    taken = set[str]()
    for host in hosts:
        assert host == free_address(block, taken)
        taken.add(host)
    assert free_address(block, taken) is None


@given(blocks, st.integers(0, 2**32 - 1))
def test_an_address_is_inside_if_it_can_be_a_host_there(block: str, number: int) -> None:
    network = IPv4Network(block)
    hosts = {str(host) for host in network.hosts()}
    ends = (int(network.network_address), int(network.broadcast_address))
    around = {*ends, number, *((end + step) % 2**32 for end in ends for step in (-1, 1))}
    for address in (str(IPv4Address(each)) for each in around):
        assert (address in hosts) == inside(block, address)


@pytest.mark.parametrize("text", ["fd00::1", "nowhere", ""])
def test_what_is_no_address_of_ipv4_is_in_no_block(text: str) -> None:
    assert not inside("0.0.0.0/0", text)
