"""Commands ``secrets``: the sealing of secret values in etcd."""

from __future__ import annotations

from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext

CHANGES = "rwx"


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _Secrets(context)
    return [
        builtin(
            "secrets status",
            "show whether secrets in etcd are sealed, and by which data keys",
            "r",
            noun.status,
        ),
        builtin(
            "secrets rotate",
            "make a new data key; everything is sealed under it in the background",
            CHANGES,
            noun.rotate,
        ),
    ]


class _Secrets:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context

    async def status(self, _call: Call) -> Reply:
        found = self._context.seals.status()
        data = {
            "enabled": found.enabled,
            "current": found.current,
            "values": found.values,
            "unsealed": found.unsealed,
        }
        if not found.enabled:
            plain = f"secrets are not sealed; {found.unsealed} are stored in plain text"
        else:
            lines = [f"data key {found.current or '(none yet)'} seals"]
            lines += [f"  {name}: {count} values" for name, count in found.values.items()]
            lines.append(f"{found.unsealed} secrets are still in plain text")
            plain = "\n".join(lines)
        return Reply(data, plain=plain)

    async def rotate(self, _call: Call) -> Reply:
        name = await self._context.seals.rotate()
        return Reply(
            {"data_key": name},
            plain="",
            note=f"data key {name} seals from now on; older values follow ('secrets status')",
        )
