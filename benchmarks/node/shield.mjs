// graphql-shield's rules beside none: answers each line of JSON, {"count": rows}, with the nanoseconds of one
// execution of both, [guarded, bare].
import { applyMiddleware } from 'graphql-middleware'
import { execute, parse, GraphQLSchema, GraphQLObjectType, GraphQLList, GraphQLInt, GraphQLString } from 'graphql'
import { rule, shield } from 'graphql-shield'
import { createInterface } from 'node:readline'

const names = Array.from({ length: 10 }, (_, number) => `f${number}`)
const row = Object.fromEntries(names.map((name) => [name, 'value']))

function schema() {
  const fields = Object.fromEntries(names.map((name) => [name, { type: GraphQLString }]))
  const type = new GraphQLObjectType({ name: 'Row', fields })
  const rows = { type: new GraphQLList(type), args: { count: { type: GraphQLInt } } }
  rows.resolve = (_source, { count }) => Array(count).fill(row)
  return new GraphQLSchema({ query: new GraphQLObjectType({ name: 'Query', fields: { rows } }) })
}

const mayRead = rule({ cache: 'no_cache' })((_parent, _args, context) => context.scopes.has('read'))
const bare = schema()
const guarded = applyMiddleware(schema(), shield({ Row: Object.fromEntries(names.map((name) => [name, mayRead])) }))
const document = parse(`query ($count: Int) { rows(count: $count) { ${names.join(' ')} } }`)

async function timed(target, count) {
  const started = process.hrtime.bigint()
  const result = await execute({
    schema: target, document, variableValues: { count }, contextValue: { scopes: new Set(['read']) },
  })
  if (result.errors || result.data.rows[0].f0 !== 'value') throw new Error('a query failed')
  return Number(process.hrtime.bigint() - started)
}

for await (const line of createInterface({ input: process.stdin })) {
  const { count } = JSON.parse(line)
  console.log(JSON.stringify([await timed(guarded, count), await timed(bare, count)]))
}
