"""Documents and checks that module ``ceph`` makes from what a cluster answers."""

import json

from modules.ceph import checks, maps

PG = {
    "pgid": "1.0",
    "state": "active+clean",
    "acting": [0, 2],
    "up": [0],
    "reported_epoch": 9,
    "stat_sum": {"num_bytes_recovered": 3},
}
WORSE = {**PG, "pgid": "2.1f", "state": "active+undersized", "acting": [2]}


def test_placement_groups_are_counted_by_state():
    """For each OSD that holds one, for each pool, and in all."""
    found = maps.pg_summary([PG, WORSE], {"x": 1})

    assert found == {
        "by_osd": {"0": {"active+clean": 1}, "2": {"active+clean": 1, "active+undersized": 1}},
        "by_pool": {"1": {"active+clean": 1}, "2": {"active+undersized": 1}},
        "all": {"active+clean": 1, "active+undersized": 1},
        "pg_stats_sum": {"x": 1},
    }


def test_only_those_that_are_active_and_clean_are_listed():
    """Words of a state count, not its text: scrubbing does not matter."""
    scrubbed = {**PG, "pgid": "1.1", "state": "active+clean+scrubbing+deep"}

    found = maps.active_clean([PG, WORSE, scrubbed])

    assert [one["pgid"] for one in found["pg_stats"]] == ["1.0", "1.1"]
    assert found["total_num_pgs"] == 3


def test_documents_of_placement_groups_have_the_parts_of_the_dump():
    """And each device has a document of its own."""
    dump = {
        "pg_ready": True,
        "pg_map": {
            "pg_stats": [PG], "pg_stats_sum": {}, "pool_stats": ["p"], "osd_stats": ["o"],
            "pg_stats_delta": {"d": 1},
        },
    }  # fmt: skip
    disk = {"devid": "maker_1", "daemons": ["osd.0"]}
    answers = {"pg dump": dump, "osd pool stats": [], "device ls": [disk], "df": {"pools": []}}

    found = maps.documents_of(maps.PG, answers)

    assert found["pg_dump"] == dump["pg_map"]
    assert found["osd_stats"] == {"osd_stats": ["o"]}
    assert found["io_rate"] == {"pg_stats_delta": {"d": 1}}
    assert found["pg_progress"]["pgs"]["1.0"]["num_bytes_recovered"] == 3
    assert found["device maker_1"] == {"device": disk}
    assert found["df"] == {"pools": []}


def test_metadata_of_daemons_is_text_by_name():
    """As ceph-mgr has it: no number, and the name is the key."""
    osd = [{"id": 3, "hostname": "h", "rotational": 1}]
    answers = {"osd dump": {}, "osd tree": {}, "osd crush dump": {}, "osd metadata": osd}
    assert maps.documents_of(maps.OSD, answers)["osd_metadata"] == {
        "3": {"hostname": "h", "rotational": "1"}
    }
    answers = {"fs dump": {}, "mds metadata": [{"name": "a", "hostname": "h"}, {}]}
    assert maps.documents_of(maps.FS, answers)["mds_metadata"] == {"a": {"hostname": "h"}}


def test_the_status_of_a_monitor_is_that_of_the_leader():
    """As text, in which ceph-mgr has it."""
    said = {"name": "a", "rank": 0, "state": "leader"}

    answers = {
        "mon dump": {"mons": []},
        "mon_status": said,
        "mon metadata": [{"name": "a", "x": 1}],
    }
    found = maps.documents_of(maps.MON, answers)

    assert json.loads(found["mon_status"]["json"]) == said
    assert found["mon_map"] == {"mons": []}
    assert found["mon_metadata"] == {"a": {"x": "1"}}
    assert maps.leader_of({"quorum_names": ["a", "b"]}) == "a"


def test_a_new_epoch_is_a_reason_to_read_a_map_again():
    """An election of monitors is one, too: the quorum may be another."""
    status = {
        "osdmap": {"epoch": 5}, "fsmap": {"epoch": 6}, "monmap": {"epoch": 1}, "election_epoch": 2,
    }  # fmt: skip
    before = maps.epochs_of(status)
    after = maps.epochs_of({**status, "election_epoch": 4})

    assert [group for group in before if before[group] != after[group]] == [maps.MON]


def test_ceph_s_checks_become_checks_of_the_module():
    """But for those muted there; a code about Ceph's managers is not one about ours."""
    found = checks.checks_of(
        {
            "checks": {
                "OSD_DOWN": _check("HEALTH_WARN", "1 osds down", "osd.1 is down"),
                "MGR_DOWN": _check("HEALTH_ERR", "no active mgr"),
                "POOL_FULL": {**_check("HEALTH_WARN", "full"), "muted": True},
            }
        }
    )

    assert found == {
        "OSD_DOWN": {
            "severity": "warning", "summary": "1 osds down", "count": 1,
            "detail": ["osd.1 is down"],
        },
        "CEPH_MGR_DOWN": {
            "severity": "error", "summary": "no active mgr", "count": 1, "detail": [],
        },
    }  # fmt: skip


def _check(severity, text, *lines):
    return {
        "severity": severity,
        "summary": {"message": text, "count": 1},
        "detail": [{"message": line} for line in lines],
        "muted": False,
    }
