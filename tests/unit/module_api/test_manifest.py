"""A module's manifest: where it is found, what it allows, and what is wrong with it."""

from pathlib import Path
from typing import ClassVar

import pytest

from mgr.module_api.manifest import InvalidManifestError, Manifest, as_document, manifest_of


class Plain:
    """No manifest."""


class Declares:
    MANIFEST: ClassVar = {"enforce": True, "commands": ["health"], "daemons": ["rgw.*"]}


def test_a_manifest_is_in_the_class_or_beside_it(tmp_path):
    """Or there is none; two are an error that names both."""
    assert manifest_of(Plain, tmp_path) is None
    assert manifest_of(Plain, None) is None
    assert manifest_of(Declares, tmp_path).daemons == ("rgw.*",)

    (tmp_path / "manifest.toml").write_text('remote = ["progress"]\n')
    assert manifest_of(Plain, tmp_path) == Manifest(remote=("progress",))
    with pytest.raises(InvalidManifestError, match=r"two manifests: MANIFEST in Declares and /"):
        manifest_of(Declares, tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('remotes = ["x"]', "unknown field `remotes`"),
        ('remote = "x"', r"Expected `array`, got `str` - at `\$\.remote`"),
        ("remote = [", "manifest.toml: "),
    ],
)
def test_a_malformed_manifest_is_named_with_its_place(tmp_path, text, why):
    """A typing error must not become a permission, or the loss of one."""
    (tmp_path / "manifest.toml").write_text(text)

    with pytest.raises(InvalidManifestError, match=why):
        manifest_of(Plain, Path(tmp_path))


def test_what_is_listed_is_allowed_and_nothing_else():
    """Of its own keys all, unless prefixes are listed."""
    nothing = Manifest()
    some = Manifest(
        commands=("health", "config get"),
        store=("job/",),
        options=("other/*", "mon_host"),
        maps=("rack*",),
        remote=("progress", "crash.ls"),
        daemons=("rgw.*", "host.a"),
    )

    assert some.allows_command(["health", "detail"])
    assert some.allows_command(["config", "get"])
    assert not some.allows_command(["config", "set"])
    assert not some.allows_command(["healthy"])
    assert not nothing.allows_command(["health"])
    assert Manifest(commands=("*",)).allows_command(["anything"])
    assert some.allows_key("job/1")
    assert not some.allows_key("jo")
    assert nothing.allows_key("any")
    assert some.allows_option("other/place")
    assert not some.allows_option("more/place")
    assert some.allows_map("racks")
    assert not nothing.allows_map("racks")
    assert some.allows_remote("progress", "update")
    assert some.allows_remote("crash", "ls")
    assert not some.allows_remote("crash", "do_rm")
    assert some.allows_daemon("rgw.eu.1")
    assert not some.allows_daemon("host.b")
    assert some.allows_daemons_of("rgw")
    assert not some.allows_daemons_of("host")
    assert some.allows_type("host")
    assert not some.allows_type("osd")


def test_a_manifest_is_shown_as_plain_data():
    """None where there is none: the module may reach everything."""
    assert as_document(None) is None
    assert as_document(Manifest(maps=("racks",)))["maps"] == ["racks"]
