// A client and a server of the Model Context Protocol, of which nothing is here
// but the authorization. They know nothing of each other, and of the provider
// only the server does; all the rest is found.
import { serve, settings } from "./serve.mjs";
import * as oauth from "oauth4webapi";

const resource = new URL("/mcp", settings.origin);
const metadata = new URL("/.well-known/oauth-protected-resource/mcp", settings.origin); // RFC 9728 §3.1
const issuer = new URL(settings.issuer);
const redirectURI = `http://${settings.listen}/callback`; // of a program on the person's machine
let as, client, verifier, state;

// mcp is the server. It takes tokens that are for it (RFC 9068 §4).
async function mcp(url, { method, headers }) {
  const challenge = { "www-authenticate": `Bearer resource_metadata="${metadata}"` }; // RFC 9728 §5.1
  if (!headers.authorization) return new Response(null, { status: 401, headers: challenge });
  const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: "oauth2" }));
  return oauth.validateJwtAccessToken(as, new Request(url, { method, headers }), resource.href);
}

// login is the client, from the address of the server to that of the form.
async function login() {
  const refused = await fetch(resource);
  const [, where] = /resource_metadata="([^"]+)"/.exec(refused.headers.get("www-authenticate"));
  const found = await oauth.processResourceDiscoveryResponse(resource, await fetch(where));
  const at = new URL(found.authorization_servers[0]);
  as = await oauth.processDiscoveryResponse(at, await oauth.discoveryRequest(at, { algorithm: "oauth2" }));
  if (!as.code_challenge_methods_supported?.includes("S256")) throw new Error("the provider doesn't say that it knows S256");
  client = await oauth.processDynamicClientRegistrationResponse(
    await oauth.dynamicClientRegistrationRequest(as, {
      client_name: "Inspector",
      application_type: "native",
      redirect_uris: [redirectURI],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
    }),
  );
  verifier = oauth.generateRandomCodeVerifier();
  state = oauth.generateRandomState();
  const url = new URL(as.authorization_endpoint);
  url.search = new URLSearchParams({
    client_id: client.client_id,
    response_type: "code",
    redirect_uri: redirectURI,
    scope: found.scopes_supported.join(" "),
    resource: resource.href,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  });
  return url;
}

async function callback(url) {
  const forServer = { additionalParameters: { resource: resource.href } }; // RFC 8707 §2.2
  const parameters = oauth.validateAuthResponse(as, client, url, state);
  const tokens = await oauth.processAuthorizationCodeResponse(
    as,
    client,
    await oauth.authorizationCodeGrantRequest(as, client, oauth.None(), parameters, redirectURI, verifier, forServer),
  );
  const fresh = await oauth.processRefreshTokenResponse(
    as,
    client,
    await oauth.refreshTokenGrantRequest(as, client, oauth.None(), tokens.refresh_token, forServer),
  );
  return { client_id: client.client_id, server: await use(tokens.access_token), refreshed: await use(fresh.access_token) };
}

// use gives what the server knows of a token.
async function use(token) {
  const answer = await oauth.protectedResourceRequest(token, "GET", resource);
  if (!answer.ok) throw new Error(`the server refused the token: ${await answer.text()}`);
  return answer.json();
}

serve({
  "/mcp": mcp,
  [metadata.pathname]: () => ({ resource, authorization_servers: [settings.issuer], scopes_supported: ["openid", "email", "offline_access"] }),
  "/login": login,
  "/callback": callback,
});
