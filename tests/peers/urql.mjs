// urql with its authExchange: an access token that is refused is refreshed, and the operation sent again.
//
// Stdin is as in session.mjs. It prints what the client showed of the refusal, what the caller got in the
// end, and the statuses of the answers. urql sends short queries by GET unless told otherwise.

import { Client, fetchExchange } from "@urql/core";
import { authExchange } from "@urql/exchange-auth";
import { accept, counted, refreshed, statuses, token, url } from "./session.mjs";

let refusal = null;

function shown(error) {
  return {
    name: error.name,
    status: error.response?.status ?? null,
    errors: error.graphQLErrors.map(({ message, extensions }) => ({ message, extensions })),
    networkError: error.networkError?.message ?? null,
  };
}

const auth = authExchange(async ({ appendHeaders }) => {
  let current = token;
  return {
    addAuthToOperation: (operation) => appendHeaders(operation, { authorization: `Bearer ${current}` }),
    didAuthError: (error) => {
      refusal ??= shown(error);
      return error.graphQLErrors.some(({ extensions }) => extensions.code === "UNAUTHENTICATED");
    },
    refreshAuth: async () => {
      current = await refreshed();
    },
  };
});

const client = new Client({
  url,
  exchanges: [auth, fetchExchange],
  fetch: counted,
  fetchOptions: accept ? { headers: { accept } } : {},
});
const { data, error } = await client.query("{ me }", {}).toPromise();
console.log(JSON.stringify({ refusal, data: data ?? null, error: error ? shown(error) : null, statuses }));
