"""What a manager remembers of etcd over a restart."""

import asyncio
import json

import pytest

from mgr.errors import InvalidSettingError, NameTakenError
from mgr.guard import state_file
from mgr.guard.state_file import StateFile
from mgr.link import KnownStoreState
from mgr.settings import Settings
from mgr.store.identity import StoreIdentity

SEEN = KnownStoreState(cluster_id=0xCDF818194E3A8C32, newest_revision=1000, newest_term=63)


@pytest.fixture
def file(tmp_path):
    return StateFile.of(Settings(id="a", cluster="prod", state_dir=str(tmp_path / "mgr")))


def path(tmp_path):
    return tmp_path / "mgr" / "prod.a.json"


def stored(tmp_path):
    return json.loads(path(tmp_path).read_text())


async def until(holds):
    """Look every few milliseconds; a file gives no notice."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - see the docstring
            await asyncio.sleep(0.005)


def test_nothing_is_kept_unless_a_folder_is_set():
    """Tests and trials leave nothing behind."""
    assert StateFile.of(Settings(id="a")) is None


def test_what_was_written_is_read_by_the_next_process(file, tmp_path):
    """One file for each manager, the id written as etcd writes it."""
    assert file.read() == KnownStoreState()

    file.write(SEEN)

    assert StateFile(path(tmp_path)).read() == SEEN
    assert json.loads(path(tmp_path).read_text())["etcd_cluster_id"] == "cdf818194e3a8c32"
    assert [found.name for found in path(tmp_path).parent.iterdir()] == ["prod.a.json"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"etcd_cluster_id": "xyz"}', '{"newest_term": "x"}', "\ufffe"]
)
def test_a_damaged_file_is_an_error_that_names_it(file, tmp_path, content):
    """A crash does not damage it. To go on without it would give up what it is there for."""
    file.read()
    path(tmp_path).write_text(content)

    with pytest.raises(InvalidSettingError, match=r"prod\.a\.json.*remove it if") as caught:
        file.read()

    assert caught.value.errno == 22


def test_a_folder_that_cannot_be_written_is_an_error_at_the_start(tmp_path):
    """Not when the first term changes."""
    (tmp_path / "mgr").write_text("a file")
    with pytest.raises(InvalidSettingError, match="cannot"):
        StateFile(path(tmp_path)).read()


def test_the_cluster_id_alone_may_be_forgotten(file, tmp_path):
    """After a restore under another id, as the procedure says: revision and term stay."""
    file.write(SEEN)
    text = path(tmp_path).read_text().replace("cdf818194e3a8c32", "")
    path(tmp_path).write_text(text)

    assert file.read() == KnownStoreState(newest_revision=1000, newest_term=63)


async def test_a_new_term_is_written_at_once_and_a_revision_at_the_end(file, tmp_path):
    """A revision alone grows all the time."""
    identity = StoreIdentity(file.read())
    async with file.keep_up_to_date(identity):
        identity.note_term(5)
        await until(lambda: stored(tmp_path)["newest_term"] == 5)
        identity.note_revision(9)
        await asyncio.sleep(0.05)
        assert stored(tmp_path)["newest_revision"] == 5

    assert file.read() == KnownStoreState(newest_revision=9, newest_term=5)


async def test_a_revision_alone_is_written_now_and_then(file, tmp_path, monkeypatch):
    """So that a manager that is killed has not forgotten much."""
    monkeypatch.setattr(state_file, "WRITE_EVERY_S", 0.05)
    identity = StoreIdentity(file.read())
    async with file.keep_up_to_date(identity):
        await asyncio.sleep(0.02)
        identity.note_revision(9)
        await until(lambda: stored(tmp_path)["newest_revision"] == 9)


async def test_a_disk_that_fails_while_it_runs_is_survived(file, tmp_path, caplog):
    """It is logged; what is in memory goes on being enforced."""
    identity = StoreIdentity(file.read())
    async with file.keep_up_to_date(identity):
        await asyncio.sleep(0.05)
        path(tmp_path).unlink()
        path(tmp_path).parent.rmdir()
        path(tmp_path).parent.write_text("a file")
        identity.note_term(5)
        await until(lambda: "state file not written" in caplog.text)


async def test_an_error_of_the_manager_is_not_wrapped(file):
    """Its class decides about the exit status."""
    with pytest.raises(NameTakenError):
        async with file.keep_up_to_date(StoreIdentity()):
            raise NameTakenError("taken")


def test_a_link_in_the_place_of_the_draft_is_not_followed(file, tmp_path):
    """Whoever can write to the folder must not have another file overwritten."""
    other = tmp_path / "other"
    other.write_text("untouched")
    path = file._path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".tmp").symlink_to(other)

    file.write(KnownStoreState(cluster_id=7))

    assert other.read_text() == "untouched"
    assert file.read().cluster_id == 7
    assert path.stat().st_mode & 0o777 == 0o600
