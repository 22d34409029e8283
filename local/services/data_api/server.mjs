// An HTTP server that answers with what its handler returns or throws.

import { createServer } from "node:http";
import { ApiError } from "./errors.mjs";
import { Refusal } from "./keys.mjs";

export const NO_ROUTE = { message: "no Route matched with those values" };
const UNEXPECTED = { message: "An unexpected error occurred" };
const EXPOSED = "Content-Range, Content-Location, Preference-Applied";

/**
 * Serve on a port of 127.0.0.1 until SIGINT or SIGTERM; 0 is any free one. `answer` gets request,
 * response and the URL, and returns { status, headers, body, reason }, or nothing if it has sent the
 * response itself. `reload` is called for POST /__control/reload. Prints "Data API: <name>" and
 * "ready <port>" on stdout.
 */
export function serve({ port, name, answer, reload }) {
  async function handle(request, response) {
    const url = new URL(request.url, "http://localhost");
    if (!url.pathname.startsWith("/__control/")) return answer(request, response, url);
    if (request.method !== "POST" || url.pathname !== "/__control/reload") {
      throw new Refusal(404, NO_ROUTE);
    }
    await reload();
    return { status: 200, headers: { "content-type": "application/json" }, body: '{"ok": true}' };
  }

  const server = createServer((request, response) => {
    handle(request, response)
      .catch((error) => refusal(error))
      .then((answered) => answered && send(request, response, answered));
  });
  server.keepAliveTimeout = 0; // a client's idle connection is never closed under its next request
  server.listen(port, "127.0.0.1", () => {
    console.log(`Data API: ${name}\nready ${server.address().port}`);
  });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
}

/** The body of a request. */
export async function whole(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return parts.length === 1 ? parts[0] : Buffer.concat(parts);
}

function refusal(error) {
  let known = error;
  if (!(error instanceof ApiError || error instanceof Refusal)) {
    if (error.code === "ECONNRESET") return null; // the client has disconnected
    console.error(error);
    known = new Refusal(500, UNEXPECTED);
  }
  const { status, body, allHeaders, reason } = known;
  return { status, headers: allHeaders, body, reason };
}

function send(request, response, { status, headers, body, reason }) {
  if (response.headersSent) return response.destroy();
  const isEmpty = body === null || request.method === "HEAD";
  const all = {
    ...headers,
    ...(!isEmpty && { "content-length": Buffer.byteLength(body) }),
    ...(request.headers.origin && {
      "access-control-allow-origin": "*",
      "access-control-expose-headers": EXPOSED,
    }),
  };
  response.writeHead(status, ...(reason ? [reason] : []), all);
  response.end(isEmpty ? undefined : body);
  return undefined;
}
