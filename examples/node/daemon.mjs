// Joins the fleet as web.node-1, reports counters and answers a command: node daemon.mjs
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

import { Managers, errorInfo, status } from "./managers.mjs";

const SEARCH_MS = 200;
const BOUNDS = [0.01, 0.1, 1]; // seconds; a last bucket without a bound follows
const LEAVE_MS = 2_000;

const durationMs = ({ seconds, nanos }) => seconds * 1000 + nanos / 1e6;

/** What this program counts: totals, from its start. */
class Counts {
  requests = 0;
  inflight = 0;
  buckets = [0, 0, 0, 0];
  sum = 0;

  /** In the order in which `values` has them. */
  static declared = [
    { group: "web", name: "requests", kind: "COUNTER_KIND_COUNTER", priority: 8,
      description: "Requests that were answered" },
    { group: "web", name: "inflight", kind: "COUNTER_KIND_GAUGE", priority: 8,
      description: "Requests that are being answered" },
    { group: "web", name: "latency", kind: "COUNTER_KIND_HISTOGRAM", priority: 8,
      unit: "COUNTER_UNIT_SECONDS", bounds: BOUNDS, description: "How long an answer took" },
  ];

  observe(seconds) {
    this.requests += 1;
    const bucket = BOUNDS.findIndex((bound) => seconds <= bound);
    this.buckets[bucket < 0 ? BOUNDS.length : bucket] += 1;
    this.sum += seconds;
  }

  values() {
    return [this.requests, this.inflight, ...this.buckets, this.sum];
  }
}

/** Stay a member until `stop` is aborted or another program takes the name. */
async function stayMember(managers, open, counts, stop) {
  let hint;
  for (let rejoins = false; !stop.aborted; ) {
    const address = hint || (await managers.active()); // the hint is empty if nobody leads
    if (!address) {
      await sleep(SEARCH_MS);
      continue;
    }
    const stream = managers.stream(address, "ClusterService", "report");
    const ended = await reportOn(stream, { ...open, rejoins }, counts, stop);
    if (ended.error?.code === status.ALREADY_EXISTS) {
      throw new Error(`another program joined as ${open.type}.${open.id}`);
    }
    const info = ended.error && errorInfo(ended.error);
    hint = info?.reason === "NOT_ACTIVE" ? info.metadata.active_address : undefined;
    rejoins ||= ended.joined;
    // A random part of it, so that a whole fleet does not arrive at the next active at once.
    if (!stop.aborted && !hint) await sleep(Math.random() * ended.rejoinWithinMs);
  }
}

/** Report on one stream until it ends; says whether it was joined, and gRPC's error. */
function reportOn(stream, open, counts, stop) {
  const ended = { joined: false, rejoinWithinMs: SEARCH_MS, error: undefined };
  let [sequence, timer] = [0, undefined];
  const report = () =>
    stream.write({ report: {
      sequence: ++sequence,
      values: counts.values(),
      ...(sequence === 1 && { status: { texts: { state: "ok" } } }),
    } });
  const leave = () => {
    report();
    stream.write({ close: {} });
    stream.end();
    setTimeout(() => stream.cancel(), LEAVE_MS).unref();
  };
  return new Promise((resolve) => {
    const over = (error) => {
      clearInterval(timer);
      stop.removeEventListener("abort", leave);
      ended.error ??= error;
      resolve(ended);
    };
    stream.on("error", over).on("end", over);
    stream.on("data", ({ configure, command }) => {
      if (configure) {
        if (!ended.joined) {
          stream.write({ declare: { replace: true, counters: Counts.declared } });
          stop.addEventListener("abort", leave);
          console.log("joined");
        }
        ended.joined = true;
        ended.rejoinWithinMs = durationMs(configure.rejoinWithin);
        clearInterval(timer);
        timer = setInterval(report, durationMs(configure.period));
        report();
      } else if (command) {
        stream.write({ result: { id: command.id, response: answer(command.execute.words) } });
      }
    });
    stream.write({ open });
  });
}

/** Answer `mgrctl tell web.node-1 greet WHO`. */
function answer([verb, who = "you"]) {
  if (verb !== "greet") return { retval: -22, stderr: `there is no command ${verb}: use greet` };
  return { retval: 0, stdout: Buffer.from(`Hello, ${who}, from Node.js ${process.version}`) };
}

const stop = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => stop.abort());

const counts = new Counts();
setInterval(() => counts.observe(Math.random()), 100).unref(); // stands for the program's work
const managers = Managers.fromEnvironment();
await stayMember(
  managers,
  {
    type: "web",
    id: process.argv[2] ?? "node-1",
    host: hostname(),
    version: "0.1.0",
    metadata: { runtime: `node ${process.version}` },
    incarnation: randomUUID(),
    commands: [
      { signature: "greet name=who,type=CephString,req=false", help: "Say hello", perm: "r" },
    ],
  },
  counts,
  stop.signal,
);
managers.close();
