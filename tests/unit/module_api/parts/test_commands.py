"""Commands and programs that a module has others run."""

import errno
import json
import os
import sys

import pytest

from mgr.module_api.command import CLIReadCommand
from mgr.module_api.module import MgrModule
from mgr.module_api.result import CommandResult, MonCommandFailed
from tests.support.context import run


class Module(MgrModule):
    """Nothing of its own."""


@pytest.fixture
def pair():
    return run(Module)


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("osd", "one", 'invalid osd_id: "one"'),
        ("pg", "1-2", 'invalid pgid: "1-2"'),
        ("mgr", "a", "unknown service type: mgr"),
    ],
)
def test_a_service_that_cannot_be_is_refused_at_once(pair, kind, name, text):
    """With ceph-mgr's words."""
    with pytest.raises(ValueError, match=text):
        pair[0].send_command(CommandResult(), kind, name, "{}", "")


def test_the_manager_answers_a_command_that_was_sent(pair):
    """``mon`` is the manager; the answer comes by way of the result."""
    module, context = pair
    context.answer = (0, "out", "err")
    result = CommandResult("tag")

    module.send_command(result, "mon", "", json.dumps({"prefix": "status"}), "tag", "in")

    assert result.wait() == (0, "out", "err")
    assert context.commands == [({"prefix": "status"}, "in")]


@pytest.mark.parametrize(("kind", "name"), [("osd", "0"), ("pg", "1.2f"), ("mds", "a")])
def test_a_daemon_of_ceph_is_answered_for(pair, kind, name):
    """It is not there: an answer, and no error."""
    retval, _, words = pair[0].tell_command(kind, name, {"prefix": "perf dump"})

    assert (retval, words) == (-errno.ENXIO, f"{kind}.{name} is not known here")


def test_an_osd_is_addressed_by_its_number(pair):
    """Which stands in the command."""
    assert pair[0].osd_command({"prefix": "perf dump", "id": "3"})[0] == -errno.ENXIO
    with pytest.raises(KeyError):
        pair[0].osd_command({"prefix": "perf dump"})


def test_a_checked_command_that_says_no_raises(pair):
    """The text is ceph-mgr's."""
    module, context = pair
    context.answer = (-errno.EINVAL, "", "bad")

    with pytest.raises(MonCommandFailed, match="osd pool create failed: bad retval: -22"):
        module.create_pool("p")


def test_a_program_is_run_as_this_manager(pair, tmp_path):
    """Key file and name stand before its own words; the first word is taken out of the list."""
    module, _ = pair
    program = tmp_path / "tool"
    program.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv[1:], sys.stdin.read())\n")
    program.chmod(0o755)
    args = [str(program), "-x"]

    status, output, errors = module.tool_exec(args, stdin=b"in")

    assert (status, errors, args) == (0, "", ["-x"])
    assert "'-n', 'mgr.a', '-x'] in" in output


def test_a_program_that_takes_too_long_is_ended(pair, tmp_path):
    """The answer says so."""
    program = tmp_path / "slow"
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    program.chmod(0o755)

    status, _, words = pair[0].tool_exec([str(program)], timeout=0.05)

    assert status == -errno.ETIMEDOUT
    assert "slow" in words


def test_rgw_admin_is_found_where_ceph_is(pair, tmp_path, monkeypatch):
    """What it prints is read as JSON if it worked."""
    program = tmp_path / "radosgw-admin"
    program.write_text('#!/bin/sh\necho "[1]"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    assert pair[0].send_rgwadmin_command(["user", "ls"]) == (0, [1], "")
    assert pair[0].send_rgwadmin_command(["user", "ls"], stdout_as_json=False)[1] == "[1]\n"


def test_a_decorated_command_is_reached_by_another_modules_call(pair):
    """Modules call ``handle_command`` of each other, and commands have become decorated since."""

    class Other(MgrModule):
        @CLIReadCommand("other say")
        def say(self, word: str):
            return 0, word, ""

    module, context = pair
    context.neighbours["other"] = run(Other, "other")[0]
    said = {"prefix": "other say", "word": "hello"}

    assert module.remote("other", "handle_command", "", said) == (0, "hello", "")
    with pytest.raises(NotImplementedError):
        module.remote("other", "handle_command", "", {"prefix": "other sing"})
