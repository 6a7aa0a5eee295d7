// What the client scripts share: a session whose access token can be refreshed, and a count of what it sends.
//
// From stdin: {"url": …, "token": …, "tokenEndpoint": …, "accept": …}. `accept` is put over the client's
// own, if given.

import { readFileSync } from "node:fs";

export const { url, token, tokenEndpoint, accept } = JSON.parse(readFileSync(0, "utf8"));

export const statuses = [];

/** fetch, noting the status of each answer. */
export async function counted(...request) {
  const response = await fetch(...request);
  statuses.push(response.status);
  return response;
}

/** A new access token, by the refresh grant (RFC 6749, section 6). */
export async function refreshed() {
  const body = new URLSearchParams({ grant_type: "refresh_token", refresh_token: "kept-by-the-client" });
  const response = await fetch(tokenEndpoint, { method: "POST", body });
  return (await response.json()).access_token;
}
