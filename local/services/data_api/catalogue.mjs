// What PostgREST reads from a database's catalogue: functions, the names of tables and views, and
// the settings of roles.

import { ApiError } from "./errors.mjs";

// A function's settings that apply to the whole transaction (db-hoisted-tx-settings).
const HOISTED = [
  "statement_timeout", "plan_filter.statement_cost_limit", "default_transaction_isolation",
];
// A function may have one unnamed argument if it is of one of these types.
const NAMELESS = ["bytea", "json", "jsonb", "text", "xml"];

const list = (words) => words.map((word) => `'${word}'`).join(", ");

const FUNCTIONS = `
  with recursive bases as (
    select oid, oid as base, typbasetype from pg_type
    union all
    select bases.oid, t.oid, t.typbasetype
      from bases join pg_type t on t.oid = bases.typbasetype
  )
  select p.proname as name, p.proretset as set, p.provolatile as volatility,
         coalesce(a.arguments, '[]') as arguments, coalesce(s.settings, '[]') as settings,
         b.typtype = 'c' or coalesce(p.proargmodes::text[] && '{t,b,o}', false) as composite,
         b.oid = 'void'::regtype as void
    from pg_proc p
    join bases on bases.oid = p.prorettype and bases.typbasetype = 0
    join pg_type b on b.oid = bases.base
    left join lateral (
      select json_agg(json_build_object(
               'name', coalesce(name, ''),
               'type', case type
                 when 'bit'::regtype then 'bit varying'
                 when 'bit[]'::regtype then 'bit varying[]'
                 when 'character'::regtype then 'character varying'
                 when 'character[]'::regtype then 'character varying[]'
                 else type::regtype::text
               end,
               'shown', type::regtype::text,
               'required', place <= p.pronargs - p.pronargdefaults,
               'variadic', coalesce(mode = 'v', false)
             ) order by place) as arguments,
             count(*) - count(name) as nameless,
             (array_agg(type order by place))[1] as first
        from unnest(p.proargnames, p.proargtypes::oid[], p.proargmodes)
             with ordinality as _ (name, type, mode, place)
       where type is not null
    ) a on true
    left join lateral (
      select json_agg(array[split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)])
               as settings
        from unnest(p.proconfig) setting
       where split_part(setting, '=', 1) in (${list(HOISTED)})
    ) s on true
   where p.pronamespace = 'public'::regnamespace
     and p.prokind = 'f'
     and b.oid <> 'trigger'::regtype
     and (coalesce(a.nameless, 0) = 0
          or a.nameless = 1 and a.first::regtype::text in (${list(NAMELESS)}))
   order by p.pronargs, p.proargnames, p.proargtypes::oid[]::regtype[]::text[]`;

// The settings of the roles that authenticator may assume, which PostgREST applies.
const ROLES = `
  select r.rolname as role, split_part(own, '=', 1) as name,
         substr(own, strpos(own, '=') + 1) as value
    from pg_auth_members m
    join pg_roles r on r.oid = m.roleid
    cross join unnest(r.rolconfig) own
    join pg_settings known on known.name = split_part(own, '=', 1)
   where m.member = quote_ident(current_user)::regrole
     and (known.context = 'user' or has_parameter_privilege(current_user, known.name, 'set'))`;

const RELATIONS = `
  select relname as name from pg_class
   where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'm', 'f', 'p')
     and not relispartition`;

// The settings of every session of authenticator.
const SESSION = `
  select name, current_setting(name) as value
    from unnest(array['statement_timeout', 'lock_timeout']) name`;

const ISOLATION = "default_transaction_isolation";
const ISOLATION_LEVELS = ["serializable", "repeatable read"];

/** Read once, and re-read after `forget`. */
export class Catalogue {
  constructor(database) {
    this.#database = database;
  }

  #database;
  #reading = null;

  forget() {
    this.#reading = null;
  }

  /**
   * { functions: by name, relations: names, roles: by name, session: settings }. Throws an ApiError
   * when it cannot be read.
   */
  async read() {
    const reading = (this.#reading ??= this.#load());
    try {
      return await reading;
    } catch (error) {
      if (this.#reading === reading) this.forget();
      console.error(error);
      const message = "Could not query the database for the schema cache. Retrying.";
      throw new ApiError(503, "PGRST002", message);
    }
  }

  async #load() {
    const [functions, relations, roles, session] = await this.#database.query([
      FUNCTIONS, RELATIONS, ROLES, SESSION,
    ]);
    return {
      functions: Map.groupBy(functions.map(routine), ({ name }) => name),
      relations: new Set(relations.map(({ name }) => name)),
      roles: byRole(roles),
      session: session.map(({ name, value }) => [name, value]),
    };
  }
}

function routine({ name, arguments: parameters, settings, volatility, ...flags }) {
  const own = JSON.parse(settings);
  const is = Object.entries(flags).map(([flag, value]) => [flag, value === "t"]);
  return {
    name,
    ...Object.fromEntries(is), // set, composite, void
    parameters: JSON.parse(parameters),
    settings: own,
    isolation: isolation(own.find(([name]) => name === ISOLATION)?.[1]),
    readOnly: volatility !== "v",
    statements: new Map(),
  };
}

function byRole(rows) {
  const roles = new Map();
  for (const { role, name, value } of rows) {
    if (!roles.has(role)) roles.set(role, { settings: [] });
    const found = roles.get(role);
    if (name === ISOLATION) found.isolation = isolation(value);
    else found.settings.push([name, value]);
  }
  return roles;
}

function isolation(value) {
  if (value === undefined) return undefined;
  const level = value.toLowerCase();
  return ISOLATION_LEVELS.includes(level) ? level : "read committed";
}
