"""``mgr module top``: what modules use, as a table and as data."""

from tests.support.builtin_commands import builtin_commands


async def test_the_busiest_module_comes_first_and_the_unknown_is_a_dash():
    """In threads a module has no memory or files of its own."""
    async with builtin_commands() as at:
        lines = (await at.run("mgr", "module", "top")).stdout.splitlines()

    assert lines[0].split()[:5] == ["MODULE", "IN", "PID", "CPU%", "RSS"]
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "hello process 5 12.3 40.0M 6.0M 5 11 3 100.0 2.5 0.25 1 on probation",
        "status thread 4 0.5 - - 2 - 0 0.0 - 0.01 0 running",
    ]


async def test_data_has_what_is_not_known_as_none():
    """And numbers with three digits."""
    async with builtin_commands() as at:
        first, second = await at.json("module", "top")

    assert (first["module"], first["cpu_percent"], first["proportional_bytes"]) == (
        *("hello", 12.346, 6 << 20),
    )
    assert second["resident_bytes"] is None


async def test_clients_repeat_it_and_rates_are_since_their_last_call():
    """``mgrctl`` sends the same session with every repetition."""
    async with builtin_commands() as at:
        command, _ = at.registry.find(["mgr", "module", "top"], {})
        await at.run("mgr", "module", "top", session_id="s-1")

    assert command.poll
    assert at.sessions == ["s-1"]
