// The connections to Postgres, and a request's transaction on one of them.

import { ApiError, fromPostgres } from "./errors.mjs";
import { Connection, ConnectionError, PostgresError } from "./wire.mjs";

const ACQUISITION_MS = 10_000; // PostgREST's db-pool-acquisition-timeout
const RELISTEN_MS = 100;

export class Database {
  /** `url` is authenticator's; `statementTimeout` replaces that role's own. */
  constructor(url, { pool, statementTimeout }) {
    this.#url = url;
    this.#most = pool;
    this.#parameters = {
      application_name: "local data API",
      ...(statementTimeout && { statement_timeout: statementTimeout }),
    };
  }

  #url;
  #most;
  #parameters;
  #count = 0; // open or being opened
  #idle = [];
  #waiting = [];

  /** The rows of each query, each in its own transaction. */
  async query(texts) {
    return this.#borrowed((connection) =>
      Promise.all(connection.send(texts.map((text) => ({ text })))),
    );
  }

  /**
   * One transaction: `begin`, each of `steps`, and commit. All of it is sent at once, so it takes
   * one round trip. Returns the first row of the last step; `approve`, if given, gets to see it
   * before anything is committed, and may throw. `authenticated` is as for `fromPostgres`.
   */
  async transaction(begin, steps, authenticated, approve) {
    const statements = [{ text: begin }, ...steps];
    if (!approve) statements.push({ text: "commit" });
    try {
      return await this.#borrowed(async (connection) => {
        const sent = allOf(connection.send(statements));
        if (!approve) return (await sent)[steps.length][0];
        return ended(connection, async () => {
          const row = (await sent)[steps.length][0];
          approve(row);
          return row;
        });
      });
    } catch (error) {
      throw error instanceof PostgresError ? fromPostgres(error, authenticated) : error;
    }
  }

  /** Call `heard` with each notification on the channel, and whenever listening starts. */
  async listen(channel, heard) {
    const again = () => setTimeout(() => this.listen(channel, heard), RELISTEN_MS).unref();
    try {
      const connection = await Connection.open(this.#url, this.#parameters);
      connection.onnotification = (_, payload) => heard(payload);
      connection.onclose = again;
      await Promise.all(connection.send([{ text: `listen "${channel}"` }]));
      heard("");
    } catch {
      again();
    }
  }

  async #borrowed(use) {
    const connection = await this.#acquired();
    try {
      return await use(connection);
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      const message = "Database client error. Retrying the connection.";
      throw new ApiError(503, "PGRST001", message, { details: error.message });
    } finally {
      if (connection.isOpen) this.#free(connection);
    }
  }

  async #acquired() {
    for (let idle; (idle = this.#idle.pop()); ) if (idle.isOpen) return idle;
    if (this.#count < this.#most) return this.#opened();
    return new Promise((resolve, reject) => {
      const waiter = { resolve, reject };
      waiter.timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        const message = "Timed out acquiring connection from connection pool.";
        reject(new ApiError(504, "PGRST003", message));
      }, ACQUISITION_MS);
      this.#waiting.push(waiter);
    });
  }

  async #opened() {
    this.#count++;
    try {
      const connection = await Connection.open(this.#url, this.#parameters);
      connection.onclose = () => this.#lost(connection);
      return connection;
    } catch (error) {
      this.#lost(null);
      throw new ApiError(503, "PGRST000", "Database connection error.", { details: error.message });
    }
  }

  #free(connection) {
    const waiter = this.#waiting.shift();
    if (!waiter) return this.#idle.push(connection);
    clearTimeout(waiter.timer);
    return waiter.resolve(connection);
  }

  #lost(connection) {
    this.#count--;
    this.#idle = this.#idle.filter((other) => other !== connection);
    const waiter = this.#waiting.shift();
    if (!waiter) return;
    clearTimeout(waiter.timer);
    this.#opened().then(waiter.resolve, waiter.reject);
  }
}

// Waits for all of them and throws the first error: later statements fail only because of it.
async function allOf(sent) {
  const settled = await Promise.allSettled(sent);
  const failed = settled.find(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
  return settled.map(({ value }) => value);
}

// The result of `work`, committed unless it fails.
async function ended(connection, work) {
  const end = (text) => allOf(connection.send([{ text }]));
  let result;
  try {
    result = await work();
  } catch (error) {
    if (connection.isOpen) await end("rollback");
    throw error;
  }
  await end("commit");
  return result;
}
