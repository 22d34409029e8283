// Which function a call means: the one of that name that accepts its arguments.

import { SCHEMA } from "./call.mjs";
import { ApiError } from "./errors.mjs";
import { nearest } from "./hints.mjs";

// The similarity of names for a hint; for the arguments of a function less.
const LIKE_NAME = 0.75;
const LIKE_ARGUMENTS = 0.33;

/** The function; `given` are the names of the arguments. Throws an ApiError for none or several. */
export function chosen(functions, call, given) {
  const keys = new Set(given);
  const name = decodedName(call.name);
  const overloads = functions.get(name) ?? [];
  let fitting = overloads.filter((routine) => takes(routine, keys));
  if (!fitting.length && call.method === "POST") fitting = overloads.filter(takesBody);
  if (fitting.length === 1) return fitting[0];
  throw fitting.length ? ambiguous(fitting) : missing(functions, name, [...keys].sort(), call);
}

/** Whether the function's one argument is unnamed, so that it is the whole body. */
export function isNameless({ parameters }) {
  return parameters.length === 1 && parameters[0].name === "";
}

/** A name from a path. */
export function decodedName(encoded) {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded;
  }
}

function takes({ parameters }, keys) {
  const names = new Set(parameters.map(({ name }) => name));
  const hasRequired = parameters.every(({ name, required }) => !required || keys.has(name));
  return hasRequired && [...keys].every((key) => names.has(key));
}

function takesBody(routine) {
  return isNameless(routine) && ["json", "jsonb"].includes(routine.parameters[0].type);
}

function ambiguous(routines) {
  const candidates = routines.map(({ name, parameters }) => {
    const shown = parameters.map((parameter) => `${parameter.name} => ${parameter.shown}`);
    return `${SCHEMA}.${name}(${shown.join(", ")})`;
  });
  const message = `Could not choose the best candidate function between: ${candidates.join(", ")}`;
  return new ApiError(300, "PGRST203", message, {
    hint:
      "Try renaming the parameters or the function itself in the database so function " +
      "overloading can be resolved",
  });
}

function missing(functions, name, keys, { method }) {
  const listed = keys.join(", ");
  const parameters = keys.length ? `(${listed})` : " without parameters";
  const searched = keys.length
    ? ` with parameter${keys.length > 1 ? "s" : ""} ${listed}`
    : " without parameters";
  const orBody = method === "POST" ? " or with a single unnamed json/jsonb parameter" : "";
  const message = `Could not find the function ${SCHEMA}.${name}${parameters} in the schema cache`;
  return new ApiError(404, "PGRST202", message, {
    details:
      `Searched for the function ${SCHEMA}.${name}${searched}${orBody}, ` +
      "but no matches were found in the schema cache.",
    hint: hint(functions, name, keys),
  });
}

function hint(functions, name, keys) {
  const overloads = functions.get(name);
  const signatures = overloads?.map(({ parameters }) => signature(parameters.map((p) => p.name)));
  const found = overloads
    ? nearest(signatures, signature(keys), LIKE_ARGUMENTS)
    : nearest([...functions.keys()], name, LIKE_NAME);
  const hint = `Perhaps you meant to call the function ${SCHEMA}.${overloads ? name : ""}${found}`;
  return found && hint;
}

function signature(names) {
  return `(${[...names].sort().join(", ")})`;
}
