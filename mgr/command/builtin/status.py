"""Command ``status``: the state of the cluster on one screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mgr.clock import to_the_second
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.command.builtin.health import detail_lines
from mgr.election.history import last_change
from mgr.election.records import Presence, decode


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _Status(context)
    return [
        builtin("status", "show cluster status", "r", noun.show),
    ]


class _Status:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context

    async def show(self, _call: Call) -> Reply:
        found = self._context.mgr_map()
        age_s = self._context.mirror.age_s()
        data = {
            "cluster": self._context.keys.cluster,
            "health": self._context.board.summary(),
            "mgrmap": {
                "available": found["available"],
                "active_name": found["active_name"],
                "active_change": found["active_change"],
                "term": self._context.fenced.term,
                "standbys": [each["name"] for each in found["standbys"]],
                "num_standbys": len(found["standbys"]),
                "modules": found["modules"],
                "services": found["services"],
            },
            "last_change": self._last_change(),
            "progress_events": self._context.progress.as_document(),
            # Age of the data from which reads are answered: it grows while etcd is unreachable.
            "view_age_s": round(age_s, 3),
            # Without an active, mgrctl prints what each manager said in the same fields.
            "managers": self._managers(found["active_name"], round(age_s, 3)),
        }
        return Reply(data, plain=self._text(data))

    def _last_change(self) -> dict[str, Any] | None:
        """Return when and why leadership changed last; None if no earlier term was recorded."""
        context = self._context
        found = last_change(context.mirror.list(context.keys.leadership))
        if found is None:
            return None
        present, before = found
        return {
            "at": present.since,
            "to": present.name,
            "from": before.name,
            "reason": before.reason,
            "summary": before.summary,
            "asked_by": before.asked_by,
            "unled_s": present.unled_s,
        }

    def _managers(self, active: str, age_s: float) -> list[dict[str, Any]]:
        records = self._context.mirror.list(self._context.keys.managers).values()
        presences = [found for each in records if (found := decode(each.value, Presence))]
        return [
            {
                "name": presence.name,
                "address": presence.grpc_address,
                "phase": "active" if presence.name == active else "standby",
                "note": "",
                "view_age_s": age_s if presence.name == active else None,
            }
            for presence in presences
        ]

    def _text(self, data: dict[str, Any]) -> str:
        mgrmap = data["mgrmap"]
        state = "active" if mgrmap["available"] else "active (starting)"
        standbys = ", ".join(mgrmap["standbys"])
        waiting = f"standbys: {standbys}" if standbys else "no standbys"
        health = detail_lines(self._context.board)
        term = f"term {mgrmap['term']}, since {to_the_second(mgrmap['active_change'])}"
        lines = [
            "  cluster:",
            f"    id:     {data['cluster']}",
            f"    health: {health[0]}",
            *(f"            {line}" for line in health[1:] if not line.startswith(" ")),
            "",
            "  services:",
            f"    mgr: {mgrmap['active_name']}({state}, {term}), {waiting}",
        ]
        if data["last_change"]:
            lines.append(f"    last change: {_change_text(data['last_change'])}")
        if mgrmap["modules"]:
            lines += ["", "  modules:", f"    {', '.join(mgrmap['modules'])}"]
        if mgrmap["services"]:
            lines += ["", "  addresses:"]
            lines += [f"    {name}: {uri}" for name, uri in sorted(mgrmap["services"].items())]
        shown = [event for event in self._context.progress.events.values() if event.shown]
        if shown:
            lines += ["", "  progress:"]
            lines += [
                line for each in shown for line in (f"    {each.message}", f"      {each.bar()}")
            ]
        return "\n".join(lines)


def _change_text(change: Mapping[str, Any]) -> str:
    unled_s = change["unled_s"]
    unled = "" if unled_s is None else f"; nobody led for {unled_s:.3f} s"
    return f"{change['summary']}{unled}"
