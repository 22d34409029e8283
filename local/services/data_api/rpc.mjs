// Calls of functions, answered as by PostgREST: JSON goes to Postgres unchanged, and the JSON of
// the result is returned unchanged.

import { payload, profileOf, rangeOf } from "./call.mjs";
import { ApiError } from "./errors.mjs";
import { chosen } from "./routines.mjs";
import { query, settings } from "./statements.mjs";

/** Answers calls over one database. */
export class Calls {
  /** `maxRows`: the most rows of a result; the others are silently left out. */
  constructor(database, catalogue, maxRows) {
    this.#database = database;
    this.#catalogue = catalogue;
    this.#maxRows = maxRows;
  }

  #database;
  #catalogue;
  #maxRows;

  /**
   * The answer to a call: { status, headers, body }. `bytes` is the body of a POST. Throws an
   * ApiError.
   */
  async answer(call, claims, bytes) {
    if (!["GET", "HEAD", "POST"].includes(call.method)) {
      throw new ApiError(405, "PGRST101", `Cannot use the ${call.method} method on RPC`);
    }
    const profile = profileOf(call);
    const range = rangeOf(call, this.#maxRows);
    const posted = call.method === "POST" ? payload(bytes) : null;
    const { functions, roles } = await this.#catalogue.read();
    const routine = chosen(functions, call, posted?.keys ?? [...call.values.keys()]);
    checkPreferences(call.prefer, routine);

    const role = String(claims.role ?? "anon");
    const own = roles.get(role);
    const level = routine.isolation ?? own?.isolation ?? "read committed";
    const mode = !posted || routine.readOnly ? "read only" : "read write";
    const row = await this.#database.transaction(
      `begin isolation level ${level} ${mode}`,
      [
        settings(call, claims, role, own?.settings ?? [], routine),
        query(routine, call, posted, range),
      ],
      role !== "anon",
      approval(call),
    );
    return withItsOwn(row, answered(call, routine, row, range, profile));
  }
}

function checkPreferences(prefer, routine) {
  if (prefer.handling !== "strict") return;
  if (prefer.unknown.length) {
    throw new ApiError(400, "PGRST122", "Invalid preferences given with handling=strict", {
      details: `Invalid preferences: ${prefer.unknown.join(", ")}`,
    });
  }
  if (prefer["max-affected"] && !routine.set) {
    const message =
      "Function must return SETOF or TABLE when max-affected preference is used with " +
      "handling=strict";
    throw new ApiError(400, "PGRST128", message);
  }
}

// What is checked before the transaction is committed, if anything.
function approval({ single, prefer }) {
  const most = prefer.handling === "strict" ? Number(prefer["max-affected"]) : NaN;
  if (!single && Number.isNaN(most)) return undefined;
  return ({ page }) => {
    if (single && page !== "1") {
      throw new ApiError(406, "PGRST116", "Cannot coerce the result to a single JSON object", {
        details: `The result contains ${page} rows`,
      });
    }
    if (Number(page) > most) {
      const message = "Query result exceeds max-affected preference constraint";
      throw new ApiError(400, "PGRST124", message, {
        details: `The query affects ${page} rows`,
      });
    }
  };
}

function answered({ type, prefer }, routine, row, { offset }, profile) {
  const [page, total] = [Number(row.page), row.total ?? "*"];
  const rows = page > 0 && total !== "0" ? `${offset}-${offset + page - 1}` : "*";
  const headers = { "content-range": `${rows}/${total}`, ...applied(prefer) };
  if (routine.void) return { status: 204, headers, body: null };

  headers["content-type"] = `${type}; charset=utf-8`;
  if (profile !== undefined) headers["content-profile"] = profile;
  if (row.total === null || page >= Number(total)) return { status: 200, headers, body: row.body };
  if (offset <= Number(total)) return { status: 206, headers, body: row.body };
  const beyond = new ApiError(416, "PGRST103", "Requested range not satisfiable", {
    details: `An offset of ${offset} was requested, but there are only ${total} rows.`,
  });
  return { status: 416, headers, body: beyond.body };
}

function applied({ count, handling, timezone, ...prefer }) {
  const most = handling === "strict" ? prefer["max-affected"] : undefined;
  const words = Object.entries({ count, handling, timezone, "max-affected": most })
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${value}`);
  return words.length ? { "preference-applied": words.join(", ") } : {};
}

// A function may set the status and headers of its answer.
function withItsOwn(row, { status, headers, body }) {
  if (row.status !== null && !/^\d+/.test(row.status)) {
    throw new ApiError(500, "PGRST112", "response.status guc must be a valid status code");
  }
  return {
    status: row.status === null ? status : parseInt(row.status, 10),
    headers: row.headers === null ? headers : { ...headers, ...itsHeaders(row.headers) },
    body,
  };
}

function itsHeaders(text) {
  try {
    const pairs = JSON.parse(text).map((each) => Object.entries(each));
    if (pairs.every(([pair, ...more]) => typeof pair[1] === "string" && !more.length)) {
      return Object.fromEntries(pairs.map(([[key, value]]) => [key.toLowerCase(), value]));
    }
  } catch {
    // not JSON, or not an array of objects: refused below
  }
  const message =
    "response.headers guc must be a JSON array composed of objects with a single key and a " +
    "string value";
  throw new ApiError(500, "PGRST111", message);
}
