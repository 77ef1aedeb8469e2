"""``map``: published, shown, listed and withdrawn by command."""

import errno
import json

from tests.support.builtin_commands import builtin_commands


async def test_a_map_is_published_shown_and_withdrawn():
    """The version is said each time."""
    async with builtin_commands() as at:
        made = await at.run("map", "set", "racks", inbuf='{"a": ["h1"]}')
        shown = await at.run("map", "get", "racks")
        listed = await at.json("map", "ls")
        gone = await at.run("map", "rm", "racks")
        again = await at.run("map", "rm", "racks")

    [entry] = listed
    assert made.stderr == f"map 'racks' is at version {entry['version']}"
    assert json.loads(shown.stdout) == {"a": ["h1"]}
    assert shown.stderr == f"version {entry['version']}"
    assert (entry["name"], entry["bytes"]) == ("racks", 13)
    assert (gone.stderr, again.stderr) == ("map 'racks' is removed", "there is no map 'racks'")


async def test_another_version_than_expected_is_a_no():
    """Nothing is changed; the answer says what is there."""
    async with builtin_commands() as at:
        version = (await at.json("map", "set", "racks", inbuf="{}"))["version"]
        stale = await at.run("map", "set", "racks", inbuf='{"a": 1}', expected_version=version - 1)
        fresh = await at.run("map", "set", "racks", inbuf='{"a": 1}', expected_version=version)
        rm = await at.run("map", "rm", "racks", "--expected-version=1")

    assert (stale.retval, fresh.retval, rm.retval) == (-errno.EBUSY, 0, -errno.EBUSY)
    assert f"is at version {version}" in stale.stderr


async def test_what_cannot_be_published_is_a_no_that_says_why():
    """No file, no JSON, too large, a name that is taken."""
    large = json.dumps({"a": "x" * (1 << 20)})
    async with builtin_commands() as at:
        answers = [
            await at.run("map", "set", "racks"),
            await at.run("map", "set", "racks", inbuf="racks: 1"),
            await at.run("map", "set", "racks", inbuf=large),
            await at.run("map", "set", "mgr_map", inbuf="{}"),
            await at.run("map", "get", "racks"),
        ]

    assert [-answer.retval for answer in answers] == [
        errno.EINVAL,
        errno.EINVAL,
        errno.EFBIG,
        errno.EPERM,
        errno.ENOENT,
    ]
    assert "-i <file>" in answers[0].stderr


async def test_documents_of_the_manager_are_shown_as_well():
    """What modules read with ``get``, for people."""
    async with builtin_commands() as at:
        shown = await at.run("map", "get", "mgr_map")
        listed = await at.json("map", "ls")

    assert json.loads(shown.stdout)["active_name"] == "a"
    assert shown.stderr == ""
    assert listed == []
