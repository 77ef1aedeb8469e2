"""A manifest on the active: what a module does not list is denied there, and only to it."""

from __future__ import annotations

from tests.unit.active.conftest import command_table, discovered_module, module

TRIES = {
    "own": lambda m: m.set_store("job/1", "x") or m.get_store("job/1"),
    "key": lambda m: m.set_store("other", "x"),
    "option": lambda m: m.set_module_option_ex("free", "place", "x"),
    "remote": lambda m: m.remote("free", "get_mgr_id"),
    "command": lambda m: m.mon_command({"prefix": "config-key set", "key": "k", "val": "v"}),
    "map": lambda m: m.set_map("racks", {}),
}


def tries(name, **body):
    """A module whose command tries each thing and returns what became of it, a line for each."""

    def handle_command(self, _inbuf, _cmd):
        lines = []
        for what, attempt in TRIES.items():
            try:
                lines.append(f"{what} {attempt(self)}")
            except PermissionError as error:
                lines.append(f"{what} denied: {error.strerror}")
        return 0, "\n".join(lines), ""

    table = command_table(f"{name} try", "rw")
    return discovered_module(
        name, module(name, COMMANDS=table, handle_command=handle_command, **body)
    )


async def test_what_is_not_listed_is_denied_by_the_manager(active):
    """By the context that the active makes; a module without a manifest does all of it."""
    held = tries("held", MANIFEST={"enforce": True, "store": ["job/"]})
    free = tries("free", MODULE_OPTIONS=[{"name": "place"}])

    async with active(held, free, enabled=["held", "free"]) as cluster:
        denied = (await cluster.ask("held", "try")).stdout.splitlines()
        stored = list(cluster.mirror.list(cluster.keys.root + "kv/"))
        allowed = (await cluster.ask("free", "try")).stdout

    assert denied[0] == "own x"
    assert [line.partition(": ")[0] for line in denied[1:] if "denied" in line] == [
        "key denied", "option denied", "remote denied", "map denied",
    ]  # fmt: skip
    assert "-13" in next(line for line in denied if line.startswith("command"))
    assert [key.rpartition("/kv/")[2] for key in stored] == ["mgr/held/job/1"]
    assert "denied" not in allowed
    assert "-13" not in allowed
