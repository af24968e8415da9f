"""Joining: one invitation, one machine, one key, made on the machine and never sent."""

from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from hansa.model.envelope import Key, Lifecycle, Metadata, Name, Zone
from hansa.model.node import Identity, Invitation, InvitationSpec, Node, NodeSpec, Token
from hansa.model.refusal import Refusal
from hansa.model.region import Region
from hansa.model.state import Action, Delete, Proposal, Set, State, put


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine says that wants to be a node: `key` is its raw public key in hex."""

    node: Name
    token: str
    key: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """Where a node finds its region, and whom it is to trust."""

    region: str
    endpoint: str
    nats: str
    ca_sha256: str = ""
    ca: str = ""  # The certificate itself, as PEM.


class Joining:
    """Makes invitations, and nodes of those who come with one."""

    def __init__(self, contact: Contact, credentials: Callable[[str, str, int], str]) -> None:
        """Keep where we are; `credentials(node, key, now_s)` returns its NATS user JWT."""
        self._contact, self._credentials = contact, credentials

    def line(self, name: Key, token: str) -> str:
        """Return what the other machine types after `hansa node join`."""
        return f"{self._contact.endpoint}#{name}.{token}.{self._contact.ca_sha256[:32]}"

    def to_invite(self, name: Key, zone: Zone, token: str) -> Proposal:
        """Return the proposal to expect a node: only the token's digest is kept."""

        def propose(state: State, at: datetime) -> list[Action] | Refusal:
            zones = {z for region in state.of(Region).values() for z in region.spec.available_zones}
            if zone not in zones:
                fix = f"zones are: {', '.join(sorted(zones))}"
                message = f'there is no zone "{zone}"'
                return Refusal(code="zone-unknown", message=message, pointer="/spec/zone", fix=fix)
            sent = msgspec.Raw(msgspec.json.encode({"spec": {"zone": zone}}))
            noun = Invitation(
                metadata=Metadata(name=name),
                sent=sent,
                spec=InvitationSpec(zone=zone),
                token=Token(_digest(token)),
                lifecycle=Lifecycle().through(at, "pending", "creating", "active"),
            )
            again = Set(kind=Invitation.kind, key=name, part=noun.token)
            return [put(noun, at), again]

        return propose

    def read(self, body: bytes) -> Asked | Refusal:
        """Return what a machine says."""
        try:
            return msgspec.json.decode(body, type=Asked)
        except msgspec.ValidationError as error:
            return Refusal(code="field-invalid", message=str(error))
        except msgspec.DecodeError as error:
            return Refusal(code="body-not-json", message=str(error))

    def to_join(self, asked: Asked) -> Proposal:
        """Return the proposal to make a node of who has the token."""

        def propose(state: State, at: datetime) -> list[Action] | Refusal:
            name = Key(asked.node)
            known = state.of(Node).get(name)
            if known and known.identity.key == asked.key:
                return []  # It asks again: the answer got lost.
            invitation = state.of(Invitation).get(name)
            if invitation is None or not compare_digest(
                invitation.token.digest, _digest(asked.token)
            ):
                message = f"there is no such invitation for node {name}"
                fix = f"hansa node invite --name {name}"
                return Refusal(code="invitation-invalid", message=message, fix=fix)
            sent = msgspec.Raw(msgspec.json.encode({"spec": {"zone": invitation.spec.zone}}))
            noun = Node(
                metadata=Metadata(name=name),
                sent=sent,
                spec=NodeSpec(zone=invitation.spec.zone),
                lifecycle=Lifecycle().through(at, "pending", "creating", "active"),
            )
            identity = Set(kind=Node.kind, key=name, part=Identity(asked.key))
            return [
                put(replace(noun), at),
                identity,
                Delete(kind=Invitation.kind, key=name),
            ]

        return propose

    def welcome(self, asked: Asked, now_s: int) -> dict[str, object]:
        """Return what the node needs to speak to us."""
        said = msgspec.to_builtins(self._contact)
        assert isinstance(said, dict)
        return {**said, "jwt": self._credentials(asked.node, asked.key, now_s)}


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
