"""Leader election through etcd: timing rules, the state machine, and the records in etcd.

Guaranteed
----------
- *At most one term at a time.* A term is the create revision of the leader key, and etcd holds at
  most one leader key. Terms only grow.
- *No write of an old term succeeds.* Every write of an active compares the create revision of the
  leader key (a fenced write), so a deposed active changes nothing in etcd, however late it writes.
- *An active stops acting before another one can start*, also outside etcd, as long as the
  assumptions about clocks below hold: it is suspended ``margin_s`` before its lease or its leader
  heartbeat can be regarded as expired by anybody else. Where modules act outside etcd, a kernel
  timer kills the worker at that moment, and a successor waits out the rest (``TermRecord``).
- *The leader key is released only after the worker has stopped*: drained, or killed and ended.

Not guaranteed
--------------
- That there is an active at every moment. After a crash of the active the cluster has none until
  the heartbeat timeout (or, without heartbeats, the lease) has passed and modules have started.
- That a command runs exactly once. A command that was running when leadership was lost may have
  run in part; the client receives an error that says so.
- Anything if etcd itself violates linearizability, if somebody edits the keys by hand in a way
  that ``campaign`` cannot repair, or if a process is frozen between a check of the deadline and
  the effect for longer than the margin, with a module that is not marked as acting outside etcd.

Assumed of clocks
-----------------
Each process measures spans on its own ``CLOCK_BOOTTIME``, which also counts while the machine is
suspended. Clock *offsets* between machines do not matter: no timestamp of one machine is compared
on another one. Clock *rates* may differ by at most 1 % (``timing.CLOCK_RATE_ERROR``).

Tuning
------
- ``profile`` sets the leader heartbeat: how soon a silent leader is deposed (1.5 s by default,
  0.5 s with ``fast``; ``off``: only when its lease expires). A shorter timeout means a shorter
  outage, but more suspensions when the network or the disk of etcd is slow. The active adapts the
  timeout to the gaps it observes, up to the length of the lease.
- ``lease_ttl_s`` is the upper limit: after it, everything a dead manager held is free. Every other
  span is derived from it (``timing.Timing.of_lease``).
- ``watchdog_s``: how long the event loop of a worker may be blocked before the guard kills it.

Start reading at ``machine.py``; ``timing.py`` and ``heartbeat.py`` hold the arithmetic.
"""
