// A relying party made with openid-client.
import { privateKey, serve, settings } from "./serve.mjs";
import * as oidc from "openid-client";

const authentication = settings.private_key_jwt ? oidc.PrivateKeyJwt(await privateKey()) : oidc.ClientSecretBasic(settings.client_secret);
const config = await oidc.discovery(new URL(settings.issuer), settings.client_id, {}, authentication, {
  execute: [oidc.enableNonRepudiationChecks], // the signature of the ID token, too
});
const proof = settings.dpop ? { DPoP: oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair("ES256")) } : {};
let checks, idToken;

async function login() {
  checks = {
    pkceCodeVerifier: oidc.randomPKCECodeVerifier(),
    expectedState: oidc.randomState(),
    expectedNonce: oidc.randomNonce(),
    idTokenExpected: true,
  };
  const parameters = {
    redirect_uri: `${settings.origin}/callback`,
    scope: "openid email offline_access",
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
    code_challenge_method: "S256",
  };
  if (!settings.par) return oidc.buildAuthorizationUrl(config, parameters);
  return oidc.buildAuthorizationUrlWithPAR(config, parameters, proof);
}

async function callback(url) {
  const tokens = await oidc.authorizationCodeGrant(config, url, checks, undefined, proof);
  idToken = tokens.id_token;
  const claims = tokens.claims();
  const userinfo = await oidc.fetchUserInfo(config, tokens.access_token, claims.sub, proof);
  const asBearer = await fetch(config.serverMetadata().userinfo_endpoint, { headers: { authorization: `Bearer ${tokens.access_token}` } });
  const before = await oidc.tokenIntrospection(config, tokens.access_token);
  const fresh = await oidc.refreshTokenGrant(config, tokens.refresh_token, undefined, proof);
  await oidc.tokenRevocation(config, fresh.refresh_token);
  const after = await oidc.tokenIntrospection(config, fresh.access_token);
  const refused = await oidc.refreshTokenGrant(config, fresh.refresh_token, undefined, proof).catch((error) => error.error);
  return {
    claims,
    userinfo,
    as_bearer: asBearer.status,
    token_type: tokens.token_type,
    introspection: before,
    refreshed: { claims: fresh.claims(), token_type: fresh.token_type, rotated: fresh.refresh_token !== tokens.refresh_token },
    revoked: { introspection: after, refresh: refused },
  };
}

serve({
  "/login": login,
  "/callback": callback,
  "/logout": () => oidc.buildEndSessionUrl(config, { id_token_hint: idToken, post_logout_redirect_uri: `${settings.origin}/bye`, state: "so long" }),
  "/bye": (url) => ({ state: url.searchParams.get("state") }),
});
