// The visible parts of a hosted project's gateway to PostgREST: keys, paths, its own errors.
//
// Environment: UPSTREAM (PostgREST's URL), NAME (its name and version), ADMIN_URL (the database as a
// superuser), JWT_SECRET, SUPABASE_SECRET_KEY, SUPABASE_PUBLISHABLE_KEY.
// It is ready once PostgREST is.

import { randomBytes } from "node:crypto";
import { Agent, request as ask } from "node:http";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import postgres from "postgres";
import { Keys, Refusal } from "./data_api/keys.mjs";
import { NO_ROUTE, serve } from "./data_api/server.mjs";

const env = process.env;
const keys = Keys.fromEnvironment(env);
// Idle connections are closed long before PostgREST closes them.
const agent = new Agent({ keepAlive: true, timeout: 5000 });
const POLL_MS = 20;
const POLLS_PER_NOTICE = 50; // a notice is lost while PostgREST is connecting
const MOST_POLLS = 1000;
// They belong to one connection, or the gateway generates them.
const OWN_HEADERS = ["connection", "keep-alive", "apikey", "host"];
const UNREACHABLE = { message: "An invalid response was received from the upstream server" };

const service = { apikey: env.SUPABASE_SECRET_KEY };

async function answer(request, response, { pathname: path, searchParams: query, search }) {
  if (!/^\/rest\/v1\//.test(path)) throw new Refusal(404, NO_ROUTE);
  const { method } = request;
  const headers = { ...request.headers };
  if (method !== "OPTIONS") {
    headers.authorization = `Bearer ${keys.token(request.headers, query)}`;
  }
  for (const name of OWN_HEADERS) delete headers[name];
  const upstream = await exchange(method, path.slice("/rest/v1".length) + search, headers, request);
  for (const name of ["connection", "keep-alive"]) delete upstream.headers[name];
  response.writeHead(upstream.statusCode, upstream.statusMessage, upstream.headers);
  await pipeline(upstream, response).catch(() => response.destroy());
}

function exchange(method, path, headers, body) {
  return new Promise((resolve, reject) => {
    const url = new URL(env.UPSTREAM);
    const { hostname, port } = url;
    const sent = ask({ hostname, port, method, path: path || "/", headers, agent }, resolve);
    sent.on("error", () => reject(new Refusal(502, UNREACHABLE)));
    if (body) pipeline(body, sent).catch(reject);
    else sent.end();
  });
}

async function statusOf(path, method = "GET") {
  const authorization = `Bearer ${keys.token(service, new URLSearchParams())}`;
  const upstream = await exchange(method, path, { authorization }).catch(() => null);
  upstream?.resume();
  return upstream?.statusCode;
}

// PostgREST reloads the schema some time after a notice. A function created for this shows when it
// has done so.
async function reload() {
  const marker = `reloaded_${randomBytes(6).toString("hex")}`;
  const sql = postgres(env.ADMIN_URL, { max: 1, onnotice() {} });
  try {
    await sql.unsafe(`create function public.${marker}() returns int language sql as 'select 1'`);
    for (let polls = 0; (await statusOf(`/rpc/${marker}`, "POST")) !== 200; polls++) {
      if (polls > MOST_POLLS) throw new Error("PostgREST did not reload the schema");
      if (polls % POLLS_PER_NOTICE === 0) await sql.unsafe("notify pgrst, 'reload schema'");
      await sleep(POLL_MS);
    }
  } finally {
    await sql.unsafe(`drop function if exists public.${marker}()`).catch(() => {});
    await sql.end();
  }
}

while ((await statusOf("/")) !== 200) await sleep(POLL_MS);
serve({ port: Number(env.PORT ?? 0), name: env.NAME, answer, reload });
