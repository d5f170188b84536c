// openid-client as the program that asks: `node ask.mjs poll|ping|device|signed`, settings in the
// environment. It says what it was told as one line of JSON, then what came of it as another.

import { createServer } from 'node:http'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import * as client from 'openid-client'

const { ISSUER, SERVER, CLIENT_ID, CLIENT_SECRET, PRIVATE_JWK, LOGIN_HINT, BINDING_MESSAGE, PING_PORT } = process.env
const mode = process.argv[2]

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`)

// The address that everybody uses is the proxy's; the proxy is played here.
const fetchBehindTheProxy = (url, options) => {
  const { pathname, search, origin } = new URL(url)
  if (origin !== ISSUER) throw new Error(`a request to a stranger: ${origin}`)
  return fetch(`${SERVER}${pathname}${search}`, options)
}

async function privateKey() {
  const jwk = JSON.parse(PRIVATE_JWK)
  const key = await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
  return { key, kid: jwk.kid }
}

const signIn = PRIVATE_JWK ? client.PrivateKeyJwt(await privateKey()) : client.ClientSecretBasic(CLIENT_SECRET)
const config = await client.discovery(new URL(ISSUER), CLIENT_ID, undefined, signIn, { [client.customFetch]: fetchBehindTheProxy })

/** What openid-client makes of the tokens, after it checked the claims. */
async function end(tokens) {
  const claims = tokens.claims()
  const answer = await fetchBehindTheProxy(config.serverMetadata().jwks_uri)
  const { keys } = await answer.json()
  say({ claims, signed: await holds(tokens.id_token, keys), access_signed: await holds(tokens.access_token, keys), token_type: tokens.token_type, expires_in: tokens.expires_in })
}

/** Whether a token's signature holds under one of these keys. */
async function holds(token, keys) {
  const [head, body, signature] = token.split('.')
  const { kid, alg } = JSON.parse(Buffer.from(head, 'base64url'))
  const jwk = keys.find((k) => k.kid === kid && alg === 'ES256')
  if (!jwk) return false
  const key = await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['verify'])
  return crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, key, Buffer.from(signature, 'base64url'), Buffer.from(`${head}.${body}`))
}

async function backchannel(more = {}) {
  const parameters = { scope: 'openid', login_hint: LOGIN_HINT, ...more }
  if (BINDING_MESSAGE) parameters.binding_message = BINDING_MESSAGE
  const taken = await client.initiateBackchannelAuthentication(config, parameters)
  say(taken)
  return taken
}

async function ping() {
  const word = randomBytes(32).toString('base64url')
  const told = []
  const server = createServer((request, response) => {
    const parts = []
    request.on('data', (part) => parts.push(part))
    request.on('end', () => {
      told.push({ authorization: request.headers.authorization, body: JSON.parse(Buffer.concat(parts)) })
      // The first time something of ours is broken.
      response.writeHead(told.length === 1 ? 500 : 204).end()
      if (told.length > 1) server.emit('told')
    })
  })
  server.listen(Number(PING_PORT), '127.0.0.1')
  await once(server, 'listening')
  const heard = once(server, 'told')
  const taken = await backchannel({ client_notification_token: word })
  await heard
  for (const notice of told) {
    if (notice.authorization !== `Bearer ${word}` || notice.body.auth_req_id !== taken.auth_req_id) throw new Error('a notice that is not ours')
  }
  server.close()
  const tokens = await client.pollBackchannelAuthenticationGrant(config, taken)
  if (tokens.claims()['urn:openid:params:jwt:claim:auth_req_id'] !== taken.auth_req_id) throw new Error('a token of another request')
  return tokens
}

async function device() {
  const taken = await client.initiateDeviceAuthorization(config, { scope: 'openid' })
  say(taken)
  return client.pollDeviceAuthorizationGrant(config, taken)
}

try {
  if (mode === 'ping') await end(await ping())
  else if (mode === 'device') await end(await device())
  else await end(await client.pollBackchannelAuthenticationGrant(config, await backchannel()))
} catch (e) {
  say({ failed: e.error ?? e.cause?.error ?? e.code ?? String(e), why: e.error_description, status: e.status })
  process.exitCode = 3
}
