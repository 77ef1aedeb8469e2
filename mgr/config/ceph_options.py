"""Options of a Ceph cluster that its modules read at their start.

Nothing here acts on them: they are the numbers that a module which counts placement groups or
snapshots compares with, and a module that does not find one refuses to work. They are stored and
reverted like any other, so what an operator of Ceph has set can be brought along. Names, types,
bounds and defaults are Ceph's, of the releases whose modules are tried (docs/reference).
"""

from __future__ import annotations

from functools import partial
from typing import Final

from mgr.config.schema import LEVELS, OptionSpec

_basic = partial(OptionSpec, level=LEVELS[0], runtime=True)
_advanced = partial(OptionSpec, level=LEVELS[1], runtime=True)

READ_BY_MODULES: Final = (
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
        desc="Placement groups that each OSD is to have",
    ),
    _advanced(
        name="mon_max_pg_per_osd",
        type="uint",
        default=250,
        min=1,
        desc="Placement groups that an OSD may have at most, before pools are refused",
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
        desc="Copies of each object in a pool that says nothing else",
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
        desc="Type of bucket that holds one copy in a rule made anew: 0 an OSD, 1 a host",
    ),
    _advanced(
        name="osd_memory_target",
        type="size",
        default=4 << 30,
        min=896 << 20,
        desc="Memory that an OSD tries to live with",
    ),
    _basic(
        name="mon_memory_target",
        type="size",
        default=2 << 30,
        desc="Memory that a monitor tries to live with",
    ),
    _basic(
        name="device_failure_prediction_mode",
        default="none",
        enum_allowed=("none", "local", "cloud"),
        desc="Who says how long a device is going to live",
    ),
    _advanced(
        name="mds_max_snaps_per_dir",
        type="uint",
        default=100,
        min=0,
        max=4096,
        desc="Snapshots that a directory may have",
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
        desc="Form of a cloned image",
    ),
    _advanced(
        name="bluestore_compression_algorithm",
        default="snappy",
        enum_allowed=("", "snappy", "zlib", "zstd", "lz4"),
        desc="How OSDs compress data if they do",
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
