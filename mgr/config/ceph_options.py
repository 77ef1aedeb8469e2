"""Options of a Ceph cluster that Ceph's modules read when they start.

The manager itself does not use them. Modules compare with these numbers when they count placement
groups or snapshots, for example, and a module that does not find its option refuses to work. They
are stored and reverted like any other option, so an operator can carry over the values of a Ceph
cluster. Names, types, bounds and defaults are those of the Ceph releases whose modules are tested
(docs/reference).
"""

from __future__ import annotations

from functools import partial
from typing import Final

from mgr.config.schema import LEVELS, OptionSpec

_basic = partial(OptionSpec, level=LEVELS[0], runtime=True, for_modules=True)
_advanced = partial(OptionSpec, level=LEVELS[1], runtime=True, for_modules=True)

READ_BY_MODULES: Final = (
    _advanced(
        name="mgr_tick_period",
        type="secs",
        default=2,
        min=1,
        max=60,
        desc="Seconds between two periodic checks of a module",
    ),
    _advanced(
        name="mgr_pool",
        type="bool",
        default=True,
        desc="Whether modules may make the pool of their databases",
    ),
    _basic(
        name="target_max_misplaced_ratio",
        type="float",
        default=0.05,
        desc="Share of objects that may be misplaced while data is being balanced",
    ),
    _advanced(
        name="mon_target_pg_per_osd",
        type="uint",
        default=100,
        min=1,
        desc="Placement groups that each OSD should have",
    ),
    _advanced(
        name="mon_max_pg_per_osd",
        type="uint",
        default=250,
        min=1,
        desc="Most placement groups of an OSD; above it, new pools are refused",
    ),
    _advanced(
        name="mon_osd_min_in_ratio",
        type="float",
        default=0.75,
        desc="Share of OSDs below which no further one is marked out",
    ),
    _advanced(
        name="osd_pool_default_size",
        type="uint",
        default=3,
        min=0,
        max=10,
        desc="Copies of each object in a pool that does not set its own number",
    ),
    _advanced(
        name="osd_pool_default_pg_autoscale_mode",
        default="on",
        enum_allowed=("off", "warn", "on"),
        desc="Whether the number of placement groups of a new pool follows its size",
    ),
    OptionSpec(
        name="osd_crush_chooseleaf_type",
        type="int",
        level=LEVELS[2],
        default=1,
        desc="Type of bucket that holds one copy in a newly made rule: 0 an OSD, 1 a host",
        for_modules=True,
    ),
    _advanced(
        name="osd_memory_target",
        type="size",
        default=4 << 30,
        min=896 << 20,
        desc="Memory that an OSD tries not to exceed",
    ),
    _basic(
        name="mon_memory_target",
        type="size",
        default=2 << 30,
        desc="Memory that a monitor tries not to exceed",
    ),
    _basic(
        name="device_failure_prediction_mode",
        default="none",
        enum_allowed=("none", "local", "cloud"),
        desc="What predicts the life expectancy of devices",
    ),
    _advanced(
        name="mds_max_snaps_per_dir",
        type="uint",
        default=100,
        min=0,
        max=4096,
        desc="Most snapshots of one directory",
    ),
    _advanced(name="rbd_default_pool", default="rbd", desc="Pool of images named without one"),
    _advanced(
        name="rbd_default_features",
        default="61",
        desc="Features of a new image, as a bit mask",
    ),
    _advanced(
        name="rbd_default_clone_format",
        default="auto",
        enum_allowed=("1", "2", "auto"),
        desc="Format of a cloned image",
    ),
    _advanced(
        name="osd_pool_default_pg_num",
        type="uint",
        default=32,
        desc="Placement groups of a new pool that does not set its own number",
    ),
    _advanced(
        name="osd_memory_target_autotune",
        type="bool",
        default=False,
        desc="Whether the memory target of OSDs follows the memory of their host",
    ),
    _advanced(
        name="public_network",
        default="",
        desc="Networks of the clients, comma separated; empty: not restricted",
    ),
    _advanced(
        name="cluster_network",
        default="",
        desc="Networks between OSDs, comma separated; empty: the public ones",
    ),
    _advanced(
        name="keyring",
        default="/etc/ceph/keyring",
        desc="File with keys for Ceph's programs, which modules start",
    ),
    _advanced(
        name="cephadm_path",
        default="/usr/sbin/cephadm",
        desc="File with Ceph's program cephadm, which the module cephadm copies to hosts",
    ),
    _advanced(name="run_dir", default="/var/run/ceph", desc="Folder of sockets and process ids"),
    _advanced(
        name="crash_dir",
        default="/var/lib/ceph/crash",
        desc="Folder in which programs leave crash reports",
    ),
    _advanced(
        name="bluestore_compression_algorithm",
        default="snappy",
        enum_allowed=("", "snappy", "zlib", "zstd", "lz4"),
        desc="Algorithm with which OSDs compress data",
    ),
    _advanced(
        name="bluestore_compression_mode",
        default="none",
        enum_allowed=("none", "passive", "aggressive", "force"),
        desc="When OSDs compress data",
    ),
    _basic(
        name="container_image",
        default="quay.ceph.io/ceph-ci/ceph:main",
        desc="Image that daemons of Ceph are run from",
    ),
)
