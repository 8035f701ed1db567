// A server that demands a certificate of every client, over HTTP/1.1 and HTTP/2, gives tokens that are
// bound to it (RFC 8705 §3), and tells by which connection and certificate each call came. The first line
// of its output is its port.
//
//   node mtls.mjs CERTIFICATE KEY CLIENTS_AUTHORITY
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";

const [certificate, key, authority] = process.argv.slice(2).map((name) => readFileSync(name));
const connections = new WeakMap();
const calls = [];
let count = 0;

const server = createSecureServer({
  cert: certificate,
  key,
  ca: authority,
  requestCert: true,
  rejectUnauthorized: true,
  allowHTTP1: true,
});
/** By which connection and certificate a call came. */
function origin(request) {
  const owner = request.stream?.session ?? request.socket;
  const socket = request.stream ? owner.socket : owner;
  if (!connections.has(owner)) {
    const shown = createHash("sha256").update(socket.getPeerCertificate().raw).digest("base64url");
    connections.set(owner, { number: (count += 1), shown, protocol: socket.alpnProtocol || "http/1.1" });
  }
  return connections.get(owner);
}

server.on("request", async (request, response) => {
  const from = origin(request);
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const path = request.url.split("?")[0];
  const answer = (status, body) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  };
  if (path === "/calls") return answer(200, calls);
  const body = Buffer.concat(chunks).toString();
  calls.push({ path, body, authorization: request.headers.authorization ?? null, ...from });
  if (path === "/token") return answer(200, { access_token: `bound-to-${from.shown}`, token_type: "Bearer", expires_in: 600 });
  const token = request.headers.authorization?.replace(/^Bearer /, "");
  if (token && token !== `bound-to-${from.shown}`) return answer(401, { error: "invalid_token" });
  answer(200, { id: "1", name: "Thing 1", secret: "", nested: { a: "a", b: "" }, list: [] });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
