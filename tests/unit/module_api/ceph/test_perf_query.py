"""Queries that daemons of Ceph would answer: taken, and answered with nothing."""

import pytest

from mgr.module_api.module import MgrModule
from tests.support.context import run

QUERY = {
    "key_descriptor": [{"type": "client_id", "regex": "^(.+)$"}],
    "performance_counter_descriptors": ["bytes", "write_ops"],
    "limit": {"order_by": "bytes", "max_count": 10},
}
OF_CLIENTS = {
    "key_descriptor": [{"type": "mds_rank", "regex": "^(.*)$"}],
    "performance_counter_descriptors": [],
}


@pytest.fixture
def module():
    return run(MgrModule)[0]


def test_a_query_has_a_number_and_measures_nothing(module):
    """In the shape in which modules read it, until it is removed."""
    osd, mds = module.add_osd_perf_query(QUERY), module.add_mds_perf_query(OF_CLIENTS)
    assert osd != mds
    assert module.get_osd_perf_counters(osd) == {"counters": []}
    assert module.get_mds_perf_counters(mds) == {"metrics": [[""], [], [0.0]]}

    module.reregister_mds_perf_queries()
    module.remove_osd_perf_query(osd)
    module.remove_mds_perf_query(mds)

    assert module.get_osd_perf_counters(osd) is None
    assert module.get_mds_perf_counters(mds) is None
    module.remove_osd_perf_query(osd)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        {},
        {"key_descriptor": []},
        {"key_descriptor": ["client_id"]},
        {"key_descriptor": [{"type": "shoe", "regex": "(.)"}]},
        {"key_descriptor": [{"type": "client_id", "regex": ".+"}]},
        {"key_descriptor": [{"type": "client_id", "regex": "("}]},
        {"performance_counter_descriptors": ["shoes"]},
        {"performance_counter_descriptors": None},
        {"limit": {"order_by": "latency", "max_count": 1}},
        {"limit": {"order_by": "bytes", "max_count": 0}},
        {"limit": "some"},
    ],
)
def test_a_query_that_makes_no_sense_is_refused_with_a_line_in_the_log(module, wrong, caplog):
    """None, as in ceph-mgr: no exception."""
    query = {**QUERY, **wrong} if wrong else wrong
    caplog.set_level("ERROR")
    module.log.propagate = True

    assert module.add_osd_perf_query(query) is None
    assert "invalid query" in caplog.text
