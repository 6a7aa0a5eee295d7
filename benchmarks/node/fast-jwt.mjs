// fast-jwt in a process of its own. A line of JSON in, a line out: first the set-up, then how many verifications to
// time (answered in nanoseconds), or one token to judge.
import { createInterface } from 'node:readline'
import { createVerifier } from 'fast-jwt'

let verify, tokens

function time (calls) {
  const started = process.hrtime.bigint()
  for (let number = 0; number < calls; number++) verify(tokens[number % tokens.length])
  return Number(process.hrtime.bigint() - started)
}

function judge (token) {
  try {
    verify(token)
    return true
  } catch {
    return false
  }
}

function setUp ({ key, issuer, audience, cache, tokens: given }) {
  verify = createVerifier({ key, algorithms: ['RS256'], allowedIss: issuer, allowedAud: audience, cache })
  tokens = given
  time(Math.max(20_000, tokens.length)) // until it is compiled
  return true
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  const answer = request.calls ? time(request.calls) : request.verify ? judge(request.verify) : setUp(request)
  process.stdout.write(JSON.stringify(answer) + '\n')
}
