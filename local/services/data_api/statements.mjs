// The SQL of a call: the settings of its transaction, and the query for its result as JSON.

import { SCHEMA } from "./call.mjs";
import { isNameless } from "./routines.mjs";

const SEARCH_PATH = '"public", "public", "extensions"'; // the schema, then what hosted projects add

const quoted = (identifier) => `"${identifier.replaceAll('"', '""')}"`;

/**
 * The settings of the transaction, as { text, values }. The role's own settings precede the role,
 * which may not be allowed to set them.
 */
export function settings(call, claims, role, own, routine) {
  const { cookie, ...headers } = call.headers;
  const wanted = [
    ["search_path", SEARCH_PATH],
    ...own,
    ["role", role],
    ["request.jwt.claims", inOrder({ ...claims, role })],
    ["request.method", call.method],
    ["request.path", `/rpc/${call.name}`],
    ["request.headers", inOrder(headers)],
    ["request.cookies", JSON.stringify(cookies(cookie))],
    ...(call.prefer.timezone ? [["timezone", call.prefer.timezone]] : []),
    ...routine.settings,
  ];
  const parts = wanted.map((_, at) => `set_config($${2 * at + 1}, $${2 * at + 2}, true)`);
  return { text: `select ${parts.join(", ")}`, values: wanted.flat() };
}

/** The query, as { text, values }: `posted` is the body of a POST, `range` the rows wanted. */
export function query(routine, call, posted, range) {
  const given = posted ? new Set(posted.keys) : call.values;
  const parameters = routine.parameters.filter(({ name }) => given.has(name));
  const form = {
    source: posted ? (posted.isObject ? "object" : "array") : "values",
    counted: call.prefer.count === "exact" || call.prefer.count === "estimated",
    cut: routine.set || !range.isAll,
    type: call.type,
    head: call.method === "HEAD",
    names: parameters.map(({ name }) => name),
  };
  let values = parameters.map(({ name }) => call.values.get(name));
  if (posted) values = parameters.length || isNameless(routine) ? [posted.text] : [];
  const key = JSON.stringify(form);
  let text = routine.statements.get(key);
  if (text === undefined) {
    text = written(routine, call, parameters, form, values.length);
    routine.statements.set(key, text);
  }
  const limits = form.cut ? [String(range.limit), String(range.offset)] : [];
  return { text, values: [...values, ...limits] };
}

function written(routine, call, parameters, { source, counted, cut }, count) {
  const called = `${SCHEMA}.${quoted(routine.name)}`;
  const [given, passed] = isNameless(routine)
    ? ["", `$1::${routine.parameters[0].type}`]
    : passing(parameters, source);
  const rows = routine.composite
    ? `select called.* from ${given}${called}(${passed}) called`
    : `select called.value from ${given}(select ${called}(${passed}) as value) called`;
  return `with result as (${rows})
    select ${counted ? "(select count(*) from result)" : "null"}::text as total,
           ${routine.set ? "count(rows)" : "1"}::text as page,
           ${body(routine, call)}::text as body,
           nullif(current_setting('response.headers', true), '') as headers,
           nullif(current_setting('response.status', true), '') as status
      from (
        select result.* from result
        ${cut ? `limit $${count + 1}::bigint offset $${count + 2}::bigint` : ""}
      ) rows`;
}

// The source of the arguments and how they are passed: from the body's JSON by their types (from an
// array: by its first object), or each as text.
function passing(parameters, source) {
  if (!parameters.length) return ["", ""];
  const list = (shown) => parameters.map(shown).join(", ");
  const passed = (value) =>
    list((each, at) => {
      return `${each.variadic ? "variadic " : ""}${quoted(each.name)} := ${value(each, at)}`;
    });
  if (source === "values") {
    const text = ({ variadic }, at) => (variadic ? `array[$${at + 1}::text]` : `$${at + 1}::text`);
    return ["", passed((each, at) => `${text(each, at)}::${each.type}`)];
  }
  const read = source === "object" ? "json_to_record" : "json_to_recordset";
  const given = `(select $1::json as document) sent, lateral (
      select ${list(({ name }) => quoted(name))}
        from ${read}(sent.document) as _(${list(({ name, type }) => `${quoted(name)} ${type}`)})
       limit 1
    ) given, lateral `;
  return [given, passed(({ name }) => `given.${quoted(name)}`)];
}

function body({ set, composite }, { method, single, stripped }) {
  if (method === "HEAD") return "''";
  const rows = composite ? "json_agg(rows)" : "json_agg(rows.value)";
  const kept = stripped ? `json_strip_nulls(${rows})` : rows;
  return single || !set ? `coalesce(${kept} -> 0, 'null')` : `coalesce(${kept}, '[]')`;
}

function inOrder(object) {
  const pairs = Object.entries(object).sort(([one], [other]) => (one < other ? -1 : 1));
  return JSON.stringify(Object.fromEntries(pairs));
}

function cookies(header = "") {
  const pairs = header.split(";").map((pair) => pair.trim().split("="));
  const named = pairs.filter(([key]) => key);
  return Object.fromEntries(named.map(([key, ...rest]) => [key, rest.join("=")]));
}
