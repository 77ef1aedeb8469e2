"""Audit, cluster log and sealed secrets on a real etcd, over a change of the active."""

from __future__ import annotations

import asyncio
import json
import os
from base64 import b64encode
from pathlib import Path

import pytest

from mgr.errors import AuditUnavailableError, OutcomeUnknownError
from mgr.link import AuditTrouble, Resign

SECRET = ("config", "set", "mgr", "mgr/x/api_token", "hunter2", "--force")


def new_key():
    """A wrapping key, as text."""
    return b64encode(os.urandom(32)).decode()


def write_keys(file, *keys):
    """Have these wrapping keys in the file."""
    Path(file).write_text("\n".join(keys))


@pytest.fixture
def seal_key(tmp_path):
    """A file with a wrapping key."""
    path = tmp_path / "seal.key"
    path.touch(0o600)
    write_keys(path, new_key())
    return str(path)


async def leads(workers, **settings):
    """A worker that leads."""
    worker = await workers(**settings)
    await worker.ready()
    await worker.lead()
    return worker


async def stored_line(worker, text):
    """Whether a line of the cluster log is in etcd."""
    stored = await worker.store.list(worker.keys.log_lines)
    return any(text in record.value for record in stored.records)


async def records(worker, *filters):
    """What ``audit ls`` shows."""
    answer = await worker.ask("audit", "ls", *filters, format="json")
    return json.loads(answer.stdout)


async def test_records_lines_and_secrets_outlive_a_killed_active(workers, seal_key):
    """The next one has them in order, and etcd has no secret in plain text."""
    first = await leads(workers, seal_key_file=seal_key)
    assert (await first.ask(*SECRET)).retval == 0
    await first.ask("log", "maintenance begins")
    await first.until(lambda: stored_line(first, "maintenance begins"))
    stored = await first.store.get(first.keys.option("mgr", "mgr/x/api_token"))
    everything = (await first.store.list(first.keys.root)).records
    first.process.kill()
    await first.exited()
    await first.release()

    second = await leads(workers, id="b", seal_key_file=seal_key)
    await second.ask("config", "set", "mgr", "mgr_stats_period", "7")
    found = await records(second)

    assert stored.value.startswith("mgr-sealed:1:")
    assert not any("hunter2" in record.value for record in everything)
    assert (await second.ask("config", "get", "mgr", "mgr/x/api_token")).retval == 0
    assert [each["command"] for each in found] == ["config set", "log", "config set"]
    assert [each["outcome"] for each in found] == ["ok"] * 3
    assert found[0]["arguments"]["value"] == "********"
    assert found[0]["who"] == "client@127.0.0.1"
    assert [each["term"] for each in found] == [first.term, first.term, second.term]
    lines = (await second.ask("log", "last", "20")).stdout
    assert "client@127.0.0.1 [INF] maintenance begins" in lines
    log = json.loads((await second.ask("config", "log", format="json")).stdout)
    assert {version["by"] for version in log} == {"client@127.0.0.1"}


async def test_a_required_sink_that_fails_stops_changes_and_is_reported(workers, tmp_path):
    """The guard hears of it; reads go on; when there is room again, so do changes."""
    path = tmp_path / "audit" / "log"
    path.parent.mkdir()
    worker = await leads(workers, audit_file=str(path), audit_required=("file",))
    await worker.ask("config", "set", "mgr", "mgr_stats_period", "7")
    assert json.loads(path.read_text().splitlines()[-1])["outcome"] == "ok"

    path.unlink()
    path.mkdir()
    with pytest.raises(OutcomeUnknownError, match="Is a directory"):
        await worker.ask("config", "set", "mgr", "mgr_stats_period", "8")
    assert "Is a directory" in (await worker.receive(AuditTrouble)).why
    with pytest.raises(AuditUnavailableError, match="nothing can be changed now"):
        await worker.ask("config", "set", "mgr", "mgr_stats_period", "9")
    health = await worker.ask("health", "detail")
    assert "MGR_AUDIT_SINK" in health.stdout
    # Nobody else could: it goes on leading.
    assert not any(isinstance(message, Resign) for message in worker.messages)

    path.rmdir()
    assert (await worker.receive(AuditTrouble)).why == ""
    await worker.ask("config", "set", "mgr", "mgr_stats_period", "10")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    values = [line["arguments"]["value"] for line in lines]
    assert values == ["8", "10"]


async def test_the_operators_key_is_replaced_under_load(workers, seal_key):
    """As the page says: new before old, rotate, and take the old one out; no command fails."""
    done, over = 0, asyncio.Event()
    old, new = new_key(), new_key()
    write_keys(seal_key, old)
    worker = await leads(workers, seal_key_file=seal_key)

    async def load():
        nonlocal done
        while not over.is_set():
            words = ("config", "set", "mgr", "mgr/x/api_token", f"hunter{done}", "--force")
            assert (await worker.ask(*words, timeout_s=30)).retval == 0
            done += 1

    async def sealed_by(name):
        status = json.loads((await worker.ask("secrets", "status", format="json")).stdout)
        return set(status["values"]) == {name} and not status["unsealed"]

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(load())
        await worker.until(lambda: asyncio.sleep(0, done > 5), within_s=60)
        write_keys(seal_key, new, old)
        rotated = await worker.ask("secrets", "rotate", format="json", timeout_s=30)
        name = json.loads(rotated.stdout)["data_key"]
        await worker.until(lambda: sealed_by(name), within_s=60)
        write_keys(seal_key, new)
        before = done
        await worker.until(lambda: asyncio.sleep(0, done > before + 5), within_s=60)
        over.set()
    worker.process.kill()
    await worker.exited()
    await worker.release()
    second = await leads(workers, id="b", seal_key_file=seal_key)

    answer = await second.ask("config", "get", "mgr", "mgr/x/api_token")
    assert (answer.retval, answer.stdout.strip()) == (0, f"hunter{done - 1}")
