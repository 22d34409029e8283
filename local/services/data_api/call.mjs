// Reads a request to /rest/v1/rpc/<name>.

import { isUtf8 } from "node:buffer";
import { ApiError } from "./errors.mjs";

export const SCHEMA = "public"; // the exposed one

const JSON_ANSWER = "application/json";
const OBJECT_ANSWER = "application/vnd.pgrst.object+json";
const ARRAY_ANSWER = "application/vnd.pgrst.array+json";
const STRIPPED = ";nulls=stripped";

// What is not an argument in a query string: PostgREST's own parameters, and filters of the result.
const RESERVED = new Set(["select", "columns", "order", "and", "or", "on_conflict"]);
const OPERATORS =
  "eq neq gt gte lt lte like ilike match imatch in is isdistinct fts plfts phfts wfts " +
  "cs cd ov sl sr nxr nxl adj";
const FILTER = new RegExp(`^(not\\.)?(${OPERATORS.replaceAll(" ", "|")})(\\(\\w+\\))?\\.`);

const PREFERENCES = {
  resolution: /^(merge|ignore)-duplicates$/,
  return: /^(representation|minimal|headers-only)$/,
  count: /^(exact|planned|estimated)$/,
  tx: /^(commit|rollback)$/,
  missing: /^(default|null)$/,
  handling: /^(strict|lenient)$/,
  timezone: /./,
  "max-affected": /./,
};

/**
 * The call of the function `name` that a request makes, or null if it needs what is not supported
 * here: filters, columns, sorting, a form, CSV.
 */
export function understood({ method, headers, name, query }) {
  const format = answerFormat(headers.accept);
  if (!format || (method === "POST" && !isJson(headers["content-type"]))) return null;
  const call = { ...format, method, headers, name, values: new Map() };
  for (const [key, value] of query) {
    if (key === "apikey") continue;
    if (key === "limit" || key === "offset") {
      if (!/^\d+$/.test(value)) return null;
      call[key] = Number(value);
    } else if (method !== "POST" && isArgument(key, value) && !call.values.has(key)) {
      call.values.set(key, value);
    } else {
      return null;
    }
  }
  return { ...call, prefer: preferences(headers.prefer) };
}

/** The schema that a request names, if any. Throws an ApiError for one that is not exposed. */
export function profileOf({ method, headers }) {
  const isWrite = ["POST", "PATCH", "PUT", "DELETE"].includes(method);
  const profile = headers[isWrite ? "content-profile" : "accept-profile"];
  if (profile === undefined || profile === SCHEMA) return profile;
  throw new ApiError(406, "PGRST106", `Invalid schema: ${profile}`, {
    hint: `Only the following schemas are exposed: ${SCHEMA}`,
  });
}

/** The requested rows, within the limit. Throws an ApiError for an empty range. */
export function rangeOf({ method, headers, limit = Infinity, offset = 0 }, maxRows) {
  if (limit === 0) return { offset: 0, limit: 0, isAll: false };
  const requested = method === "GET" ? /^(\d+)-(\d*)$/.exec(headers.range ?? "") : null;
  const first = Math.max(offset, Number(requested?.[1] ?? 0));
  const end = Math.min(offset + limit, requested?.[2] ? Number(requested[2]) + 1 : Infinity);
  if (first >= end) {
    throw new ApiError(416, "PGRST103", "Requested range not satisfiable", {
      details:
        "The lower boundary must be lower than or equal to the upper boundary in the Range header.",
    });
  }
  const isAll = first === 0 && end === Infinity;
  return { offset: first, limit: Math.min(end - first, maxRows), isAll };
}

/**
 * What a body holds: its text, the names of its arguments, and whether it is one object. Throws an
 * ApiError for what is not JSON, and for an array of objects with different keys.
 */
export function payload(body) {
  if (!isUtf8(body)) throw invalidBody();
  const text = body.toString();
  if (text === "") return { text, keys: [], isObject: true };
  const value = parsed(text);
  if (!Array.isArray(value)) {
    const keys = keysOf(value);
    return keys ? { text, keys, isObject: true } : { text: "[]", keys: [] };
  }
  if (!value.length) return { text, keys: [] };
  const keys = keysOf(value[0])?.sort();
  const alike = keys && value.every((row) => String(keysOf(row)?.sort()) === String(keys));
  if (!alike) throw invalidBody("All object keys must match");
  return { text, keys };
}

function isJson(contentType) {
  return contentType === undefined || /^application\/json\s*(;|$)/i.test(contentType);
}

function isArgument(key, value) {
  return !RESERVED.has(key) && !key.includes(".") && !FILTER.test(value);
}

// The first accepted type, if it is a JSON type.
function answerFormat(accept = "*/*") {
  const type = accept.split(",")[0].toLowerCase().replaceAll(" ", "").replace(/;q=[\d.]+/, "");
  if (type === "*/*" || type.startsWith(JSON_ANSWER)) return { type: JSON_ANSWER };
  const stripped = type.endsWith(STRIPPED);
  if (type.startsWith(OBJECT_ANSWER)) {
    return { type: OBJECT_ANSWER + (stripped ? STRIPPED : ""), stripped, single: true };
  }
  if (!type.startsWith(ARRAY_ANSWER)) return null;
  return stripped ? { type: ARRAY_ANSWER + STRIPPED, stripped } : { type: JSON_ANSWER };
}

function preferences(header = "") {
  const found = { unknown: [] };
  for (const preference of header.split(",").map((part) => part.trim())) {
    const [key, value] = preference.split("=", 2);
    if (PREFERENCES[key]?.test(value)) found[key] ??= value;
    else if (preference) found.unknown.push(preference);
  }
  return found;
}

function parsed(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalidBody();
  }
  if (/\\ud[89a-f]/i.test(text) && !isWellFormed(value)) throw invalidBody();
  return value;
}

function isWellFormed(value) {
  if (typeof value === "string") return value.isWellFormed();
  if (value === null || typeof value !== "object") return true;
  return Object.entries(value).every(([key, held]) => key.isWellFormed() && isWellFormed(held));
}

function keysOf(value) {
  const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
  return isObject ? Object.keys(value) : null;
}

function invalidBody(message = "Empty or invalid json") {
  return new ApiError(400, "PGRST102", message);
}
