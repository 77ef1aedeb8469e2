"""The files of installed modules on one host: whole versions only, and the one that is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from mgr.config.installed_modules import InstalledModule, PackageVersion, module_folders
from mgr.errors import InvalidArgumentError
from mgr.host.installed_files import InstalledFiles
from mgr.host.module_archive import read
from mgr.settings import Settings
from tests.support.module_archive import archive_of


@pytest.fixture
def settings(tmp_path):
    return Settings(id="a", module_install=True, state_dir=str(tmp_path), module_path=("/mine",))


@pytest.fixture
def files(settings):
    return InstalledFiles.of(settings)


def package(text, **more):
    return read(archive_of({"module.py": text.encode()}, **more))


def version(package):
    return PackageVersion(digest=package.digest, size=1, at="now")


def content(files):
    return Path(files.place_of("greeter")).read_text()


def test_a_version_replaces_another_and_gives_way_to_it_again(files, settings):
    """Searched after the operator's own folders; the place of the module stays the same."""
    one, two = package("1"), package("2")

    files.use(one)
    place = files.place_of("greeter")
    assert module_folders(settings) == ("/mine", str(Path(place).parents[1]))
    assert (content(files), files.digest_at(place)) == ("1", one.digest)
    files.use(two)
    assert (content(files), files.used()) == ("2", {"greeter": two.digest})
    files.use_again("greeter", one.digest)
    assert content(files) == "1"
    files.use_again("greeter", "")
    assert files.used() == {}
    assert not files.digest_at("/elsewhere/greeter/module.py")


def test_files_that_were_changed_on_the_host_are_written_anew(files):
    """Changed, missing or added; compiled ones are nobody's business."""
    one = package("1")
    files.use(one)
    folder = Path(files.place_of("greeter")).parent
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/module.pyc").touch()

    files.use(one)
    assert (folder / "__pycache__").exists()
    (folder / "module.py").write_text("evil()")
    (folder / "more.py").touch()
    files.use(one)

    assert content(files) == "1"
    assert [each.name for each in folder.iterdir()] == ["module.py"]


def test_a_host_is_brought_to_what_is_installed(files):
    """What cannot be read keeps the version it had; what is not installed goes."""
    one, two, other = package("1"), package("2"), package("o", name="other")
    files.use(one)
    files.use(other)

    def package_of(version):
        raise InvalidArgumentError(f"{version.digest} is damaged")

    failures = files.bring_up({"greeter": InstalledModule(current=version(two))}, package_of)

    assert failures == {"greeter": f"{two.digest} is damaged"}
    assert files.used() == {"greeter": one.digest}
    assert {each.name for each in (files.folder / "packages").iterdir()} == {one.digest}


def test_a_package_of_another_module_is_refused(files):
    """A record that names the wrong digest does not put foreign code under a known name."""
    other = archive_of({"module.py": b""}, name="other")
    wanted = InstalledModule(current=version(read(other)))

    failures = files.bring_up({"greeter": wanted}, lambda _: other)

    assert "is one of 'other'" in failures["greeter"]


@pytest.mark.parametrize("changes", [{"module_install": False}, {"state_dir": ""}])
def test_a_manager_whose_operator_did_not_allow_it_takes_no_package(settings, changes):
    """It says which settings are missing, and searches no further folder."""
    settings = structs.replace(settings, **changes)
    files = InstalledFiles.of(settings)
    installed = {"greeter": InstalledModule(current=version(package("1")))}

    failures = files.bring_up(installed, lambda _: pytest.fail("not even read"))

    assert "set module_install and state_dir" in failures["greeter"]
    assert module_folders(settings) == ("/mine",)
    with pytest.raises(InvalidArgumentError, match="set module_install and state_dir"):
        files.use(package("1"))


def test_a_folder_that_cannot_be_written_is_named(files):
    """And nothing is used."""
    files.folder.parent.mkdir()
    files.folder.write_text("a file")

    with pytest.raises(InvalidArgumentError, match="cannot write below"):
        files.use(package("1"))
