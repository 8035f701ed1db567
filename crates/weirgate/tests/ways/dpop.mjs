// oidc-provider with DPoP (RFC 9449), which demands nonces, and a resource that takes only what is bound:
// proofs are verified by jose. The first line of its output is its port.
//
//   WEIRGATE_TEST_OIDC   folder with node_modules (tests/oidc/oidc.sh install)
import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const modules = join(process.env.WEIRGATE_TEST_OIDC, "node_modules");
const load = (path) => import(pathToFileURL(join(modules, path)).href);
const { Provider } = await load("oidc-provider/lib/index.js");
const { EmbeddedJWK, calculateJwkThumbprint, jwtVerify } = await load("jose/dist/webapi/index.js").catch(() => load("jose/dist/node/esm/index.js"));

const seen = new Set();
const said = { tokens: 0, good: 0, challenged: 0 };
let issuer, provider;

/** What is wrong with a call, if anything is. */
async function judged(request) {
  const [word, token] = (request.headers.authorization ?? "").split(" ");
  if (word !== "DPoP") return "scheme";
  const held = await provider.ClientCredentials.find(token);
  if (!held?.isValid) return "token";
  const { payload, protectedHeader } = await jwtVerify(request.headers.dpop, EmbeddedJWK, { typ: "dpop+jwt", maxTokenAge: "60s" });
  if ((await calculateJwkThumbprint(protectedHeader.jwk)) !== held.jkt) return "key";
  if (payload.htm !== request.method || payload.htu !== issuer + request.url.split("?")[0]) return "place";
  if (payload.ath !== createHash("sha256").update(token).digest("base64url")) return "ath";
  if (seen.has(payload.jti)) return "replay";
  seen.add(payload.jti);
  return payload.nonce === "resource-nonce" ? undefined : "nonce";
}

const server = createServer(async (request, response) => {
  const answer = (status, body, headers = {}) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(body));
  };
  if (request.url === "/said") return answer(200, said);
  if (!request.url.startsWith("/things")) {
    if (request.url === "/token") said.tokens += 1;
    return provider.callback()(request, response);
  }
  const wrong = await judged(request).catch((error) => String(error));
  if (wrong) {
    said.challenged += wrong === "nonce" ? 1 : 0;
    const error = wrong === "nonce" ? "use_dpop_nonce" : "invalid_token";
    return answer(401, { wrong }, { "www-authenticate": `DPoP error="${error}"`, "dpop-nonce": "resource-nonce" });
  }
  said.good += 1;
  answer(200, { id: "1", name: "Thing 1", secret: "", nested: { a: "a", b: "" }, list: [] });
});
server.listen(0, "127.0.0.1", () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  provider = new Provider(issuer, {
    clients: [{ client_id: "weirgate", client_secret: "canary-dpop-client", grant_types: ["client_credentials"], redirect_uris: [], response_types: [], dpop_bound_access_tokens: true }],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
    },
  });
  console.log(server.address().port);
});
