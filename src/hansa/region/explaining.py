"""hansa.explain/1: why an instance is where it is, told of each node exactly once."""

from hansa.model.envelope import Key
from hansa.model.instance import Instance
from hansa.model.refusal import Refusal
from hansa.model.state import State
from hansa.reconcile.instances import wanted_of
from hansa.scheduling.fold import Fold
from hansa.scheduling.place import Verdict, place
from hansa.scheduling.place import explain as of_all
from hansa.scheduling.rules import Wanted


def explain(state: State, fold: Fold, key: Key) -> dict[str, object] | Refusal:
    """Return the decision that stands, and each node's verdict as of now."""
    instance = state.of(Instance).get(key)
    if instance is None:
        return Refusal(code="not-found", message=f"there is no instance {key}")
    wanted = wanted_of(state, fold, key)
    grant = instance.grant
    if isinstance(wanted, str):
        message = f"its {wanted} is not there"
        return Refusal(code="reference-unknown", message=message, pointer="/spec/skuRef")
    # What it holds itself does not speak against the node that it is on.
    verdicts = of_all(wanted._replace(pinned=Key("")) if grant else wanted, fold.zones.values())
    chosen = grant.node if grant else ""
    return {
        "format": "hansa.explain/1",
        "instance": key,
        "node": chosen,
        "epoch": grant.epoch if grant else None,
        "scores": grant.scores if grant else {},
        "asked": _asked(wanted, instance),
        "candidates": [_candidate(verdict, chosen) for verdict in verdicts],
        "again": _again(wanted, fold, chosen),
    }


def _asked(wanted: Wanted, instance: Instance) -> dict[str, object]:
    return {
        "vCPU": wanted.size.vcpus,
        "ram": wanted.size.ram_gb,
        "zone": wanted.zone,
        "group": wanted.group,
        "onPartition": instance.on_partition,
    }


def _candidate(verdict: Verdict, chosen: str) -> dict[str, object]:
    fits = "refused" if verdict.refused_by else "fits"
    reasons = [{"rule": rule, "reason": why} for rule, why in verdict.refused_by.items()]
    return {
        "node": verdict.node,
        "verdict": "chosen" if verdict.node == chosen else fits,
        "refused_by": [] if verdict.node == chosen else reasons,
        "scores": verdict.scores,
    }


def _again(wanted: Wanted, fold: Fold, chosen: str) -> str:
    """Return where it would go now, if it were to be placed anew."""
    nodes = fold.zones.get(wanted.zone)
    row = place(wanted, nodes) if nodes else {}
    return nodes.names[row] if nodes and isinstance(row, int) else chosen
