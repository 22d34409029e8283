// The data API of the local stack. It answers as PostgREST does behind a hosted project's gateway:
// data_api/rpc.mjs calls functions; @supabase/lite, adapted by data_api/tables.mjs, does the rest.
// docs/data-api.md lists the differences.
//
// Environment: DATABASE_URL (of authenticator), ADMIN_URL (of a superuser), JWT_SECRET,
// SUPABASE_SECRET_KEY, SUPABASE_PUBLISHABLE_KEY, and optionally PORT (0: any free one), POOL
// (connections), STATEMENT_TIMEOUT (in place of authenticator's own), MAX_ROWS (1000).

import { getRequestListener } from "@hono/node-server";
import { SCHEMA, profileOf, understood } from "./data_api/call.mjs";
import { Catalogue } from "./data_api/catalogue.mjs";
import { Database } from "./data_api/database.mjs";
import { ApiError } from "./data_api/errors.mjs";
import { nearest } from "./data_api/hints.mjs";
import { Keys, Refusal } from "./data_api/keys.mjs";
import { decodedName } from "./data_api/routines.mjs";
import { Calls } from "./data_api/rpc.mjs";
import { NO_ROUTE, serve, whole } from "./data_api/server.mjs";

const env = process.env;
const pool = Number(env.POOL ?? 10);
const maxRows = Number(env.MAX_ROWS ?? 1000);

const keys = Keys.fromEnvironment(env);
const database = new Database(env.DATABASE_URL, { pool, statementTimeout: env.STATEMENT_TIMEOUT });
const catalogue = new Catalogue(database);
const calls = new Calls(database, catalogue, maxRows);
const answerByLite = getRequestListener(async (request, { incoming }) =>
  (await loadedTables()).answer(request, incoming.socket.remoteAddress ?? null),
);

// Loaded on demand: it takes most of the start-up time, and function calls do not need it.
let tables;
function loadedTables() {
  tables ??= import("./data_api/tables.mjs").then(
    ({ Tables }) => new Tables({ url: env.ADMIN_URL, catalogue, keys, maxRows, pool }),
  );
  return tables;
}

async function forget() {
  catalogue.forget();
  if (tables) (await tables).forget();
}

async function answer(request, response, { pathname: path, searchParams: query }) {
  if (!/^\/(rest|auth)\/v1\//.test(path)) throw new Refusal(404, NO_ROUTE);
  const { method, headers } = request;
  if (method === "OPTIONS" || path.startsWith("/auth/")) return answerByLite(request, response);
  const claims = keys.claims(headers, query);
  const [first, second, ...more] = path.slice("/rest/v1/".length).split("/");
  if (more.length || (second !== undefined && first !== "rpc")) {
    throw new ApiError(404, "PGRST125", "Invalid path specified in request URL");
  }
  if (second === undefined) {
    await checkTable(decodedName(first), request);
    return answerByLite(request, response);
  }
  const call = understood({ method, headers, name: second, query });
  if (!call) return answerByLite(request, response);
  return calls.answer(call, claims, method === "POST" ? await whole(request) : null);
}

async function checkTable(name, request) {
  profileOf(request);
  const { relations } = await catalogue.read();
  if (name === "" || relations.has(name)) return;
  const nearby = nearest([...relations], name, 0.75);
  const message = `Could not find the table '${SCHEMA}.${name}' in the schema cache`;
  throw new ApiError(404, "PGRST205", message, {
    hint: nearby && `Perhaps you meant the table '${SCHEMA}.${nearby}'`,
  });
}

database.listen("pgrst", forget);
serve({ port: Number(env.PORT ?? 0), name: "local", answer, reload: forget });
