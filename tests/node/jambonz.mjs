// jambonz's own client and schema, as oracles: each line of input is one question, each line of
// output its answer.
//
//   {"verbs": [...]}                            does jambonz take this application?
//   {"verify": {"secret", "header", "body"}}    does its client take this signature?

import { createInterface } from 'node:readline'
import specifications from '@jambonz/verb-specifications'
import client from '@jambonz/node-client'

const quiet = { debug() {}, info() {}, warn() {}, error() {} }

function verbs(application) {
  // Both read it, as the server of jambonz and its client do.
  for (const verb of specifications.normalizeJambones(quiet, application)) {
    const [name] = Object.keys(verb)
    specifications.validateVerb(name, verb[name], quiet)
  }
  const response = new client.WebhookResponse()
  for (const { verb, ...rest } of application) response.addVerb(verb, rest)
  return response.length
}

function verify({ secret, header, body }) {
  let passed = false
  const request = { get: (name) => (name === 'Jambonz-Signature' ? header : undefined), body, url: '/' }
  client.WebhookResponse.verifyJambonzSignature(secret)(request, {}, () => { passed = true })
  return passed
}

for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line)
  let answer
  try {
    answer = { ok: question.verbs ? verbs(question.verbs) : verify(question.verify) }
  } catch (e) {
    answer = { error: e.message ?? String(e) }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
