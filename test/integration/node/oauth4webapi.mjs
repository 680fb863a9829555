// A relying party made with oauth4webapi that checks all that it can.
import { privateKey, serve, settings } from "./serve.mjs";
import * as oauth from "oauth4webapi";

const issuer = new URL(settings.issuer);
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: "oidc" }));
const client = { client_id: settings.client_id, require_auth_time: true };
const authentication = settings.private_key_jwt ? oauth.PrivateKeyJwt(await privateKey()) : oauth.ClientSecretPost(settings.client_secret);
const proof = settings.dpop ? { DPoP: oauth.DPoP(client, await oauth.generateKeyPair("ES256")) } : {};
const redirectURI = `${settings.origin}/callback`;
const maxAge = 600;
let verifier, state, nonce;

// proven sends a request once more when the server wants its nonce in the
// proof (RFC 9449 §8).
async function proven(send, process) {
  try {
    return await process(await send());
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return process(await send());
  }
}

async function login() {
  verifier = oauth.generateRandomCodeVerifier();
  state = oauth.generateRandomState();
  nonce = oauth.generateRandomNonce();
  const parameters = new URLSearchParams({
    client_id: client.client_id,
    response_type: "code",
    redirect_uri: redirectURI,
    scope: "openid email",
    max_age: maxAge,
    state,
    nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  });
  const url = new URL(as.authorization_endpoint);
  url.search = parameters;
  if (!settings.par) return url;
  const pushed = await proven(
    () => oauth.pushedAuthorizationRequest(as, client, authentication, parameters, proof),
    (answer) => oauth.processPushedAuthorizationResponse(as, client, answer),
  );
  url.search = new URLSearchParams({ client_id: client.client_id, request_uri: pushed.request_uri });
  return url;
}

async function callback(url) {
  const parameters = oauth.validateAuthResponse(as, client, url, state);
  let answer;
  const tokens = await proven(
    async () => (answer = await oauth.authorizationCodeGrantRequest(as, client, authentication, parameters, redirectURI, verifier, proof)),
    (response) => oauth.processAuthorizationCodeResponse(as, client, response, { expectedNonce: nonce, maxAge, requireIdToken: true }),
  );
  await oauth.validateApplicationLevelSignature(as, answer);
  const claims = oauth.getValidatedIdTokenClaims(tokens);
  const userinfo = await proven(
    () => oauth.userInfoRequest(as, client, tokens.access_token, proof),
    (response) => oauth.processUserInfoResponse(as, client, claims.sub, response),
  );
  return {
    claims,
    userinfo,
    token_type: tokens.token_type,
    iss: { promised: as.authorization_response_iss_parameter_supported, given: url.searchParams.get("iss") },
    at_hash: { given: claims.at_hash, computed: await halfHash(tokens.access_token) },
  };
}

// halfHash is at_hash of an ID token that RS256 signs (OIDC Core §3.1.3.6).
async function halfHash(token) {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token));
  return Buffer.from(hash.slice(0, 16)).toString("base64url");
}

serve({ "/login": login, "/callback": callback });
