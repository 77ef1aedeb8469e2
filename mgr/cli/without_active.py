"""The answers of ``status`` and ``health`` while no manager leads, from the managers' states."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mgr.client.messages import Status  # imports grpc, which help and completion must not

STATUS: Final = ("status",)
HEALTH: Final = (("health",), ("health", "detail"))
NO_ACTIVE: Final = "MGR_NO_ACTIVE"
LEADING: Final = frozenset({"starting", "active", "draining"})
"""Phases of a manager that leads and answers, or soon will."""
ETCD_SILENT_S: Final = 3.0
"""A manager without an answer from etcd for so long gives that as the reason."""


def has_answer(words: tuple[str, ...]) -> bool:
    """Whether the command ``words`` is answered without an active."""
    return words == STATUS or words in HEALTH


def nobody_leads(found: Mapping[str, Status | str]) -> bool:
    """Whether managers answered and none of them leads; ``found`` is by address."""
    statuses = answered(found)
    return bool(statuses) and all(status.phase not in LEADING for status in statuses)


def answered(found: Mapping[str, Status | str]) -> list[Status]:
    """Return the states of the managers that answered."""
    return [status for status in found.values() if not isinstance(status, str)]


def reasons(found: Mapping[str, Status | str], *, ages: bool = True) -> dict[str, str]:
    """Return by name why managers do not lead; those that give no reason are left out.

    One that others name as the leader, and that does not answer, is among them.

    Without ``ages`` the text stays the same while the reason does.
    """
    statuses = answered(found)
    given = {f"mgr.{each.name}": why for each in statuses if (why := _reason(each, ages=ages))}
    names = {status.name for status in statuses}
    for status in statuses:
        fresh = status.view_age_s is not None and status.view_age_s <= ETCD_SILENT_S
        if fresh and status.active is not None and status.active.name not in names:
            why = f"leads, as mgr.{status.name} knows, but does not answer here"
            given.setdefault(f"mgr.{status.active.name}", why)
    return given


def summary(found: Mapping[str, Status | str], *, ages: bool = True) -> str:
    """Return in one line that no manager leads, and why."""
    given = "; ".join(f"{name}: {why}" for name, why in reasons(found, ages=ages).items())
    return f"no active manager ({given})" if given else "no active manager"


def text(words: tuple[str, ...], found: Mapping[str, Status | str], form: str) -> str:
    """Return the answer of ``words`` that ``found`` allows, in the active's schema."""
    document = _health(found) if words in HEALTH else _status(found)
    if form.startswith("json"):
        shown = json.dumps(document, indent=4 if form == "json-pretty" else None)
    elif words in HEALTH:
        shown = "\n".join([f"HEALTH_ERR {summary(found)}", *_detail(found)])
    else:
        shown = "\n".join(f"{at}: {_state_text(status)}" for at, status in found.items())
    return f"{shown}\n"


def _health(found: Mapping[str, Status | str]) -> dict[str, Any]:
    check = {
        "severity": "HEALTH_ERR",
        "summary": {"message": summary(found), "count": 1},
        "detail": [{"message": line.strip()} for line in _detail(found)],
        "muted": False,
    }
    return {"status": "HEALTH_ERR", "checks": {NO_ACTIVE: check}, "mutes": []}


def _detail(found: Mapping[str, Status | str]) -> list[str]:
    return [f"    {address}: {_state_text(status)}" for address, status in found.items()]


def _status(found: Mapping[str, Status | str]) -> dict[str, Any]:
    statuses = answered(found)
    standbys = [status.name for status in statuses if status.phase == "standby"]
    ages = [status.view_age_s for status in statuses if status.view_age_s is not None]
    return {
        "cluster": next((status.cluster for status in statuses), ""),
        "health": _health(found),
        "mgrmap": {
            "available": False,
            "active_name": "",
            "active_change": "",
            "term": max((s.active.term for s in statuses if s.active is not None), default=0),
            "standbys": standbys,
            "num_standbys": len(standbys),
            "modules": [],
            "services": {},
        },
        "last_change": None,
        "progress_events": {},
        "view_age_s": min(ages, default=None),
        "managers": [
            {"name": "", "address": address, "phase": "", "note": status, "view_age_s": None}
            if isinstance(status, str)
            else {
                "name": status.name,
                "address": address,
                "phase": status.phase,
                "note": status.note,
                "view_age_s": status.view_age_s,
            }
            for address, status in found.items()
        ],
    }


def _reason(status: Status, *, ages: bool) -> str:
    """Return why a manager does not lead; empty if it gives no reason."""
    suspended = "suspended, " if status.phase == "suspended" else ""
    if status.view_age_s is not None and status.view_age_s > ETCD_SILENT_S:
        age = f" for {status.view_age_s:.0f} s" if ages else ""
        no_etcd = f"no answer from etcd{age}"
        return suspended + (f"{status.note}, {no_etcd}" if status.note else no_etcd)
    return (suspended + status.note) if status.note else suspended.removesuffix(", ")


def _state_text(status: Status | str) -> str:
    if isinstance(status, str):
        return status
    etcd_age = (
        "no answer from etcd yet"
        if status.view_age_s is None
        else f"last answer from etcd {status.view_age_s:.1f} s ago"
    )
    return ", ".join(
        word for word in (f"mgr.{status.name} {status.phase}", etcd_age, status.note) if word
    )
