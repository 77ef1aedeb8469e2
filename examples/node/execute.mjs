// Runs one command on the active manager: node execute.mjs mgr stat
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { Managers, errorInfo, status } from "./managers.mjs";

const HINTS_MAX = 3; // two managers may name each other
const PAUSE_MS = 100;
const NOBODY_ANSWERED = 255;

/** Run `words`; return the answer: `retval` (0 or a negative errno), `stdout`, `stderr`, `term`.
 *
 * Rejects if nothing ran, or if that is unknown: the error's message says which.
 */
export async function execute(managers, words, { timeoutMs = 10_000 } = {}) {
  // The same id in every attempt: a command that changes something is applied at most once.
  const request = { words, requestId: randomUUID() };
  const begun = Date.now();
  let [address, hints, mayHaveRun, last] = [managers.another(), 0, false, undefined];
  for (;;) {
    const left = timeoutMs - (Date.now() - begun);
    if (left <= 0) break;
    try {
      return await managers.call(address, "CommandService", "execute", request, left);
    } catch (error) {
      last = error;
      const info = errorInfo(error);
      const hint = info?.reason === "NOT_ACTIVE" && info.metadata.active_address;
      if (!mayBeRepeated(error, info)) throw error;
      mayHaveRun ||= !provesNothingRan(error, info);
      if (hint && hints < HINTS_MAX) {
        [address, hints] = [hint, hints + 1];
      } else {
        await sleep(Math.min(PAUSE_MS, left));
        [address, hints] = [managers.another(), 0];
      }
      const age = Math.max(0, Date.now() - begun);
      request.age = { seconds: Math.floor(age / 1000), nanos: (age % 1000) * 1e6 };
    }
  }
  const outcome = mayHaveRun ? "unknown whether it ran" : "nothing ran";
  throw new Error(`${outcome}: ${last?.details ?? "no time to ask"}`);
}

// How gRPC itself calls a connection that ends under a call; a manager's own errors have an info.
const BROKEN = [status.UNAVAILABLE, status.CANCELLED, status.INTERNAL];

function mayBeRepeated(error, info) {
  if (info === undefined) return BROKEN.includes(error.code);
  if (error.code === status.UNAVAILABLE) return true;
  return error.code === status.ABORTED && ["TERM_LOST", "FENCED"].includes(info.reason);
}

/** A manager that says UNAVAILABLE ran nothing; a connection that breaks says nothing at all. */
function provesNothingRan(error, info) {
  if (error.code !== status.UNAVAILABLE) return false;
  return info !== undefined || error.details.startsWith("No connection established");
}

async function main(words) {
  const managers = Managers.fromEnvironment();
  try {
    const answer = await execute(managers, words);
    process.stdout.write(answer.stdout);
    if (answer.stderr) console.error(answer.stderr);
    process.exitCode = Math.max(0, -answer.retval);
  } catch (error) {
    console.error(`execute: ${error.details ?? error.message}`);
    process.exitCode = NOBODY_ANSWERED;
  } finally {
    managers.close();
  }
}

if (import.meta.filename === process.argv[1] || import.meta.url === `file://${process.argv[1]}`) {
  await main(process.argv.slice(2));
}
