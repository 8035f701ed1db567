// An OpenID Connect provider on a port of this machine. Who signs in, and how, is what was said last to
// POST /control; everybody agrees to everything. The first line of its output is its issuer.
//
//   WEIRGATE_TEST_OIDC   folder with node_modules (oidc.sh install)
//   REDIRECT_URI         where it may send people back to; several with commas between
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const { WEIRGATE_TEST_OIDC: folder, REDIRECT_URI } = process.env;
const entry = join(folder, "node_modules/oidc-provider/lib/index.js");
const { Provider } = await import(pathToFileURL(entry).href);

/** Who signs in next. */
const person = { account: "u-1", amr: ["pwd", "otp", "mfa"], groups: ["staff"], name: "Grace" };
let number = 0;
let provider;

function key() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  number += 1;
  return { ...privateKey.export({ format: "jwk" }), kid: `key-${number}`, use: "sig", alg: "RS256" };
}

function make(issuer) {
  provider = new Provider(issuer, {
    clients: [
      {
        client_id: "weirgate",
        client_secret: "canary-oidc-client-secret-5e1c",
        redirect_uris: REDIRECT_URI.split(","),
        response_types: ["code"],
        grant_types: ["authorization_code", "refresh_token"],
      },
    ],
    acrValues: ["urn:test:mfa"],
    claims: {
      openid: ["sub", "amr", "acr"],
      profile: ["name"],
      email: ["email", "email_verified"],
      groups: ["groups"],
    },
    conformIdTokenClaims: false,
    cookies: { keys: ["a key of this test"] },
    features: { devInteractions: { enabled: false }, revocation: { enabled: true } },
    issueRefreshToken: () => true,
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({
        sub: id,
        name: person.name,
        email: person.email ?? `${id}@corp.example`,
        email_verified: true,
        groups: person.groups,
      }),
    }),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    jwks: { keys: [key()] },
    pkce: { required: () => true },
    scopes: ["openid", "profile", "email", "groups"],
  });
}

async function interaction(request, response) {
  const { prompt, session } = await provider.interactionDetails(request, response);
  let result;
  if (prompt.name === "login") {
    if (person.refuses) result = { error: "access_denied" };
    else result = { login: { accountId: person.account, amr: person.amr, acr: person.acr } };
  } else {
    const grant = new provider.Grant({ accountId: session.accountId, clientId: "weirgate" });
    grant.addOIDCScope("openid profile email groups");
    result = { consent: { grantId: await grant.save() } };
  }
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

const server = createServer(async (request, response) => {
  if (request.method === "POST" && request.url === "/control") {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { rotate, ...said } = JSON.parse(Buffer.concat(chunks).toString());
    Object.assign(person, said);
    if (rotate) make(provider.issuer);
    response.end("{}");
  } else if (request.url.startsWith("/interaction/")) {
    await interaction(request, response);
  } else {
    provider.callback()(request, response);
  }
});
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  make(issuer);
  console.log(issuer);
});
