"""Region: what a client finds of a provider's region, and where."""

from typing import Annotated

import msgspec
from msgspec import Meta

from hansa.model.envelope import Resource, Zone


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One service, and the URL it is at."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    version: Annotated[str, Meta(min_length=1, max_length=16)]
    url: Annotated[str, Meta(min_length=1, max_length=4000)]


class RegionSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Written by the provider's settings."""

    available_zones: Annotated[tuple[Zone, ...], Meta(min_length=1, max_length=32)]
    providers: Annotated[tuple[Endpoint, ...], Meta(min_length=1, max_length=64)]


class Region(Resource, frozen=True, kw_only=True):
    """One region of the catalogue."""

    kind = "region"
    writable = False
    example = (
        b'{"spec":{"availableZones":["a"],"providers":'
        b'[{"name":"seca.compute","version":"v1","url":"http://127.0.0.1/providers/seca.compute"}]}}'
    )
    spec: RegionSpec
