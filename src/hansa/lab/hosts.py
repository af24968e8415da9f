"""Hosts as text for `ip`: namespaces on one segment, and this machine as their outside.  Pure."""

from typing import NamedTuple


class Host(NamedTuple):
    """One host: its name, its address on the underlay, and its own public address."""

    name: str
    underlay: str
    public: str


UNDERLAY, PUBLIC = "198.51.100", "198.18.0"


def made(prefix: str, hosts: list[Host]) -> list[str]:
    """Return the commands that make all hosts, the segment, and our own end of it."""
    segment = f"{prefix}ul"
    lines = [
        f"ip netns add {segment}",
        f"ip -n {segment} link add br0 type bridge",
        f"ip -n {segment} link set br0 up",
        f"ip link add {prefix}out type veth peer name p-out netns {segment}",
        f"ip -n {segment} link set p-out master br0 up",
        f"ip addr add {UNDERLAY}.254/24 dev {prefix}out",
        f"ip addr add {PUBLIC}.1/24 dev {prefix}out",
        f"ip link set {prefix}out up",
    ]
    for host in hosts:
        name = f"{prefix}{host.name}"
        lines += [
            f"ip netns add {name}",
            f"ip -n {name} link set lo up",
            f"ip -n {segment} link add p-{host.name} type veth peer name eth0 netns {name}",
            f"ip -n {segment} link set p-{host.name} master br0 up",
            f"ip -n {name} addr add {host.underlay}/24 dev eth0",
            f"ip -n {name} addr add {host.public}/24 dev eth0",
            f"ip -n {name} link set eth0 up",
            f"ip -n {name} route add default via {PUBLIC}.1",
        ]
    return lines


def gone(prefix: str, names: list[str]) -> list[str]:
    """Return the commands that take everything of a prefix away; `names` are all namespaces."""
    return [
        f"ip link del {prefix}out",
        *(f"ip netns del {name}" for name in names if name.startswith(prefix)),
    ]
