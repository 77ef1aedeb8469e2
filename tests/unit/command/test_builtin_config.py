"""``config`` and ``config-key``: what is taken, what is refused, what is shown."""

from __future__ import annotations

import errno
import json

import pytest

from mgr.config.ceph_conf import read_conf
from tests.support.builtin_commands import builtin_commands


async def test_changes_are_applied_together_after_the_version_that_they_build_on():
    """All or nothing; somebody else's change in between is not overwritten."""
    async with builtin_commands() as at:
        await at.run("config", "set", "mgr", "mgr/hello/place", "Rome")
        order = {
            "version": 1,
            "set": [["mgr.a", "mgr/hello/times", "3"]],
            "rm": [["mgr", "mgr/hello/place"]],
        }

        checked = await at.json("config", "check", inbuf=json.dumps(order))
        first = await at.run("config", "apply", inbuf=json.dumps(order))
        again = await at.run("config", "apply", inbuf=json.dumps(order))

        assert checked == {"set": 1, "removed": 1}
        assert (first.retval, again.retval) == (0, -errno.EBUSY)
        assert "the newest version is 2, not 1" in again.stderr
        [option] = await at.json("config", "dump")
        assert (option["section"], option["value"]) == ("mgr.a", "3")
        [newest, _] = await at.json("config", "log")
        assert len(newest["changes"]) == 2


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "-i: "),
        ('{"sett": []}', "sett"),
        ('{"set": [["mgr", "mgr/hello/times", "99"]], "rm": [["mgr", "x"]]}', "times"),
        ('{"set": [["mgr", "mgr/hello/place", "x"]], "rm": [["m/gr", "x"]]}', "m/gr"),
        ('{"set": [["mgr", "debug_mgr", "1"]], "rm": [["mgr", "debug_mgr"]]}', "put and deleted"),
    ],
)
async def test_an_order_that_cannot_be_applied_changes_nothing(text, error):
    """Whatever part of it is wrong."""
    async with builtin_commands() as at:
        for command in ("apply", "check"):
            answer = await at.run("config", command, inbuf=text)
            assert answer.retval == -errno.EINVAL
            assert error in answer.stderr
        assert await at.json("config", "dump") == []


UNKNOWN = (
    "unrecognized config target '{}': use global, mgr, mgr.<id>, or <type> or <type>.<id> of "
    "daemons that have joined"
)


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (
            ("mgr", "mgr/hello/plaice", "x"),
            errno.EINVAL,
            "unrecognized config option 'mgr/hello/plaice'; did you mean 'mgr/hello/place'?",
        ),
        (("m/gr", "mgr/hello/place", "x"), errno.EINVAL, UNKNOWN.format("m/gr")),
        (("global.x", "debug_mgr", "x"), errno.EINVAL, UNKNOWN.format("global.x")),
        (
            ("mgrr.a", "debug_mgr", "5"),
            errno.EINVAL,
            f"{UNKNOWN.format('mgrr.a')}; --force stores it all the same",
        ),
        (
            ("osd", "mgr/hello/place", "x"),
            errno.EINVAL,
            (
                "unrecognized config target 'osd': options of modules are read from global, mgr "
                "and mgr.<id>"
            ),
        ),
        (
            ("mgr", "debug_mgr", "verbose"),
            errno.EINVAL,
            (
                "error parsing value: 'verbose' is no log level: use a number from 0 to 20, such "
                "as 4 or 4/5 (option debug_mgr)"
            ),
        ),
        (("mgr", "fsid", "x"), errno.EINVAL, "fsid is special and cannot be stored by the mon"),
        (
            ("mgr", "mgr/hello/times", "many"),
            errno.EINVAL,
            (
                "error parsing value: Expected option value to be integer, got 'many' "
                "(option mgr/hello/times)"
            ),
        ),
        (
            ("mgr", "mgr/hello/times", "11"),
            errno.EINVAL,
            "error parsing value: Value '11' exceeds maximum 10 (option mgr/hello/times)",
        ),
        (
            ("mgr", "mgr/hello/mood", "mad"),
            errno.EINVAL,
            (
                "error parsing value: 'mad' is not one of the permitted values: glad, sad "
                "(option mgr/hello/mood)"
            ),
        ),
    ],
)
async def test_what_cannot_be_meant_is_refused_and_nothing_changes(words, error, text):
    """One line that names the thing and the nearest right one."""
    async with builtin_commands() as at:
        answer = await at.run("config", "set", *words)
        stored = at.leading_term.mirror.list(at.leading_term.keys.config)

    assert (answer.retval, answer.stdout, answer.stderr) == (-error, "", text)
    assert not stored


async def test_a_value_is_stored_normalised_and_holds_at_once():
    """No sign, no unit: whoever reads it needs no parser."""
    async with builtin_commands() as at:
        await at.run("config", "set", "mgr", "mgr/hello/times", "+7")
        shown = await at.run("config", "get", "mgr.a", "mgr/hello/times")

        assert at.stored(at.leading_term.keys.option("mgr", "mgr/hello/times")) == "7"
        assert at.values.typed("hello", "times") == 7
    assert shown.stdout == "7\n"


async def test_force_stores_what_nobody_knows():
    """An option of a module that comes later; a value that does not fit."""
    async with builtin_commands() as at:
        await at.run("config", "set", "mgr", "mgr/other/x y", "1", "--force")
        await at.run("config", "set", "mgr", "mgr/hello/times", "99", "--force")

        assert at.stored(at.leading_term.keys.option("mgr", "mgr/other/x_y")) == "1"
        assert at.values.typed("hello", "times") == 99


async def test_setting_the_same_value_again_writes_nothing():
    """No notification, no revision."""
    async with builtin_commands() as at:
        await at.run("config", "set", "mgr", "mgr/hello/place", "Rome")
        before = await at.leading_term.store.status()
        await at.run("config", "set", "mgr", "mgr/hello/place", "Rome")

        assert await at.leading_term.store.status() == before


async def test_rm_takes_the_value_away_and_is_content_with_nothing_there():
    """What is removed is gone at once: the default holds again."""
    async with builtin_commands() as at:
        await at.run("config", "set", "mgr", "mgr/hello/place", "Rome")
        first = await at.run("config", "rm", "mgr", "mgr/hello/place")
        second = await at.run("config", "rm", "mgr", "mgr/hello/place")
        shown = await at.run("config", "get", "mgr", "mgr/hello/place")

    assert (first.retval, second.retval) == (0, 0)
    assert shown.stdout == "world\n"


async def test_get_names_what_it_does_not_know():
    """ENOENT for a key, EINVAL for an entity."""
    async with builtin_commands() as at:
        key = await at.run("config", "get", "mgr", "mgr/hello/plac")
        who = await at.run("config", "get", "m/gr")

    assert key.retval == -errno.ENOENT
    assert key.stderr == "unrecognized key 'mgr/hello/plac'; did you mean 'mgr/hello/place'?"
    assert (who.retval, who.stderr) == (-errno.EINVAL, "unrecognized entity 'm/gr'")


async def test_an_entity_sees_the_most_specific_value():
    """``global`` < ``mgr`` < ``mgr.<id>``; the section says where a value comes from."""
    async with builtin_commands() as at:
        for who, value in (("global", "G"), ("mgr", "M"), ("mgr.b", "B")):
            await at.run("config", "set", who, "mgr/hello/place", value)
        seen = {
            who: (await at.json("config", "get", who))["mgr/hello/place"]
            for who in ("global", "mgr.a", "mgr.b", "osd.3")
        }

    assert {who: (each["section"], each["value"]) for who, each in seen.items()} == {
        "global": ("global", "G"),
        "mgr.a": ("mgr", "M"),
        "mgr.b": ("mgr.b", "B"),
        "osd.3": ("global", "G"),
    }
    assert seen["mgr.a"]["can_update_at_runtime"] is True


async def test_dump_lists_sections_in_order():
    """Global first, then type by type; a star marks what needs a restart."""
    async with builtin_commands() as at:
        await at.leading_term.fenced.put(at.leading_term.keys.daemon("zoo.1"), "{}")
        for who in ("osd.1", "mgr.a", "global", "mgr", "zoo"):
            await at.run("config", "set", who, "mgr_tick_period", "3")
        await at.run("config", "set", "mgr", "mgr/hello/times", "2")
        data = await at.json("config", "dump")
        plain = (await at.run("config", "dump")).stdout.splitlines()

    assert [each["section"] for each in data] == ["global", "mgr", "mgr", "mgr.a", "osd.1", "zoo"]
    assert plain[0].split() == ["WHO", "MASK", "LEVEL", "OPTION", "VALUE", "RO"]
    assert plain[2].split() == ["mgr", "basic", "mgr/hello/times", "2", "*"]


async def test_ls_shows_what_an_operator_can_use_and_all_marks_the_rest():
    """Options that only Ceph's modules read, that cannot be set, and developers' ones."""
    async with builtin_commands() as at:
        names = (await at.run("config", "ls")).stdout.split()
        every = (await at.run("config", "ls", "--all")).stdout.splitlines()
        shown = (await at.run("config", "help", "rbd_default_pool")).stdout

    hidden = {"rbd_default_pool", "mgr_tick_period", "fsid"}
    assert hidden.isdisjoint(names)
    assert {"debug_mgr", "mgr_command_slow_after", "mgr/hello/place"} <= set(names)
    assert "rbd_default_pool  (the manager does not use it: modules of Ceph read it)" in every
    assert "fsid  (read only: it follows from a setting of the manager)" in every
    assert "Note: the manager does not use it" in shown


async def test_help_and_ls_know_every_option():
    """What ``ls`` names, ``help`` explains."""
    async with builtin_commands() as at:
        names = (await at.run("config", "ls")).stdout.split()
        every = await at.json("config", "ls", "--all")
        for name in every:
            assert (await at.run("config", "help", name)).retval == 0
        text = (await at.run("config", "help", "mgr/hello/times")).stdout
        unknown = await at.run("config", "help", "fsidd")
        mood = await at.json("config", "help", "mgr/hello/mood")

    assert names[-3:] == ["mgr/hello/mood", "mgr/hello/place", "mgr/hello/times"]
    assert text.splitlines() == [
        "mgr/hello/times - ",
        "  (uint, basic)",
        "  Default: 1",
        "  Minimum: 1",
        "  Maximum: 10",
        "  Can update at runtime: false",
    ]
    assert unknown.retval == -errno.ENOENT
    assert "'fsidd' not recognized; did you mean 'fsid'?" in unknown.stderr
    assert mood["see_also"] == ["mgr/hello/place"]


async def test_show_says_what_holds_and_where_from():
    """With and without defaults."""
    async with builtin_commands() as at:
        await at.run("config", "set", "mgr", "mgr/hello/place", "Rome")
        shown = await at.json("config", "show", "mgr.a")
        one = await at.run("config", "show", "mgr.a", "mgr/hello/place")
        every = {
            each["name"]: (each["value"], each["source"])
            for each in await at.json("config", "show-with-defaults", "mgr.a")
        }

    assert shown == [{"name": "mgr/hello/place", "value": "Rome", "source": "mon"}]
    assert one.stdout == "Rome\n"
    assert every["mgr/hello/place"] == ("Rome", "mon")
    assert every["mgr/hello/times"] == ("1", "default")
    assert every["fsid"] == ("f-s-i-d", "default")


async def test_log_tells_what_changed_and_reset_brings_it_back():
    """Newest first; a name carries its section."""
    async with builtin_commands() as at:
        await at.run("config", "set", "mgr", "mgr/hello/place", "Rome")
        await at.run("config", "set", "mgr", "mgr/hello/place", "Oslo")
        await at.run("config", "rm", "mgr", "mgr/hello/place")
        data = await at.json("config", "log")
        plain = (await at.run("config", "log", "2")).stdout.splitlines()
        reset = await at.run("config", "reset", "1")
        again = await at.run("config", "reset", "1")
        wrong = await at.run("config", "reset", "9")
        newest = (await at.json("config", "log", "1"))[0]

        assert at.values.effective("mgr/hello/place") == "Rome"
    name = "mgr/mgr/hello/place"
    assert [(each["version"], each["name"], each["changes"]) for each in data] == [
        (3, "", [{"name": name, "previous_value": "Oslo"}]),
        (2, "", [{"name": name, "previous_value": "Rome", "new_value": "Oslo"}]),
        (1, "", [{"name": name, "new_value": "Rome"}]),
    ]
    assert plain == [
        f"--- 3 --- {data[0]['timestamp']} ---",
        f"- {name} = Oslo",
        f"--- 2 --- {data[1]['timestamp']} ---",
        f"- {name} = Rome",
        f"+ {name} = Oslo",
    ]
    assert (reset.retval, reset.stderr) == (0, "")
    assert (again.retval, again.stderr) == (
        0,
        "the options already equal version 1: nothing changed",
    )
    assert (wrong.retval, "(0 to 4)" in wrong.stderr) == (-errno.EINVAL, True)
    assert newest["name"] == "reset to 1"


CONF = """
[global]
    fsid = 1234       ; special: stays in the file
[mgr]
    debug mgr = 5/5
    mgr/hello/times = 3
    mgr/hello/mood = mad
[mon]
    nobody = knows
"""


async def test_a_conf_is_assimilated_in_one_version_and_the_rest_is_returned():
    """What is not known or does not fit comes back, to be kept in the file."""
    async with builtin_commands() as at:
        left = await at.run("config", "assimilate-conf", inbuf=CONF)
        again = await at.run("config", "assimilate-conf", inbuf=CONF)
        log = await at.json("config", "log")

        assert at.values.manager_option("debug_mgr") == "5/5"
        assert at.values.typed("hello", "times") == 3
    assert left.stdout.split("\n") == [
        "[global]",
        "fsid = 1234",
        "",
        "[mgr]",
        "mgr/hello/mood = mad",
        "",
        "[mon]",
        "nobody = knows",
        "",
    ]
    assert again.stdout == left.stdout
    assert [(each["name"], len(each["changes"])) for each in log] == [("assimilate-conf", 2)]


async def test_what_is_no_conf_is_refused():
    """With the line that cannot be read."""
    async with builtin_commands() as at:
        answer = await at.run("config", "assimilate-conf", inbuf="place = nowhere")

    assert answer.retval == -errno.EINVAL
    assert "line: 1" in answer.stderr


# -- config-key ------------------------------------------------------------------------------


async def test_a_key_is_set_read_listed_and_removed():
    """The texts are Ceph's; ``get`` gives the value as it is, without a newline."""
    async with builtin_commands() as at:
        texts = [
            (await at.run(*words, inbuf=inbuf)).stderr
            for *words, inbuf in (
                ("config-key", "set", "mgr/hello/a", "Grüße", ""),
                ("config-key", "set", "b", "from a file"),
                ("config-key", "put", "c", ""),
                ("config-key", "exists", "b", ""),
                ("config-key", "rm", "c", ""),
                ("config-key", "del", "c", ""),
            )
        ]
        value = (await at.run("config-key", "get", "mgr/hello/a")).stdout
        listed = await at.run("config-key", "ls")
        dumped = await at.json("config-key", "dump", "mgr/")

        assert at.stored(at.leading_term.keys.module_entry("hello", "a")) == "Grüße"
    assert texts == [
        "set mgr/hello/a",
        "set b",
        "set c",
        "key 'b' exists",
        "key deleted",
        "key 'c' did not exist",
    ]
    assert value == "Grüße"
    assert json.loads(listed.stdout) == ["b", "mgr/hello/a"]
    assert listed.stdout.startswith("[\n")
    assert dumped == {"mgr/hello/a": "Grüße"}


async def test_a_minimal_conf_says_where_the_managers_are():
    """It can be read back; hosts that join are given it."""
    async with builtin_commands() as at:
        await at.join("b")
        await at.join("a")
        answer = await at.run("config", "generate-minimal-conf")

    assert answer.stdout.startswith("# minimal ceph.conf for f-s-i-d\n[global]\n")
    assert read_conf(answer.stdout) == [
        ("global", "fsid", "f-s-i-d"),
        ("global", "mon_host", "a:7400 b:7400"),
    ]


@pytest.mark.parametrize("verb", ["get", "exists"])
async def test_an_absent_key_is_enoent(verb):
    """And named."""
    async with builtin_commands() as at:
        answer = await at.run("config-key", verb, "nope")

    assert (answer.retval, answer.stderr) == (-errno.ENOENT, "key 'nope' doesn't exist")


@pytest.mark.parametrize(
    ("key", "value", "error", "text"),
    [
        ("a\0b", "x", errno.EINVAL, "NUL"),
        ("", "x", errno.EINVAL, "empty"),
        ("a\udcff", "x", errno.EINVAL, "UTF-8"),
        ("a", "\udcff", errno.EINVAL, "UTF-8"),
        ("k" * 5000, "x", errno.EFBIG, "limited to 4096 bytes"),
        (
            "a",
            "x" * 65537,
            errno.EFBIG,
            (
                "error: entry size limited to 65536 bytes: store less, or raise the limit with "
                "`mgrctl config set mgr mon_config_key_max_entry_size BYTES`"
            ),
        ),
    ],
)
async def test_what_cannot_be_stored_is_refused_before_it_is_sent(key, value, error, text):
    """The limit is in the message."""
    async with builtin_commands() as at:
        answer = await at.run("config-key", "set", key, value)
        stored = at.leading_term.mirror.list(at.leading_term.keys.kv)

    assert answer.retval == -error
    assert text in answer.stderr
    assert not stored


async def test_the_limit_of_a_value_can_be_adjusted_as_its_message_says():
    """The option that the message names exists."""
    async with builtin_commands() as at:
        await at.run("config", "set", "mgr", "mon config key max entry size", "128K")
        answer = await at.run("config-key", "set", "a", "x" * 65537)

    assert answer.retval == 0
