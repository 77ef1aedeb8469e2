"""What programs do with the blocking client."""

from __future__ import annotations

import threading


def test_blocking_clients_come_and_go_in_threads_and_disturb_nobody(cluster, caplog):
    """One is closed while another is in the middle of a call: neither the call nor a log minds."""
    answers = []

    def ask():
        with cluster.client() as client:
            answers.extend(client.execute(["mgr", "stat"]).retval for _ in range(100))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        cluster.run("mgr", "stat")
    for thread in threads:
        thread.join()

    assert answers == [0] * 200
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_threads_share_one_client(cluster):
    """A client is for several threads at once."""
    answers = []
    with cluster.client() as client:
        threads = [
            threading.Thread(target=lambda: answers.append(client.execute(["mgr", "stat"])))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [answer.retval for answer in answers] == [0] * 8
