// graphql-http's audits of a GraphQL server: what each found, and all that the server answered it.
//
//     echo '{"url": …, "token": …}' | node audit.mjs

import { readFileSync } from "node:fs";
import { serverAudits } from "graphql-http";

const { url, token } = JSON.parse(readFileSync(0, "utf8"));
let answers;

async function fetchFn(target, options = {}) {
  const headers = { ...options.headers, ...(token && { authorization: `Bearer ${token}` }) };
  const response = await fetch(target, { ...options, headers });
  const { date, ...fields } = Object.fromEntries(response.headers);
  answers.push({ status: response.status, fields, body: await response.clone().text() });
  return response;
}

const found = [];
for (const { fn } of serverAudits({ url, fetchFn })) {
  answers = [];
  const { id, name, status } = await fn(); // one at a time, so that each has its own answers
  found.push({ id, name, status, answers });
}
console.log(JSON.stringify(found));
