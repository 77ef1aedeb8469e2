"""What a module of the active reaches, asked from the module's own thread."""

import asyncio

import pytest

from mgr.errors import TermLostError, TooLargeError


async def test_a_stored_entry_is_readable_as_soon_as_the_write_returns(run):
    """Every thread sees it: no module waits for an echo."""

    def work(module):
        module.set_store("k", "v")
        return module.get_store("k")

    assert await run(work) == "v"


async def test_an_entry_is_removed_by_none(run):
    """As in ceph-mgr."""

    def work(module):
        module.set_store("k", "v")
        module.set_store("k", None)
        return module.get_store("k"), module.get_store_prefix("")

    assert await run(work) == (None, {})


async def test_entries_stand_under_the_modules_own_name(cluster, run):
    """``config-key`` shows them as ``mgr/<module>/<key>``."""
    await run(lambda module: module.set_store("a/b", "v"))

    assert cluster.mirror.get(f"{cluster.keys.kv}mgr/probe/a/b").value == "v"


async def test_a_prefix_gives_whole_keys_in_order(run):
    """Plain prefix of the text, not of path segments; other modules' keys are not seen."""

    def work(module):
        for key in ("b", "ab", "aa", "a/x"):
            module.set_store(key, key.upper())
        return list(module.get_store_prefix("a").items())

    assert await run(work) == [("a/x", "A/X"), ("aa", "AA"), ("ab", "AB")]


async def test_a_value_above_the_limit_is_refused_before_anything_is_sent(cluster, run):
    """The limit is Ceph's, and it is an option."""
    before = cluster.mirror.revision

    error = await run(lambda module: module.set_store("k", "x" * 65_537))

    assert isinstance(error, TooLargeError)
    assert "65536" in str(error)
    assert cluster.mirror.revision == before


async def test_an_option_is_typed_and_readable_as_soon_as_it_is_set(run):
    """Stored text is normalised, so what was set can be read."""

    def work(module):
        before = module.get_module_option("size")
        module.set_module_option("size", "2K")
        return before, module.get_module_option("size")

    assert await run(work) == (1, 2048)


async def test_a_removed_option_is_its_default_again(run):
    """None reverts."""

    def work(module):
        module.set_module_option("place", "Rome")
        module.set_module_option("place", None)
        return module.get_module_option("place")

    assert await run(work) == "World"


async def test_a_localized_option_counts_for_this_manager_and_only_where_asked(run):
    """Each manager may have a value of its own."""

    def work(module):
        module.set_module_option("place", "Rome")
        module.set_localized_module_option("place", "Ostia")
        return module.get_module_option("place"), module.get_localized_module_option("place")

    assert await run(work) == ("Rome", "Ostia")


async def test_a_value_that_does_not_fit_is_refused_with_the_reason(run):
    """And nothing changed."""
    error = await run(lambda module: module.set_module_option("size", "20K"))

    assert isinstance(error, ValueError)
    assert "exceeds maximum" in str(error)
    assert await run(lambda module: module.get_module_option("size")) == 1


async def test_health_checks_are_raised_and_cleared(cluster, run):
    """What a module says replaces what it said before."""
    check = {"severity": "error", "summary": "odd", "count": 2, "detail": ["x", "y"]}
    await run(lambda module: module.set_health_checks({"PROBE_ODD": check}))
    raised = (await cluster.health())["PROBE_ODD"]
    await run(lambda module: module.set_health_checks({}))

    assert raised["severity"] == "HEALTH_ERR"
    assert "PROBE_ODD" not in await cluster.health()


async def test_an_address_is_published_on_the_managers_lease(cluster, run):
    """It ends with the manager, whatever becomes of it."""
    await run(lambda module: module.set_uri("http://first"))
    await run(lambda module: module.set_uri("http://second"))

    record = cluster.mirror.get(cluster.keys.service("probe"))
    assert (record.value, record.lease) == ("http://second", cluster.lease)


async def test_a_line_for_the_cluster_log_arrives(cluster, run):
    """Numbers beyond the scale are taken as its end."""
    await run(lambda module: module._context.cluster_log("cluster", 99, "it is late"))

    [last] = cluster.role.log.last(1)
    assert (last.name, last.priority.name, last.message) == ("mgr.a", "ERROR", "it is late")


async def test_another_module_is_called_by_value_on_the_callers_thread(run):
    """Neither sees what the other does to its arguments afterwards."""

    def work(module):
        mine = [0]
        grown = module.remote("peer", "grow", mine)
        return module.remote("peer", "add", 1, right=2), mine, grown

    assert await run(work) == (3, [0], [0, 1])


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda m: m.remote("nobody", "add"), ImportError, "Module not found"),
        (lambda m: m.remote("peer", "nothing"), NameError, "Method not found"),
    ],
)
async def test_a_failed_call_raises_the_reason(run, call, kind, text):
    """The errors are ceph-mgr's."""
    error = await run(call)

    assert type(error) is kind
    assert text in str(error)


async def test_what_cannot_be_copied_is_passed_by_reference(run):
    """Both modules live in one process."""
    made = await run(lambda module: module.remote("peer", "unpicklable"))

    assert callable(made)


async def test_a_module_runs_commands_of_the_manager(run):
    """As an operator would."""
    command = {"prefix": "config set", "who": "mgr", "name": "mgr/probe/place", "value": "Oslo"}

    def work(module):
        return module.mon_command(command).retval, module.get_module_option("place")

    assert await run(work) == (0, "Oslo")
    unknown = await run(lambda module: module.mon_command({"prefix": "no such thing"}))
    assert unknown.retval < 0


async def test_a_module_knows_its_term_and_its_connection(cluster, run):
    """The term is a fencing token for effects outside the store."""
    term, connected = await run(lambda m: (m.get_term(), m.have_mon_connection()))

    assert term == cluster.term
    assert connected is True


async def test_a_stopped_module_writes_nothing_any_more(cluster):
    """A thread that was left behind is cut off, not trusted."""
    instance = cluster.role._modules.instance_of("probe")
    await cluster.switch("probe", on=False)
    await cluster.until(lambda: "probe" not in cluster.role._modules._runners)

    with pytest.raises(TermLostError, match="was stopped"):
        await asyncio.to_thread(instance.set_store, "k", "late")
    assert cluster.mirror.get(cluster.keys.module_entry("probe", "k")) is None
