// PostgREST's error messages and their HTTP statuses.
// https://docs.postgrest.org/en/stable/references/errors.html

const JSON_TYPE = "application/json; charset=utf-8";

const STATUS_OF_CODE = {
  23503: 409, 23505: 409, 25006: 405, 53400: 500, "57P01": 503, P0001: 400, "42P01": 404,
  42883: 404, "42P17": 500,
};
const STATUS_OF_CLASS = {
  "08": 503, "09": 500, "0L": 403, "0P": 403, 25: 500, 28: 403, "2D": 500, 38: 500, 39: 500,
  "3B": 500, 40: 500, 53: 503, 54: 500, 55: 500, 57: 500, 58: 500, F0: 500, HV: 500, P0: 500,
  XX: 500,
};

/** An error answer: PostgREST's own, or one that it passes on from Postgres. */
export class ApiError extends Error {
  constructor(status, code, message, { details = null, hint = null, headers = {}, reason } = {}) {
    super(message);
    Object.assign(this, { status, code, details, hint, headers, reason });
  }

  get body() {
    const { code, details, hint, message } = this;
    return JSON.stringify({ code, details, hint, message });
  }

  /** The headers of the answer. */
  get allHeaders() {
    return {
      "content-type": JSON_TYPE,
      ...(this.status === 503 && { "retry-after": "0" }),
      ...this.headers,
    };
  }
}

/** A Postgres error as PostgREST passes it on. `authenticated`: the role is not anon. */
export function fromPostgres({ code, message, detail, hint }, authenticated) {
  if (code === "PGRST") return fromRaise(message, detail);
  const status = statusOf(code, message, authenticated);
  return new ApiError(status, code, message, {
    details: detail ?? null,
    hint: hint ?? null,
    headers: status === 401 ? { "www-authenticate": "Bearer" } : {},
    reason: code.startsWith("PT") ? message : undefined,
  });
}

export function statusOf(code, message, authenticated) {
  if (code === "42501") return authenticated ? 403 : 401;
  // the client's error if safeupdate refuses, otherwise the function's
  if (code === "21000") return message.endsWith("requires a WHERE clause") ? 400 : 500;
  if (code === "22023") return /^role .* does not exist$/.test(message) ? 401 : 400;
  if (code.startsWith("PT")) return /^[1-9]\d\d$/.test(code.slice(2)) ? Number(code.slice(2)) : 500;
  return STATUS_OF_CODE[code] ?? STATUS_OF_CLASS[code.slice(0, 2)] ?? 400;
}

// With `raise sqlstate 'PGRST'` a function determines the whole answer.
function fromRaise(message, detail) {
  const parsed = object(message);
  if (parsed?.code === undefined || parsed.message === undefined) {
    return unreadable(
      `Invalid JSON value for MESSAGE: '${message}'`,
      "MESSAGE must be a JSON object with obligatory keys: 'code', 'message' and optional keys: " +
        "'details', 'hint'.",
    );
  }
  const rest = object(detail ?? "");
  if (!Number.isInteger(rest?.status) || typeof rest.headers !== "object") {
    return unreadable(
      detail
        ? `Invalid JSON value for DETAIL: '${detail}'`
        : "DETAIL is missing in the RAISE statement",
      "DETAIL must be a JSON object with obligatory keys: 'status', 'headers' and optional key: " +
        "'status_text'.",
    );
  }
  const { details = null, hint = null } = parsed;
  const { status, headers, status_text: reason } = rest;
  return new ApiError(status, parsed.code, parsed.message, { details, hint, headers, reason });
}

function unreadable(details, hint) {
  const message = "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error";
  return new ApiError(500, "PGRST121", message, { details, hint });
}

function object(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}
