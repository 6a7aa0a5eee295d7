// Apollo Client with its ErrorLink: an access token that is refused is refreshed, and the operation sent again.
//
// Stdin is as in session.mjs. It prints what the client showed of the refusal, what the caller got in the
// end, and the statuses of the answers.

import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { CombinedGraphQLErrors, ServerError } from "@apollo/client/errors";
import { SetContextLink } from "@apollo/client/link/context";
import { ErrorLink } from "@apollo/client/link/error";
import { from, switchMap } from "rxjs";
import { accept, counted, refreshed, statuses, token, url } from "./session.mjs";

let current = token;
let refusal = null;

function shown(error) {
  const errors = CombinedGraphQLErrors.is(error) ? error.errors : [];
  return {
    name: error.name,
    status: ServerError.is(error) ? error.statusCode : null,
    errors: errors.map(({ message, extensions }) => ({ message, extensions })),
    body: ServerError.is(error) ? error.bodyText : null,
  };
}

async function refresh() {
  current = await refreshed();
}

const retry = new ErrorLink(({ error, operation, forward }) => {
  refusal ??= shown(error);
  if (!shown(error).errors.some(({ extensions }) => extensions.code === "UNAUTHENTICATED")) return undefined;
  return from(refresh()).pipe(switchMap(() => forward(operation)));
});
const authorize = new SetContextLink(({ headers }) => ({
  headers: { ...headers, ...(accept && { accept }), authorization: `Bearer ${current}` },
}));

const client = new ApolloClient({
  link: ApolloLink.from([retry, authorize, new HttpLink({ uri: url, fetch: counted })]),
  cache: new InMemoryCache(),
});
const outcome = await client.query({ query: gql("{ me }") }).then(
  ({ data }) => ({ data, error: null }),
  (error) => ({ data: null, error: shown(error) }),
);
console.log(JSON.stringify({ refusal, ...outcome, statuses }));
