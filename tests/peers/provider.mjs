// A real OpenID provider on loopback, whose signing key a test can rotate.
//
//     node provider.mjs PORT
//
// It issues RS256 `at+jwt` access tokens by the client credentials grant, for the resources below. Its
// own control endpoints, which no provider would have:
//     POST /control/rotate          sign with a new key; the old one stays published
//     POST /control/rotate?drop     sign with a new key; the old one is published no more
//     GET  /control/fetched         the paths fetched so far, as JSON

import { generateKeyPairSync, randomUUID, webcrypto } from "node:crypto";
import { createServer } from "node:http";

// Debian 12 has Node.js 18, where these two are missing; they must be there before oidc-provider is loaded.
globalThis.crypto ??= webcrypto;
URL.parse ??= (text, base) => (URL.canParse(text, base) ? new URL(text, base) : null);
const { Provider, errors } = await import("oidc-provider");

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const resources = ["https://api.test/graphql", "https://other.test/graphql"];

const fetched = [];
let keys = [newKey()];
let serve = newProvider();

function newKey() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg: "RS256" };
}

function newProvider() {
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: "robot-1",
        client_secret: "a-fixed-secret-that-guards-nothing",
        token_endpoint_auth_method: "client_secret_basic",
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
      },
    ],
    cookies: { keys: ["no-browser-ever-comes-here"] },
    jwks: { keys },
    scopes: ["read", "write"],
    ttl: { ClientCredentials: 600 },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource) => {
          if (!resources.includes(resource)) throw new errors.InvalidTarget();
          return { scope: "read write", accessTokenFormat: "jwt", jwt: { sign: { alg: "RS256" } } };
        },
      },
    },
  });
  return provider.callback();
}

function control(request, response) {
  if (request.url === "/control/fetched") {
    response.setHeader("Content-Type", "application/json").end(JSON.stringify(fetched));
    return;
  }
  const retired = request.url.endsWith("?drop") ? [] : keys;
  keys = [newKey(), ...retired]; // the first one that fits signs
  serve = newProvider();
  response.writeHead(204).end();
}

createServer((request, response) => {
  if (request.url.startsWith("/control/")) {
    control(request, response);
    return;
  }
  if (request.method === "GET") fetched.push(request.url);
  serve(request, response);
}).listen(port, "127.0.0.1", () => console.log("ready"));
