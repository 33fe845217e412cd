// An OpenID Connect issuer. Usage: node oidc.issuer.mjs DIR PORT
// Serves https://127.0.0.1:PORT (DIR/key.pem, DIR/cert.pem) and writes DIR/up when it listens. Besides the two documents:
//   GET /mint?alg=ES256&CLAIM=JSON...&no=CLAIM,...   a token; claims over the usual ones (?key=old: by the key of before)
//   GET /rotate                                      a new key instead of the one there was
//   GET /count                                       how often the keys were fetched
import crypto from 'node:crypto';
import fs from 'node:fs';
import https from 'node:https';

const [dir, port] = process.argv.slice(2);
const ISSUER = `https://127.0.0.1:${port}`;
const HASH = { 256: 'sha256', 384: 'sha384', 512: 'sha512' };
const CURVE = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };
let generation = 0;
let fetched = 0;
let keys, old;

function make() {
    generation++;
    old = keys;
    keys = { rsa: crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }) };
    for (const [alg, namedCurve] of Object.entries(CURVE)) keys[alg] = crypto.generateKeyPairSync('ec', { namedCurve });
}

const kid = (name, n = generation) => `${name}-${n}`;
const jwks = () => ({
    keys: [
        { kty: 'oct', kid: 'secret', k: 'AAAA' },
        ...Object.entries(keys).map(([name, k]) => ({ ...k.publicKey.export({ format: 'jwk' }), kid: kid(name), use: 'sig' })),
    ],
});

function mint(query) {
    const alg = query.get('alg') ?? 'RS256';
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: ISSUER, aud: 'kubernetes', sub: 'mary', exp: now + 600, iat: now };
    for (const [k, v] of query) if (!['alg', 'key', 'no', 'kid'].includes(k)) claims[k] = JSON.parse(v);
    for (const k of (query.get('no') ?? '').split(',')) delete claims[k];
    const name = CURVE[alg] ? alg : 'rsa';
    const set = query.get('key') === 'old' ? old : keys;
    const head = { alg, kid: kid(name, query.get('key') === 'old' ? generation - 1 : generation) };
    if (query.get('kid') === 'none') delete head.kid;
    const text = [head, claims].map((p) => Buffer.from(JSON.stringify(p)).toString('base64url')).join('.');
    if (alg === 'none') return `${text}.`;
    const hash = HASH[alg.slice(2)];
    if (alg.startsWith('HS')) {
        const secret = set.rsa.publicKey.export({ type: 'spki', format: 'pem' }); // the classic
        return `${text}.${crypto.createHmac(hash, secret).update(text).digest('base64url')}`;
    }
    const how = { key: set[name].privateKey, dsaEncoding: 'ieee-p1363' };
    if (alg.startsWith('PS')) Object.assign(how, { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST });
    return `${text}.${crypto.sign(hash, Buffer.from(text), how).toString('base64url')}`;
}

make();
const server = https.createServer(
    { key: fs.readFileSync(`${dir}/key.pem`), cert: fs.readFileSync(`${dir}/cert.pem`) },
    (req, res) => {
        const url = new URL(req.url, ISSUER);
        const json = (o) => res.end(JSON.stringify(o));
        if (url.pathname === '/.well-known/openid-configuration') return json({ issuer: ISSUER, jwks_uri: `${ISSUER}/keys?from=discovery` });
        if (url.pathname === '/keys') {
            fetched++;
            return json(jwks());
        }
        if (url.pathname === '/mint') return res.end(mint(url.searchParams));
        if (url.pathname === '/count') return res.end(`${fetched}`);
        if (url.pathname === '/rotate') {
            make();
            return res.end('rotated');
        }
        res.writeHead(404);
        res.end();
    },
);
server.listen(Number(port), '127.0.0.1', () => fs.writeFileSync(`${dir}/up`, `${port}`));
