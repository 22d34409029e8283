// Who calls: how a hosted project's gateway reads an API key, and PostgREST a token.

import { createHmac, timingSafeEqual } from "node:crypto";
import { ApiError } from "./errors.mjs";

// The clock skew that PostgREST tolerates.
const SKEW_SECONDS = 30;
// The expiry of the tokens with which the gateway replaces a key: 2100-01-01.
const FAR_AWAY = 4102444800;

const UNREGISTERED = {
  message: "Unregistered API key",
  hint: "Double check the provided API key as it is not registered for this project.",
};
const INVALID = {
  message: "Invalid API key",
  hint: "Double check your Supabase `anon` or `service_role` API key.",
};
const MISSING = {
  message: "No API key found in request",
  hint: "No `apikey` request header or url param was found.",
};

/** An answer of the gateway's own: JSON without a `code`. */
export class Refusal extends Error {
  constructor(status, body) {
    super(body.message);
    this.status = status;
    this.body = JSON.stringify(body);
    this.allHeaders = { "content-type": "application/json" };
  }
}

export class Keys {
  static fromEnvironment({ SUPABASE_SECRET_KEY, SUPABASE_PUBLISHABLE_KEY, JWT_SECRET }) {
    return new Keys({
      secret: SUPABASE_SECRET_KEY,
      publishable: SUPABASE_PUBLISHABLE_KEY,
      jwtSecret: JWT_SECRET,
    });
  }

  /** `secret` and `publishable` are the keys sb_...; tokens are signed with `jwtSecret`. */
  constructor({ secret, publishable, jwtSecret }) {
    Object.assign(this, { secret, publishable, jwtSecret });
    this.#roles = new Map([[secret, "service_role"], [publishable, "anon"]]);
  }

  #roles;

  /** The claims of the sender of these headers. Throws a Refusal, or an ApiError as PostgREST. */
  claims(headers, query) {
    const { role, token } = this.#admit(headers, query);
    return role ? claimsOf(role) : this.#verified(token);
  }

  /** The token that the gateway forwards to PostgREST. Throws a Refusal. */
  token(headers, query) {
    const { role, token } = this.#admit(headers, query);
    return role ? this.#signed(claimsOf(role)) : token;
  }

  /** What @supabase/lite needs to know about a key, or null. */
  resolved(key) {
    try {
      const claims = this.claims({ apikey: key }, new URLSearchParams());
      const type = { [this.secret]: "secret", [this.publishable]: "publishable" }[key] ?? "legacy";
      return { type, claims };
    } catch {
      return null;
    }
  }

  // Either the key's role, or a token that has yet to be verified.
  #admit(headers, query) {
    const key = headers.apikey ?? query.get("apikey");
    if (!key) throw new Refusal(401, MISSING);
    const role = this.#roles.get(key);
    const looksLikeToken = key.split(".").length === 3;
    if (!role && !looksLikeToken) {
      throw new Refusal(401, key.startsWith("sb_") ? UNREGISTERED : INVALID);
    }
    const token = /^bearer (.*)$/i.exec(headers.authorization ?? "")?.[1] ?? key;
    return role && token === key ? { role } : { token };
  }

  #verified(token) {
    if (token === "") throw undecodable("Empty JWT is sent in Authorization header");
    const parts = token.split(".");
    if (parts.length !== 3) throw undecodable(`Expected 3 parts in JWT; got ${parts.length}`);
    const [header, payload, signature] = parts;
    if (!sameBytes(signature, this.#signature(`${header}.${payload}`))) {
      const details = "None of the keys was able to decode the JWT";
      throw undecodable("No suitable key or wrong key type", details);
    }
    return checked(decoded(payload));
  }

  #signed(claims) {
    const signed = `${encoded({ alg: "HS256", typ: "JWT" })}.${encoded(claims)}`;
    return `${signed}.${this.#signature(signed)}`;
  }

  #signature(text) {
    return createHmac("sha256", this.jwtSecret).update(text).digest("base64url");
  }
}

function claimsOf(role) {
  return { exp: FAR_AWAY, iss: "supabase", role };
}

function checked(claims) {
  const now = Math.floor(Date.now() / 1000);
  const rules = [
    ["exp", (at) => at < now - SKEW_SECONDS, "JWT expired"],
    ["nbf", (at) => at > now + SKEW_SECONDS, "JWT not yet valid"],
    ["iat", (at) => at > now + SKEW_SECONDS, "JWT issued at future"],
  ];
  for (const [name, isWrong, message] of rules) {
    const at = claims[name] ?? null;
    if (at === null) continue;
    if (typeof at !== "number") throw refusedClaim(`The JWT '${name}' claim must be a number`);
    if (isWrong(at)) throw refusedClaim(message);
  }
  return claims;
}

function decoded(payload) {
  try {
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
    if (claims !== null && typeof claims === "object" && !Array.isArray(claims)) return claims;
  } catch {
    // not JSON: refused below
  }
  throw refusedClaim("Parsing claims failed");
}

function encoded(value) {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function undecodable(message, details = null) {
  return refusedToken("PGRST301", message, details);
}

function refusedClaim(message) {
  return refusedToken("PGRST303", message, null);
}

function refusedToken(code, message, details) {
  const challenge = `Bearer error="invalid_token", error_description=${JSON.stringify(message)}`;
  return new ApiError(401, code, message, { details, headers: { "www-authenticate": challenge } });
}

function sameBytes(one, other) {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
