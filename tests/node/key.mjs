// A fresh key pair on P-256: {"private": …, "public": {"keys": […]}}.
const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
const kid = crypto.randomUUID()
const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', pair.publicKey)
const secret = await crypto.subtle.exportKey('jwk', pair.privateKey)
process.stdout.write(JSON.stringify({ private: { kty, crv, x, y, d: secret.d, kid }, public: { keys: [{ kty, crv, x, y, kid, alg: 'ES256', use: 'sig' }] } }))
