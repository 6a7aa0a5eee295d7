// One of Node's servers: `node server.mjs KIND PORT`. The issuer's key set is at BENCHMARK_JWKS_URI, its key in
// BENCHMARK_PEM. Each guards by what its own documentation shows.
import { createServer } from 'node:http'
import express from 'express'
import { expressjwt } from 'express-jwt'
import { createVerifier } from 'fast-jwt'
import { createSchema, createYoga } from 'graphql-yoga'
import { createRemoteJwksSigningKeyProvider, extractFromHeader, useJWT } from '@graphql-yoga/plugin-jwt'
import jwksRsa from 'jwks-rsa'

const [kind, port] = process.argv.slice(2)
const { BENCHMARK_ISSUER: issuer, BENCHMARK_AUDIENCE: audience, BENCHMARK_JWKS_URI: jwksUri, BENCHMARK_PEM: pem } =
  process.env

function byExpressJwt () {
  const secret = jwksRsa.expressJwtSecret({ cache: true, rateLimit: true, jwksRequestsPerMinute: 5, jwksUri })
  return expressjwt({ secret, issuer, audience, algorithms: ['RS256'] })
}

function byFastJwt () {
  const verify = createVerifier({ key: pem, algorithms: ['RS256'], allowedIss: issuer, allowedAud: audience, cache: true })
  return (request, response, next) => {
    try {
      request.auth = verify(request.headers.authorization.slice('Bearer '.length))
    } catch {
      response.status(401).end()
      return
    }
    next()
  }
}

function expressApp (...guards) {
  const app = express()
  app.use(...guards, (request, response, next) => next())
  app.get('/graphql', (request, response) => response.type('json').send('{"me":{"id":"1"}}..\n'))
  app.use((error, request, response, next) => response.status(error.status ?? 500).end())
  return app
}

function yoga (...plugins) {
  const schema = createSchema({
    typeDefs: `
      type Query { me: User }
      type User { id: ID, name: String, email: String, posts: [Post] }
      type Post { title: String }
    `,
    resolvers: {
      Query: {
        me: () => ({ id: '1', name: 'Alice', email: 'alice@example.com', posts: [{ title: 'One' }, { title: 'Two' }] })
      }
    }
  })
  return createServer(createYoga({ schema, plugins, logging: false, graphiql: false }))
}

function byPluginJwt () {
  return useJWT({
    signingKeyProviders: [createRemoteJwksSigningKeyProvider({ jwksUri })],
    tokenLookupLocations: [extractFromHeader({ name: 'authorization', prefix: 'Bearer' })],
    tokenVerification: { issuer, audience, algorithms: ['RS256'] },
    reject: { missingToken: true, invalidToken: true }
  })
}

const servers = {
  express: () => expressApp(),
  'express-jwt': () => expressApp(byExpressJwt()),
  'fast-jwt': () => expressApp(byFastJwt()),
  yoga: () => yoga(),
  'plugin-jwt': () => yoga(byPluginJwt())
}

servers[kind]().listen(Number(port), '127.0.0.1')
