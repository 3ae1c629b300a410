"""A run's record: what it rested on, what became of every product, time, memory and sizes.

It is the one account of a run; `list runs`, `report`, `compare` and the plan of the next run read it.
"""

from __future__ import annotations

import datetime
import platform
import secrets
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.runs.execute import Made
from pipeline.runs.plan import Plan, Planned
from pipeline.runs.store import Identity, Store

if TYPE_CHECKING:
    from pipeline.runs.run import Session


def run_name(store: Store, pass_number: int) -> str:
    """A new run's name: when it began, its pass, and something that tells runs of one moment apart.

    It comes after all others in the store, even if the clock was set back: by their names runs are put in order.
    """
    now = datetime.datetime.now(datetime.UTC)
    last = max((path.stem for path in (store.root / "runs").glob("*.json")), default="")[:18]
    with suppress(ValueError):
        now = max(now, _moment(last) + datetime.timedelta(milliseconds=1))
    return f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}-PJ{pass_number:02d}-{secrets.token_hex(2)}"


def _moment(text: str) -> datetime.datetime:
    return datetime.datetime.strptime(text, "%Y%m%dT%H%M%S%f").replace(tzinfo=datetime.UTC)


def record_of(session: Session, plan: Plan, products: list[dict[str, Any]], **measured: Any) -> dict[str, Any]:
    """The record: what the session rested on, its products, and `measured`: run, ended, seconds, peak_mb, pictures."""
    now = datetime.datetime.now(datetime.UTC)
    geometry = plan.geometry_path
    return {
        "run": measured["run"],
        "pass": session.pass_.number,
        "ended": measured["ended"],
        "finished": now.isoformat(timespec="seconds"),
        "seconds": round(measured["seconds"], 3),
        "peak_mb": round(measured["peak_mb"], 1),
        "raw": str(session.raw),
        "delivery": session.delivery,
        "kernels": str(session.request.kernels) if session.request.kernels else None,
        "context": {"name": session.selection.context.alias, "hash": session.selection.context.hash},
        "geometry": str(geometry.relative_to(session.store.root)) if geometry else None,
        "window": session.request.window,
        "settings": session.request.settings,
        "versions": _versions(),
        "quarantined": session.discovery.quarantined,
        "superseded": session.discovery.superseded + plan.superseded,
        "products": _described(products, session.store),
        "pictures": measured["pictures"],
    }


def entries(plan: Plan, tried: dict[str, Planned], outcome: dict[str, Made]) -> list[dict[str, Any]]:
    """All products of the last plan, then those that are not in it any more because something failed."""
    found = {}
    for planned in plan.products:
        name = str(planned.identity)
        before = tried.get(name)
        if before is not None and before.key == planned.key:
            # What an earlier round made is there for the last one's plan, but was made for reasons all the same.
            found[name] = product_entry(before, outcome.get(name))
        else:
            found[name] = product_entry(planned, None)
    for blocked in plan.blocked:
        found.setdefault(blocked["identity"], absent_entry(blocked["identity"], "blocked", blocked["reason"]))
    for name, made in outcome.items():
        found.setdefault(name, absent_entry(name, made.status, made.reason))
    return list(found.values())


def _described(products: list[dict[str, Any]], store: Store) -> list[dict[str, Any]]:
    """Products with what is flagged in them and the times they cover; of those kept, as the run that made them said."""
    unknown = {p["key"]: p for p in products if p["status"] == "kept"}
    for record in store.runs() if unknown else ():
        for told in record["products"]:
            if "flagged" in told and told["key"] in unknown:
                unknown.pop(told["key"]).update(flagged=told["flagged"], covers=told["covers"])
        if not unknown:
            break
    return products


def product_entry(planned: Planned, made: Made | None) -> dict[str, Any]:
    """A product as run records and ``run --json`` show it."""
    status, reason = "kept", None
    if planned.status == "make":
        # Without an outcome the run was interrupted; this one may have been finished even so.
        finished = "made" if planned.path.exists() else "failed"
        status, reason = (made.status, made.reason) if made else (finished, "the run was interrupted")
    entry = {
        "identity": str(planned.identity),
        "key": planned.key,
        "instrument": planned.identity.type.split(".")[0],
        "type": planned.identity.type,
        "unit": planned.identity.unit,
        "path": str(planned.path),
        "status": status,
        "made": status == "made",
        "why": planned.why,
        "reason": reason,
        "recipe": planned.recipe if status == "made" else None,
    }
    if made:
        entry |= {"seconds": round(made.seconds, 3), "records": made.records, "segments": made.segments}
        entry |= {"sha256": made.sha256, "bytes": made.size, "peak_mb": round(made.peak_mb, 1)}
        entry |= {"flagged": made.flagged, "covers": made.covers}
    return entry


def absent_entry(name: str, status: str, reason: str | None) -> dict[str, Any]:
    """A product that has no key, because it could not even be planned."""
    identity = Identity.parse(name)
    return {
        "identity": name,
        "key": None,
        "instrument": identity.type.split(".")[0],
        "type": identity.type,
        "unit": identity.unit,
        "path": None,
        "status": status,
        "made": False,
        "why": [],
        "reason": reason,
        "recipe": None,
    }


def _versions() -> dict[str, Any]:
    """What bytes may depend on besides the keys."""
    names = ("perijove", "numpy", "scipy", "xarray", "h5py", "h5netcdf")
    simd = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    machine = {"python": platform.python_version(), "machine": platform.machine(), "simd": simd}
    return machine | {n: version(n) for n in names}


def exit_status(record: dict[str, Any]) -> int:
    """0 if everything was made or kept and every raw file could be used, 1 otherwise."""
    good = all(p["status"] in ("made", "kept") for p in record["products"])
    return 0 if good and not record["quarantined"] and record["ended"] == "done" else 1
