"""Hosts that answer in this process, and the modules ``agents`` and ``orchestrator`` over them."""

from __future__ import annotations

import errno
import json

from mgr.testing.host import Host as ModuleHost

RUNS = {"service": "web", "kind": "process", "command": ["/bin/web"]}


class FakeHosts:
    """Agents that carry out orders at once, as the real ones do step by step.

    Attributes:
        bad: Programs of which every daemon fails.
        deaf: Hosts that orders do not reach.
        slow: Hosts on which what is removed does not end.
        refuses: What a host answers to each order; empty: it carries it out.
        orders: Each order that arrived: host, key, action, daemon, revision.

    """

    def __init__(self, names):
        self.daemons = {name: {} for name in names}
        self.bad, self.deaf, self.slow, self.refuses = set(), set(), set(), {}
        self.orders, self.configs = [], []
        self._version = self.messages = 0

    def attach(self, context):
        """Answer the orders that a module of ``context`` sends."""
        self._fleet = context.fleet
        context.mon_command = self._command
        context.documents["fleet_status"] = {"filling": False}
        context.documents["devices"] = {"devices": []}
        for name in self.daemons:
            context.fleet.add(f"host.{name}", name)
            self.report(name)

    def report(self, name):
        self._fleet.report(f"host.{name}", deployed=json.dumps(self._state(name)))

    def lose(self, name):
        self._fleet.set_state(f"host.{name}", "silent")

    def bring_back(self, name):
        self._fleet.set_state(f"host.{name}", "reporting")

    def _state(self, name):
        self._version += 1
        return {
            "version": [1, self._version],
            "term": 1,
            "kinds": ["process"],
            "daemons": self.daemons[name],
        }

    def _command(self, arguments, inbuf):
        tell, target, *words = arguments["prefix"].split()
        name = target.partition(".")[2]
        assert (tell, words) == ("tell", ["orders", "apply"])
        self.messages += 1
        if name in self.deaf:
            return -errno.EHOSTUNREACH, "", "not connected"
        results = {}
        for order in json.loads(inbuf)["orders"]:
            results[order["key"]] = self.refuses.get(name, "")
            self.orders.append((name, order["key"], order["action"], order["daemon"]))
            if name not in self.refuses:
                self._apply(name, order)
        self.report(name)
        return 0, json.dumps({"results": results, "state": self._state(name)}), ""

    def _apply(self, name, order):
        daemon, there = order["daemon"], self.daemons[name]
        if order["action"] == "remove" and name in self.slow:
            there[daemon][2] = "removing"
        elif order["action"] == "remove":
            there.pop(daemon, None)
        elif order["action"] == "stop":
            there[daemon][2] = "stopped"
        else:
            config = order["config"]
            self.configs.append((name, config))
            bad = config["command"][0] in self.bad
            state, why = ("failed", "exited with 1") if bad else ("ready", "")
            there[daemon] = [config["service"], order["revision"], state, 0, why]

    def all(self):
        """Revision and state of every daemon."""
        return {
            name: f"{row[1]} {row[2]}"
            for there in self.daemons.values()
            for name, row in sorted(there.items())
        }


class Orchestrated:
    """Both modules and the hosts."""

    def __init__(self, mgr_host, hosts):
        self.host = mgr_host
        self.hosts = hosts
        self.module = mgr_host.load("modules.agents")
        self.clock = mgr_host.take_over_time()
        self.commands = ModuleHost()
        self._connect()

    def _connect(self):
        self.hosts.attach(self.host.context)
        self.commands.neighbours["agents"] = self.module
        self.commands.load("modules.orchestrator")
        self.settle()

    def fail_over(self):
        self.module = self.host.fail_over()
        self.host.context.term += 1
        self._connect()

    def settle(self, rounds=12):
        for _ in range(rounds):
            self.module.reconcile()

    def orch(self, words, text="", retval=0):
        answer = self.commands.run(f"orch {words}", inbuf=text)
        assert answer.retval == retval, answer
        self.settle()
        return answer.stdout or answer.stderr

    def apply(self, **fields):
        return self.orch("apply", text=json.dumps({**RUNS, **fields}))

    def service(self, name="web"):
        [found] = json.loads(self.orch(f"ls {name} --format=json"))
        return found
