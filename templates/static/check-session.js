// Tells a relying party whether its session is still the one of this browser
// (OIDC Session Management 1.0 §3.2).
"use strict";

(() => {
  const cookie = document.currentScript.dataset.cookie + "=";

  // Read for every message: the cookie changes while the frame stays.
  const browserState = () =>
    document.cookie.split("; ").find((pair) => pair.startsWith(cookie))?.slice(cookie.length) ?? "";

  const encode = (bytes) =>
    btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

  const answer = async (message, origin) => {
    // A client_id may hold spaces (RFC 6749 §A.1), a session_state never does.
    const parts = typeof message === "string" && message.match(/^(.+) ([\w-]{43})\.([\w-]+)$/);
    if (!parts) return "error";
    // Where the browser keeps cookies from frames, the state is not known: to say
    // "changed" would have the relying party ask again without end (§3.1).
    if ((await document.hasStorageAccess?.()) === false) return "error";
    if (!browserState()) return "changed"; // nobody is signed in: for that no state is given, and no stranger learns it by making one
    const [, client, hash, salt] = parts;
    const text = new TextEncoder().encode([client, origin, browserState(), salt].join(" "));
    const sum = await crypto.subtle.digest("SHA-256", text);
    return encode(new Uint8Array(sum)) === hash ? "unchanged" : "changed";
  };

  window.addEventListener("message", async ({ data, origin, source }) => {
    if (!source || origin === "null") return; // an answer could not be addressed
    // Without crypto.subtle, which insecure pages are denied, nothing can be said.
    const said = await answer(data, origin).catch(() => "error");
    source.postMessage(said, origin);
  });
})();
