"""``mgrctl`` as a program, before real servers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest

from mgr.command.dispatch import Answer
from mgr.errors import MayHaveRunError, NotAuthorizedError
from tests.integration.rpc.cluster import until
from tests.support.tree import ROOT

pytestmark = pytest.mark.slow  # real servers, and waits that are the point


@pytest.fixture
def mgrctl(three, tmp_path):
    """Run it in a process of its own, while this loop serves."""
    env = os.environ | {
        "MGR_HOSTS": ",".join(three.hosts),
        "XDG_CACHE_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }

    async def run(*words, data=None, until_seen=None, **more):
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "mgr.cli.main",
            *words,
            env=env | more,
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(30):
                if until_seen:
                    while until_seen not in (line := await program.stdout.readline()):
                        assert line, "it ended before"
                    program.send_signal(signal.SIGINT)
                out, err = await program.communicate(data)
        finally:
            if program.returncode is None:
                program.kill()
                await program.wait()
        return program.returncode, out.decode(), err.decode()

    return run


async def test_the_answer_and_nothing_else_on_stdout(mgrctl, three):
    """What is meant for people goes to stderr."""
    three.promote("b", 6)

    assert await mgrctl("echo", "salve") == (0, "salve\n", "b\n")


async def test_what_a_daemon_is_reported_is_not_judged_here(mgrctl, three):
    """Options that mgrctl does not know are the daemon's."""
    active = three.promote("a", 5)

    status, out, _ = await mgrctl("tell", "rgw.eu-1", "cache", "drop", "--force")

    assert (status, out) == (0, "rgw.eu-1 cache drop --force\n")
    assert active.requests[0].words == ("tell", "rgw.eu-1", "cache", "drop", "--force")


@pytest.mark.parametrize(
    "words", [("-f", "json", "echo", "x"), ("echo", "x", "-f", "json"), ("echo", "-fjson", "x")]
)
async def test_the_format_may_stand_anywhere(mgrctl, three, words):
    """As with ceph."""
    active = three.promote("a", 5)

    await mgrctl(*words)

    assert active.requests[0].arguments == {"format": "json"}
    assert active.requests[0].words == ("echo", "x")


async def test_the_exit_status_is_the_errno_of_the_answer(mgrctl, three):
    """With the name of the errno, as ceph prints it."""
    active = three.promote("a", 5)
    active.said = Answer(-17, "ignored", "it exists already")

    assert await mgrctl("count") == (17, "", "Error EEXIST: it exists already\n")
    status, out, err = await mgrctl("count", "-f", "json")
    assert (status, out) == (17, "")
    assert json.loads(err)["error"]["errno"] == "EEXIST"


async def test_a_positive_number_is_success(mgrctl, three):
    """A few modules of others return one by mistake."""
    three.promote("a", 5).said = Answer(2, "fine", "")

    assert await mgrctl("count") == (0, "fine\n", "")


async def test_wrong_words_never_reach_the_command(mgrctl, three):
    """The closest commands are shown as they are used."""
    active = three.promote("a", 5)

    status, out, err = await mgrctl("ecko", "x")

    assert (status, out) == (22, "")
    assert "echo <text>" in err
    assert active.requests == []


async def test_input_and_output_files(mgrctl, three, tmp_path):
    """-i is sent, -o takes the answer as it came."""
    three.promote("a", 5)
    (tmp_path / "in").write_text("from a file")

    from_file = await mgrctl("take", "-i", "in", "-o", "out")
    from_stdin = await mgrctl("take", "-i", "-", data=b"from stdin")

    assert from_file == (0, "", "a\n")
    assert (tmp_path / "out").read_text() == "from a file"
    assert from_stdin == (0, "from stdin\n", "a\n")


async def test_dashes_behind_the_words_belong_to_the_command(mgrctl, three):
    """``--force`` is the command's, not ours."""
    active = three.promote("a", 5)

    assert (await mgrctl("push", "--force"))[0] == 0
    assert active.requests[0].words == ("push", "--force")


async def test_help_comes_from_the_active(mgrctl, three):
    """All of it, or what begins with the words."""
    three.promote("a", 5)

    _, everything, _ = await mgrctl("help")
    _, one, _ = await mgrctl("count", "--help")
    status, _, err = await mgrctl("help", "ecko")

    assert "echo <text>\n    Say it again\n" in everything
    assert one == "count\n    Add one\n"
    assert (status, "closest" in err) == (22, True)


async def test_a_command_meant_to_be_repeated_is_repeated(mgrctl, three):
    """With what Ceph's client sends along, until it says no."""
    active = three.promote("a", 5)

    status, out, _ = await mgrctl("tick", "-p", "0.01")

    assert status == 11
    assert out == "1\n2\n3\n"
    first, second = (request.arguments for request in active.requests[:2])
    assert (first["poll"], first["print_header"], second["print_header"]) == (True, True, False)
    assert first["session_id"] == second["session_id"]
    assert len({request.request_id for request in active.requests}) == 4


async def test_the_log_is_followed_until_interrupted(mgrctl, three):
    """New lines only; -f json makes each line a document."""
    log = three.promote("a", 5).log
    log.add("a past one", name="mgr.a")

    async def speak():
        while True:
            log.add("a new one", name="mgr.a")
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as tasks:
        speaking = tasks.create_task(speak())
        status, _, err = await mgrctl("-w", until_seen=b"mgr.a [INF] a new one")
        _, _, _ = await mgrctl("-w", "-f", "json", until_seen=b'"message": "a new one"')
        speaking.cancel()

    assert (status, err) == (130, "")


async def test_no_active_is_255(mgrctl):
    """With what each manager said."""
    status, out, err = await mgrctl("-t", "0.5", "echo", "x")

    assert (status, out) == (255, "")
    assert err.count("reports no leader") == 3


async def test_an_unknown_outcome_is_110(mgrctl, three):
    """Neither "it failed" nor "nothing ran"."""
    active = three.promote("a", 5)
    active.hold.clear()

    status, _, err = await mgrctl("-t", "1.5", "count")

    assert status == 110
    assert "whether the command ran is unknown" in err
    await until(lambda: active.requests)


async def test_the_status_is_answered_by_managers_of_which_none_leads(mgrctl, three):
    """Each says how it stands; the exit status says that nobody leads."""
    status, out, err = await mgrctl("-t", "1", "status")
    _, form, _ = await mgrctl("-t", "1", "status", "-f", "json")

    assert status == 255
    assert out.count("standby, last answer from etcd 0.0 s ago") == 3
    assert "no active manager" in err
    managers = json.loads(form)["managers"]
    assert {(each["name"], each["phase"]) for each in managers} == {(n, "standby") for n in "abc"}


async def test_following_a_log_that_nobody_writes_ends_in_time(mgrctl, three):
    """``-t`` is how long to wait in all, also for somebody to lead."""
    status, out, err = await mgrctl("-w", "-t", "1")

    assert (status, out) == (255, "")
    assert err.startswith("Error EHOSTUNREACH: no active manager within 1 s")


async def test_a_pause_of_nothing_means_once_wherever_it_stands(mgrctl, three):
    """``-p`` is taken behind the words as well, and 0 is a number."""
    three.promote("a", 5)

    for words in (("-p", "0", "tick"), ("tick", "-p", "0")):
        active = three["a"].role
        active.requests.clear()
        assert (await mgrctl(*words))[0] == 0
        assert len(active.requests) == 1


async def test_what_may_have_run_has_a_status_of_its_own(mgrctl, three):
    """Not the errno of an answer: there is none."""
    active = three.promote("a", 5)

    async def unclear(request):
        raise MayHaveRunError(request.request_id, term=4)

    active.execute = unclear
    status, _, err = await mgrctl("count")

    assert status == 110
    assert err.startswith("Error ECONNABORTED: request ")
    assert "look at what it did before you repeat it" in err


async def test_a_refusal_after_a_lost_attempt_has_the_same_status(mgrctl, three):
    """Not that of the refusal, which is about the second manager's attempt only."""
    first = three.promote("a", 5)
    first.hold.clear()
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(mgrctl("count"))
        await until(lambda: first.requests)
        await three["a"].server.close(0)

        async def refuse(_request):
            raise NotAuthorizedError("access denied")

        three.promote("b", 6, among=("b", "c")).execute = refuse
    status, _, err = asked.result()

    assert status == 110
    assert "an earlier attempt may have run" in err
    assert "access denied" in err


async def test_an_answer_that_cannot_be_written_is_said_in_a_line(mgrctl, three):
    """A full disk is no bug of ours."""
    three.promote("a", 5)
    words = "exec mgrctl_under_test echo x > /dev/full"
    command = words.replace("mgrctl_under_test", f"{sys.executable} -m mgr.cli.main")
    environment = os.environ | {"MGR_HOSTS": three.hosts[0], "PYTHONPATH": str(ROOT)}
    program = await asyncio.create_subprocess_shell(
        command, env=environment, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(30):
        _, err = await program.communicate()

    assert err.decode() == "Error EINVAL: cannot write the answer: No space left on device\n"


async def test_a_silent_etcd_is_named_as_the_reason_why_nobody_leads(mgrctl, three):
    """And there is no hint to name other managers: these answered."""
    for name in "abc":
        three[name].view.age = 40.0

    status, _, err = await mgrctl("-t", "0.5", "echo", "x")

    assert status == 255
    assert "mgr.a: no answer from etcd for 40 s" in err
    assert "MGR_HOSTS" not in err
