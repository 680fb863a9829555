import { webcrypto } from "node:crypto";
import { createServer } from "node:http";

globalThis.crypto ??= webcrypto; // Node.js 18

// settings come from the test.
export const settings = JSON.parse(process.env.RELYING_PARTY);

// serve answers each path with what its function gives for the address that
// was asked for: an address to go on to, or what is shown as JSON. A Response
// stands for itself.
export function serve(pages) {
  const [host, port] = settings.listen.split(":");
  pages["/ready"] ??= () => ({});
  createServer(async (request, response) => {
    const url = new URL(request.url, settings.origin);
    let answer;
    try {
      const page = pages[url.pathname];
      answer = page ? await page(url, request) : new Response("there is no such page", { status: 404 });
    } catch (error) {
      console.error(error);
      answer = new Response(`${error.name}: ${error.message}: ${error.code} ${error.error ?? ""} ${error.cause ?? ""}`, { status: 500 });
    }
    if (answer instanceof URL) answer = new Response(null, { status: 302, headers: { location: answer.href } });
    if (!(answer instanceof Response)) answer = Response.json(answer);
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    response.end(await answer.text());
  }).listen(port, host);
}

// privateKey is the key of the client, for private_key_jwt.
export async function privateKey() {
  const { kid } = settings.key;
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  return { kid, key: await crypto.subtle.importKey("jwk", settings.key, algorithm, false, ["sign"]) };
}
