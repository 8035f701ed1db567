// oidc-provider whose refresh tokens rotate and whose access tokens end after three seconds: a refresh token
// that is shown twice revokes all that came of it. And a resource that takes only tokens in force.
// The first line of its output is its port, the second a refresh token.
//
//   WEIRGATE_TEST_OIDC   folder with node_modules (tests/oidc/oidc.sh install)
import { createServer } from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const entry = join(process.env.WEIRGATE_TEST_OIDC, "node_modules/oidc-provider/lib/index.js");
const { Provider } = await import(pathToFileURL(entry).href);
const SECRET = "canary-rotation-client";
const said = { refreshed: 0, revoked: 0, good: 0, refused: 0, failed: [] };
let provider;

const server = createServer(async (request, response) => {
  const answer = (status, body) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  };
  if (request.url === "/said") return answer(200, said);
  if (!request.url.startsWith("/things")) return provider.callback()(request, response);
  const [, token] = (request.headers.authorization ?? "").split(" ");
  const held = await provider.AccessToken.find(token);
  if (!held?.isValid) {
    said.refused += 1;
    return answer(401, { error: "invalid_token" });
  }
  said.good += 1;
  answer(200, { id: "1", name: "Thing 1", secret: "", nested: { a: "a", b: "" }, list: [] });
});
server.listen(0, "127.0.0.1", async () => {
  const { port } = server.address();
  provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [
      {
        client_id: "weirgate",
        client_secret: SECRET,
        grant_types: ["authorization_code", "refresh_token"],
        redirect_uris: ["https://weirgate.example/connect/things/callback"],
        response_types: ["code"],
      },
    ],
    features: { devInteractions: { enabled: false } },
    findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    rotateRefreshToken: true,
    scopes: ["openid", "offline_access"],
    ttl: { AccessToken: 3, RefreshToken: 86_400, Grant: 86_400 },
  });
  provider.on("grant.success", () => (said.refreshed += 1));
  provider.on("grant.revoked", () => (said.revoked += 1));
  provider.on("grant.error", (_, error) => said.failed.push(error.message));
  const client = await provider.Client.find("weirgate");
  const grant = new provider.Grant({ accountId: "u-1", clientId: "weirgate" });
  grant.addOIDCScope("openid offline_access");
  const grantId = await grant.save();
  const token = new provider.RefreshToken({
    accountId: "u-1",
    client,
    grantId,
    gty: "authorization_code",
    scope: "openid offline_access",
  });
  console.log(port);
  console.log(await token.save());
});
