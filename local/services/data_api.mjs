// The data API of the local stack: @supabase/lite on real Postgres, made to answer as PostgREST
// does where plain lite does not (checked with @supabase/lite 0.10.0 and postgres 3.4.9).
//
// Environment: DATABASE_URL, JWT_SECRET, SUPABASE_SECRET_KEY, SUPABASE_PUBLISHABLE_KEY, and
// optionally PORT (0: any free one), POOL (connections), STATEMENT_TIMEOUT (of service_role).
// The first line on stdout is "ready <port>". POST /__control/reload forgets the cached schema.

import { createHmac, timingSafeEqual } from "node:crypto";
import { App } from "@supabase/lite";
import { PostgresConnection } from "@supabase/lite/postgres";
import { serve } from "@hono/node-server";

const env = process.env;

// --- Values -------------------------------------------------------------------------------

// lite turns JSON arguments of functions into text itself; encoding them once more would make
// every jsonb argument a JSON string.
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

// --- Errors -------------------------------------------------------------------------------

// lite maps these by itself; everything else it would call an internal error.
const MAPPED_BY_LITE = new Set(["42501", "42P01", "42883", "42703", "42P17"]);

// https://docs.postgrest.org/en/stable/references/errors.html
const STATUS_OF_CODE = {
  23503: 409, 23505: 409, 25006: 405, 53400: 500, 57014: 500, P0001: 400,
};
const STATUS_OF_CLASS = {
  "08": 503, "09": 500, "0L": 403, "0P": 403, 25: 500, 28: 403, "2D": 500, 38: 500, 39: 500,
  "3B": 500, 40: 500, 53: 503, 54: 500, 55: 500, 57: 500, 58: 500, F0: 500, HV: 500, P0: 500,
  XX: 500,
};

function statusOf(code) {
  return STATUS_OF_CODE[code] ?? STATUS_OF_CLASS[code.slice(0, 2)] ?? 400;
}

function isPlainSqlState(code) {
  if (typeof code !== "string" || !/^[0-9A-Z]{5}$/.test(code)) return false;
  return !MAPPED_BY_LITE.has(code) && code !== "PGRST" && !code.startsWith("PT");
}

// lite passes an error with code PGRST through as it is: message is the body, detail the status.
function passThrough(error) {
  const { code, message, detail, hint } = error;
  return Object.assign(new Error(), {
    code: "PGRST",
    message: JSON.stringify({ code, message, details: detail ?? undefined, hint: hint ?? undefined }),
    detail: JSON.stringify({ status: statusOf(code), headers: {} }),
  });
}

// --- Connection ---------------------------------------------------------------------------

// What hosted projects set on their roles.
const TIMEOUTS = { anon: "3s", authenticated: "8s", service_role: env.STATEMENT_TIMEOUT ?? "8s" };

class Connection extends PostgresConnection {
  // Says "roles are set up", or lite would grant every table to anon on the first request.
  rlsState = "active";

  normalizeDbError(error) {
    const normal = super.normalizeDbError(error);
    return isPlainSqlState(normal?.code) ? passThrough(normal) : normal;
  }

  // PostgREST applies the settings of the role that it acts for.
  async applyJwtSessionContext(transaction, context, ...rest) {
    await super.applyJwtSessionContext(transaction, context, ...rest);
    const timeout = TIMEOUTS[context.auth?.role ?? "anon"] ?? "8s";
    await transaction.executeQuery({
      sql: `set local statement_timeout = '${timeout}'`,
      parameters: [],
      query: { kind: "RawNode", sqlFragments: [], parameters: [] },
      queryId: { queryId: "statement_timeout" },
    });
  }
}

// --- Keys ---------------------------------------------------------------------------------

function sameBytes(one, other) {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function verifiedClaims(token) {
  const [header, payload, signature] = token.split(".");
  if (!signature) return null;
  const wanted = createHmac("sha256", env.JWT_SECRET).update(`${header}.${payload}`);
  if (!sameBytes(signature, wanted.digest("base64url"))) return null;
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
  return claims.exp && claims.exp * 1000 < Date.now() ? null : claims;
}

// Both generations of keys, as hosted projects take both: sb_... and the older signed tokens.
async function resolveKey(key) {
  if (key === env.SUPABASE_SECRET_KEY) return { type: "secret", claims: { role: "service_role" } };
  if (key === env.SUPABASE_PUBLISHABLE_KEY) return { type: "publishable", claims: { role: "anon" } };
  const claims = verifiedClaims(key);
  return claims && { type: "legacy", claims };
}

// --- Server -------------------------------------------------------------------------------

const connection = new Connection({
  url: env.DATABASE_URL,
  postgresOptions: { max: Number(env.POOL ?? 10), onnotice() {}, types },
});

// As PostgREST: NOTIFY pgrst, 'reload schema'.
await connection.driver.listen("pgrst", () => connection.clearSchemaCache());

const app = new App({
  connection,
  api: { enabled: true, schemas: ["public"], max_rows: 1000, pg_safe_update: true },
  auth: {
    enabled: true,
    jwt_secret: env.JWT_SECRET,
    publishable_key: env.SUPABASE_PUBLISHABLE_KEY,
    secret_key: env.SUPABASE_SECRET_KEY,
  },
  options: { server: { admin: false, apiKeys: { resolver: resolveKey } } },
});

async function answer(request, { incoming }) {
  if (request.method === "POST" && new URL(request.url).pathname === "/__control/reload") {
    connection.clearSchemaCache();
    return Response.json({ ok: true });
  }
  return app.fetch(request, { peerAddress: incoming.socket.remoteAddress ?? null });
}

const address = { port: Number(env.PORT ?? 0), hostname: "127.0.0.1" };
const server = serve({ ...address, fetch: answer }, ({ port }) => console.log(`ready ${port}`));
server.keepAliveTimeout = 0; // a client's idle connection is never closed under its next request

for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
