// One connection to Postgres, in its own protocol: several statements in one round trip, values in
// and out as text, prepared statements, notifications.
// https://www.postgresql.org/docs/current/protocol-flow.html

import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import { connect } from "node:net";

const CONNECT_MS = 10_000;
const PROTOCOL = 196608; // 3.0
const ERROR_FIELDS = { C: "code", M: "message", D: "detail", H: "hint", V: "severity" };

/** An error of Postgres: `code` is the SQLSTATE. */
export class PostgresError extends Error {}

/** The connection is lost, or could not be made. */
export class ConnectionError extends Error {}

export class Connection {
  /** Connect to the URL; `parameters` are settings of the session. */
  static open(url, parameters = {}) {
    const connection = new Connection(url);
    return new Promise((resolve, reject) => {
      const { hostname, port, username, pathname } = connection.#url;
      connection.#waiting.push({ resolve: () => resolve(connection), reject, rows: [] });
      connection.#socket = connect({ host: hostname, port: Number(port || 5432), noDelay: true });
      connection.#listen();
      const names = { user: username, database: pathname.slice(1), ...parameters };
      const words = Object.entries(names).flat().map(decodeURIComponent);
      connection.#send(message("", int32(PROTOCOL), ...words.map(text), Buffer.from([0])));
    });
  }

  constructor(url) {
    this.#url = new URL(url);
  }

  #url;
  #socket;
  #chunks = [];
  #size = 0;
  #waiting = []; // pending statements, in the order of the answers
  #prepared = new Map();
  #scram = null;
  #end = null;

  onnotification = () => {};
  onclose = () => {};

  get isOpen() {
    return this.#end === null;
  }

  /**
   * Send statements at once; each is { text, values }, and one without values is not prepared.
   * Returns a promise of rows for each.
   */
  send(statements) {
    const messages = [];
    const promises = statements.map(({ text: sql, values }) => {
      if (!this.isOpen) return Promise.reject(this.#end);
      const pending = { rows: [], names: [] };
      messages.push(values ? this.#extended(sql, values, pending) : message("Q", text(sql)));
      return new Promise((resolve, reject) => {
        this.#waiting.push(Object.assign(pending, { resolve, reject }));
      });
    });
    if (messages.length) this.#send(Buffer.concat(messages));
    return promises;
  }

  close() {
    this.#socket.end(message("X"));
  }

  #extended(sql, values, pending) {
    const known = this.#prepared.get(sql);
    const name = known ?? `s${randomBytes(6).toString("hex")}`;
    const parse = known ? [] : [message("P", text(name), text(sql), int16(0))];
    if (!known) pending.parsing = [sql, name];
    const bound = values.map((value) => {
      const bytes = Buffer.from(value);
      return Buffer.concat([int32(bytes.length), bytes]);
    });
    const counts = [int16(0), int16(values.length)];
    return Buffer.concat([
      ...parse,
      message("B", text(""), text(name), ...counts, ...bound, int16(0)),
      message("D", Buffer.from("P"), text("")),
      message("E", text(""), int32(0)),
      message("S"),
    ]);
  }

  #send(bytes) {
    this.#socket.write(bytes);
  }

  #listen() {
    const timer = setTimeout(() => this.#socket.destroy(), CONNECT_MS);
    this.#socket
      .on("connect", () => clearTimeout(timer))
      .on("error", (error) => this.#fail(new ConnectionError(error.message)))
      .on("data", (bytes) => this.#receive(bytes))
      .on("close", () => {
        clearTimeout(timer);
        this.#fail(new ConnectionError("server closed the connection unexpectedly"));
        this.onclose();
      });
  }

  // There will be no more answers.
  #fail(error) {
    this.#end ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#end);
  }

  #receive(bytes) {
    if (!this.isOpen) return;
    this.#chunks.push(bytes);
    this.#size += bytes.length;
    let needed = this.#needed();
    if (this.#size < needed) return;
    const all = this.#chunks.length > 1 ? Buffer.concat(this.#chunks) : bytes;
    let at = 0;
    while (at + 5 <= all.length && at + (needed = 1 + all.readInt32BE(at + 1)) <= all.length) {
      this.#handle(String.fromCharCode(all[at]), all.subarray(at + 5, at + needed));
      at += needed;
    }
    this.#chunks = at < all.length ? [all.subarray(at)] : [];
    this.#size = all.length - at;
  }

  // The length of the next message, as far as it is known.
  #needed() {
    const [first] = this.#chunks;
    if (first.length >= 5) return 1 + first.readInt32BE(1);
    const start = Buffer.concat(this.#chunks);
    return start.length >= 5 ? 1 + start.readInt32BE(1) : 5;
  }

  #handle(kind, body) {
    const [pending] = this.#waiting;
    if (kind === "D") pending.rows.push(row(body, pending.names));
    else if (kind === "T") pending.names = columns(body);
    else if (kind === "1") this.#prepared.set(...pending.parsing);
    else if (kind === "Z") this.#settle();
    else if (kind === "E") this.#fault(fields(body));
    else if (kind === "A") this.onnotification(...words(body.subarray(4)));
    else if (kind === "R") this.#authenticate(body);
  }

  #settle() {
    const { resolve, reject, rows, error } = this.#waiting.shift();
    if (error) reject(error);
    else resolve(rows);
  }

  #fault(error) {
    if (["FATAL", "PANIC"].includes(error.severity)) this.#fail(error);
    else if (this.#waiting.length) this.#waiting[0].error ??= error;
  }

  #authenticate(body) {
    const method = body.readInt32BE(0);
    const rest = body.subarray(4);
    const password = decodeURIComponent(this.#url.password);
    if (method === 0) return; // accepted
    if (method === 10) {
      this.#scram = new Scram(password);
      const first = Buffer.from(this.#scram.first());
      this.#send(message("p", text("SCRAM-SHA-256"), int32(first.length), first));
    } else if (method === 11) {
      this.#send(message("p", Buffer.from(this.#scram.final(rest.toString()))));
    } else if (method !== 12) {
      this.#fail(new ConnectionError("the server requests an unknown authentication method"));
      this.#socket.destroy();
    }
  }
}

// https://datatracker.ietf.org/doc/html/rfc5802, without binding to a channel
class Scram {
  constructor(password) {
    this.#password = password;
  }

  #password;
  #start = `n=,r=${randomBytes(18).toString("base64")}`;

  first() {
    return `n,,${this.#start}`;
  }

  final(challenge) {
    const given = Object.fromEntries(challenge.split(",").map((part) => [part[0], part.slice(2)]));
    const salt = Buffer.from(given.s, "base64");
    const salted = pbkdf2Sync(this.#password, salt, Number(given.i), 32, "sha256");
    const key = hmac(salted, "Client Key");
    const without = `c=biws,r=${given.r}`;
    const stored = createHash("sha256").update(key).digest();
    const signature = hmac(stored, `${this.#start},${challenge},${without}`);
    return `${without},p=${key.map((byte, at) => byte ^ signature[at]).toString("base64")}`;
  }
}

function hmac(key, text) {
  return createHmac("sha256", key).update(text).digest();
}

function message(kind, ...parts) {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(kind), int32(body.length + 4), body]);
}

function int32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function int16(value) {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function text(value) {
  return Buffer.from(`${value}\0`);
}

function words(body) {
  return body.toString().split("\0").slice(0, -1);
}

function columns(body) {
  const names = [];
  let at = 2;
  for (let count = body.readInt16BE(0); count > 0; count--) {
    const end = body.indexOf(0, at);
    names.push(body.toString("utf8", at, end));
    at = end + 19; // skips the fields after the name
  }
  return names;
}

function row(body, names) {
  const found = {};
  let at = 2;
  for (const name of names) {
    const length = body.readInt32BE(at);
    at += 4;
    found[name] = length < 0 ? null : body.toString("utf8", at, at + length);
    at += Math.max(length, 0);
  }
  return found;
}

function fields(body) {
  const error = new PostgresError();
  for (const word of words(body)) {
    const name = ERROR_FIELDS[word[0]];
    if (name) error[name] = word.slice(1);
  }
  return error;
}
