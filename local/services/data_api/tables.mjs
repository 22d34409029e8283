// Everything except plain function calls: tables, users and the rest, by @supabase/lite, adapted to
// answer as PostgREST where lite itself does not (checked with lite 0.10.0 and postgres 3.4.9).

import { App } from "@supabase/lite";
import { PostgresConnection } from "@supabase/lite/postgres";
import { statusOf } from "./errors.mjs";

// lite encodes JSON arguments itself; encoding them twice would turn every jsonb argument into a
// JSON string.
function encodeJson(value) {
  if (typeof value === "string") {
    try {
      JSON.parse(value);
      return value;
    } catch {
      // a plain string: encode it below
    }
  }
  return JSON.stringify(value);
}

function decodeNumeric(text) {
  const number = Number(text);
  return Number.isFinite(number) ? number : text;
}

// "2026-01-01 08:00:00+00" -> "2026-01-01T08:00:00+00:00", as PostgREST prints it
function decodeTimestamp(text) {
  if (text.endsWith("infinity")) return text;
  return text.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");
}

const asIs = (text) => text;
const types = {
  json: { to: 114, from: [114], serialize: encodeJson, parse: JSON.parse },
  jsonb: { to: 3802, from: [3802], serialize: encodeJson, parse: JSON.parse },
  numeric: { to: 1700, from: [1700], serialize: String, parse: decodeNumeric },
  timestamp: { to: 1114, from: [1114], serialize: asIs, parse: decodeTimestamp },
  timestamptz: { to: 1184, from: [1184], serialize: asIs, parse: decodeTimestamp },
};

// lite maps these itself; it would report all others as internal errors.
const MAPPED_BY_LITE = new Set(["42501", "42P01", "42883", "42703", "42P17"]);

function isPlainSqlState(code) {
  if (typeof code !== "string" || !/^[0-9A-Z]{5}$/.test(code)) return false;
  return !MAPPED_BY_LITE.has(code) && code !== "PGRST" && !code.startsWith("PT");
}

// lite passes errors with code PGRST through: message is the body, detail the status.
function passThrough(error) {
  const { code, message, detail: details, hint } = error;
  return Object.assign(new Error(), {
    code: "PGRST",
    message: JSON.stringify({ code, message, details, hint }, (_, value) => value ?? undefined),
    detail: JSON.stringify({ status: statusOf(code, message, true), headers: {} }),
  });
}

class Connection extends PostgresConnection {
  // Reports that roles are set up; otherwise lite grants every table to anon on the first request.
  rlsState = "active";

  constructor(options, catalogue) {
    super(options);
    this.catalogue = catalogue;
  }

  normalizeDbError(error) {
    const normal = super.normalizeDbError(error);
    return isPlainSqlState(normal?.code) ? passThrough(normal) : normal;
  }

  // As PostgREST: a session of authenticator with its settings, then those of the role.
  async applyJwtSessionContext(transaction, context, ...rest) {
    const { roles, session } = await this.catalogue.read();
    const set = (text, parameters = []) =>
      transaction.executeQuery({
        sql: text,
        parameters,
        query: { kind: "RawNode", sqlFragments: [], parameters: [] },
        queryId: { queryId: text },
      });
    await set("set local session authorization authenticator");
    await super.applyJwtSessionContext(transaction, context, ...rest);
    const role = context.auth?.role ?? "anon";
    for (const setting of [...session, ...(roles.get(role)?.settings ?? [])]) {
      await set("select set_config($1, $2, true)", setting);
    }
  }
}

/** lite's application over the database; `url` is a superuser's, who alone sees all its tables. */
export class Tables {
  constructor({ url, catalogue, keys, maxRows, pool }) {
    const postgresOptions = { max: pool, onnotice() {}, types };
    const resolver = async (key) => keys.resolved(key);
    this.#connection = new Connection({ url, postgresOptions }, catalogue);
    this.#app = new App({
      connection: this.#connection,
      api: { enabled: true, schemas: ["public"], max_rows: maxRows, pg_safe_update: true },
      auth: {
        enabled: true,
        jwt_secret: keys.jwtSecret,
        publishable_key: keys.publishable,
        secret_key: keys.secret,
      },
      options: { server: { admin: false, apiKeys: { resolver } } },
    });
  }

  #connection;
  #app;

  /** Answer a request (of fetch's kind). */
  answer(request, peerAddress) {
    return this.#app.fetch(request, { peerAddress });
  }

  /** Re-read the tables before the next request. */
  forget() {
    this.#connection.clearSchemaCache();
  }
}
