// A real OpenID provider for the tests: node-oidc-provider with its own pages for signing in, and
// its CIBA. Beside it a second port by which a test plays the customer's device, and the provider's moods.

import http from "node:http";
import { once } from "node:events";
import Provider, { errors } from "oidc-provider";

const { REDIRECT_URI: redirect, CLIENT_SECRET: secret } = process.env;
const CLIENT = "countersign";
const CIBA = "urn:openid:params:grant-type:ciba";

const server = http.createServer();
server.listen(0, "127.0.0.1");
await once(server, "listening");
const issuer = `http://127.0.0.1:${server.address().port}`;

const asked = []; // what the customer's device shows
const moods = { slow: 0, expiresIn: 0, impostor: null, unknown: false, number: null, polls: 0, requests: 0 };

const provider = new Provider(issuer, {
  clients: [{
    client_id: CLIENT, client_secret: secret, redirect_uris: [redirect], response_types: ["code"], grant_types: ["authorization_code", CIBA],
    token_endpoint_auth_method: "client_secret_basic", backchannel_token_delivery_mode: "poll",
  }],
  clientBasedCORS: () => false,
  conformIdTokenClaims: false,
  claims: { openid: ["sub", "customer_number"] },
  acrValues: ["strong"],
  cookies: { keys: ["a key of these tests"] },
  // In this provider everybody's name is their account number with a letter before it.
  findAccount: (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id, customer_number: moods.number ?? id.replace(/^u/, "") }) }),
  pkce: { required: () => true },
  ttl: { BackchannelAuthenticationRequest: () => moods.expiresIn || 600 },
  features: {
    devInteractions: { enabled: true },
    ciba: {
      enabled: true,
      deliveryModes: ["poll"],
      processLoginHint: async (ctx, hint) => (moods.unknown ? undefined : moods.impostor ?? hint),
      processLoginHintToken: async () => undefined,
      validateRequestContext: async () => {},
      verifyUserCode: async () => {},
      triggerAuthenticationDevice: async (ctx, request) => {
        asked.push({ id: request.jti, account: request.accountId, message: ctx.oidc.params.binding_message, hint: ctx.oidc.params.login_hint, acr: ctx.oidc.params.acr_values });
      },
    },
  },
});

provider.use(async (ctx, next) => {
  if (ctx.path === "/backchannel") moods.requests += 1;
  if (ctx.path === "/token" && moods.slow > 0) {
    // CIBA Core §11; the library never says this by itself.
    moods.slow -= 1;
    [ctx.status, ctx.body] = [400, { error: "slow_down" }];
    return;
  }
  if (ctx.path === "/token") moods.polls += 1;
  await next();
});
server.on("request", provider.callback());

async function approve(id, account, acr) {
  const grant = new provider.Grant({ clientId: CLIENT, accountId: account });
  grant.addOIDCScope("openid");
  await grant.save();
  await provider.backchannelResult(id, grant, { acr, authTime: Math.floor(Date.now() / 1000) });
}

const control = http.createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  const wish = JSON.parse(body || "{}");
  try {
    if (request.url === "/approve") await approve(wish.id, wish.account, wish.acr);
    else if (request.url === "/deny") await provider.backchannelResult(wish.id, new errors.AccessDenied());
    else if (request.url === "/moods") Object.assign(moods, wish);
    response.end(JSON.stringify({ asked, moods }));
  } catch (e) {
    response.statusCode = 500;
    response.end(JSON.stringify({ error: String(e) }));
  }
});
control.listen(0, "127.0.0.1");
await once(control, "listening");
console.log(JSON.stringify({ issuer, control: `http://127.0.0.1:${control.address().port}` }));
