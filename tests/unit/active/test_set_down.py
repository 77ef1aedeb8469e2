"""The active's part of ``mgr set down``."""


async def test_managers_that_are_set_down_lose_their_active(active):
    """Whoever wrote it: the record is looked at, not the command."""
    async with active() as cluster:
        answer = await cluster.ask("mgr", "set", "down", "true")
        await cluster.until(lambda: cluster.resigned)
        assert cluster.mirror.get(cluster.keys.down) is not None
        await cluster.ask("mgr", "set", "down", "false")

        assert cluster.mirror.get(cluster.keys.down) is None
        assert cluster.resigned == [("mgr set down", "")]
    assert "mgr.a gives up leadership and no manager takes it" in answer.stderr


async def test_an_active_that_finds_the_managers_set_down_goes_at_once(active):
    """Level, not edge: the word may have come while it won."""
    async with active(stored={"down": "since then"}) as cluster:
        assert cluster.resigned == [("mgr set down", "")]


async def test_what_was_executed_while_nobody_led_is_in_the_audit_log(active):
    """Once: the note is deleted."""
    async with active(stored={"unled/1": "mgr.b executed 'mgr module disable web'"}) as cluster:
        answer = await cluster.ask("log", "last", "10", "debug", "audit")
        assert "mgr.b executed 'mgr module disable web'" in answer.stdout
        await cluster.ask("config", "set", "mgr", "log_to_file", "false")
        assert cluster.mirror.list(cluster.keys.unled) == {}
