// The managers of one cluster: connections, the reasons of their refusals, and who leads.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import protobuf from "protobufjs";

const PROTO = process.env.MGR_PROTO ?? fileURLToPath(new URL("../../proto", import.meta.url));
const ASK_MS = 2_000;

const { mgr } = grpc.loadPackageDefinition(
  loader.loadSync("mgr/rpc/v1/cluster.proto", {
    includeDirs: [PROTO],
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true,
  }),
);
const details = protobuf.loadSync(
  ["status.proto", "error_details.proto"].map((file) => join(PROTO, "google/rpc", file)),
);
const Status = details.lookupType("google.rpc.Status");
const ErrorInfo = details.lookupType("google.rpc.ErrorInfo");

export const { status } = grpc;

/** Return why a manager refused: `reason` and `metadata` of docs/reference/errors.md.
 *
 * Undefined if no manager said anything: the connection broke, or could not be made.
 */
export function errorInfo(error) {
  const [bytes] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (!bytes) return undefined;
  const info = Status.decode(bytes).details.find(({ type_url }) =>
    type_url.endsWith("/google.rpc.ErrorInfo"),
  );
  return info && ErrorInfo.decode(info.value);
}

export class Managers {
  #clients = new Map();
  #credentials;
  #metadata = new grpc.Metadata();
  #next = 0;

  /** Speak with `hosts`, `host:port` separated by commas. With `ca`, a file, over TLS; then either
   * `cert` and `key`, files, or `token`, a text, say who the program is. */
  constructor(hosts, { ca, cert, key, token } = {}) {
    this.hosts = hosts.split(",").map((host) => host.trim());
    const read = (file) => (file ? readFileSync(file) : null);
    this.#credentials = ca
      ? grpc.credentials.createSsl(read(ca), read(key), read(cert))
      : grpc.credentials.createInsecure();
    if (token) this.#metadata.set("authorization", `Bearer ${token}`);
  }

  /** The managers as the environment names them: MGR_HOSTS, MGR_TLS_CA, MGR_TLS_CERT, ... */
  static fromEnvironment({ env } = process) {
    return new Managers(env.MGR_HOSTS ?? "127.0.0.1:7400", {
      ca: env.MGR_TLS_CA,
      cert: env.MGR_TLS_CERT,
      key: env.MGR_TLS_KEY,
      token: env.MGR_TOKEN_FILE && readFileSync(env.MGR_TOKEN_FILE, "utf8").trim(),
    });
  }

  /** Return another manager at each call, one after the other. */
  another() {
    return this.hosts[this.#next++ % this.hosts.length];
  }

  /** Return the client of a service at an address. */
  client(address, service) {
    const known = `${service} ${address}`;
    if (!this.#clients.has(known)) {
      this.#clients.set(known, new mgr.rpc.v1[service](address, this.#credentials));
    }
    return this.#clients.get(known);
  }

  /** Make one call that has one answer; rejects with gRPC's error. */
  call(address, service, method, request, timeoutMs) {
    const deadline = Date.now() + timeoutMs;
    return new Promise((resolve, reject) => {
      this.client(address, service)[method](
        request,
        this.#metadata,
        { deadline },
        (error, answer) => (error ? reject(error) : resolve(answer)),
      );
    });
  }

  /** Open a stream in both directions. */
  stream(address, service, method) {
    return this.client(address, service)[method](this.#metadata);
  }

  /** Ask all managers who leads; the newest term counts. Undefined if nobody does. */
  async active() {
    const asked = this.hosts.map((host) =>
      this.call(host, "ManagerService", "getStatus", {}, ASK_MS).catch(() => undefined),
    );
    return (await Promise.all(asked))
      .map((answer) => answer?.active)
      .filter((active) => active?.grpcAddress)
      .sort((one, other) => other.term - one.term)[0]?.grpcAddress;
  }

  close() {
    for (const client of this.#clients.values()) client.close();
  }
}
