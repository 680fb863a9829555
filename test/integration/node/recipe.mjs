// The recipe of docs/integrations/code.md in what it leaves to its reader.
import { serve, settings } from "./serve.mjs";
import * as oidc from "openid-client";

const AsyncFunction = (async () => {}).constructor;
const begin = new AsyncFunction(
  "oidc",
  "secret",
  "ends",
  `${settings.begin}
  ends(async (url) => {
    ${settings.callback}
    return { claims: { ...tokens.claims(), sub, email }, userinfo: await oidc.fetchUserInfo(config, tokens.access_token, sub), token_type: tokens.token_type };
  });
  return to;`,
);
let callback;
serve({
  "/login": () => begin(oidc, settings.client_secret, (end) => (callback = end)),
  "/callback": (url) => callback(url),
});
