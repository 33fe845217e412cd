// The server of an aggregated API: wardle.example.com/v1, flunders. Usage: node aggregation.server.mjs DIR ADDRESS PORT
// DIR has key.pem and cert.pem (its own), proxy-ca.pem (who may speak for others) and mode: ok, hang or fail. Who does not
// show a certificate of the front proxy is refused. Each request is a line of JSON in DIR/seen. DIR/up is made when it listens.
import fs from 'node:fs';
import https from 'node:https';

const [dir, address, port] = process.argv.slice(2);
const GROUP = 'wardle.example.com';
const BASE = `/apis/${GROUP}/v1`;
const objects = new Map();
const watches = new Set();
let revision = 1;

const read = (name) => fs.readFileSync(`${dir}/${name}`, 'utf8');
const json = (res, code, body) => {
    res.writeHead(code, { 'content-type': 'application/json' });
    res.end(JSON.stringify(body));
};
const verbs = ['create', 'delete', 'get', 'list', 'watch'];
const documents = {
    [BASE]: {
        kind: 'APIResourceList',
        apiVersion: 'v1',
        groupVersion: `${GROUP}/v1`,
        resources: [
            { name: 'flunders', singularName: 'flunder', namespaced: true, kind: 'Flunder', verbs, shortNames: ['fl'], categories: ['all'] },
            { name: 'flunders/status', singularName: '', namespaced: true, kind: 'Flunder', verbs: ['get'] },
        ],
    },
    '/openapi/v3': { paths: { [BASE.slice(1)]: { serverRelativeURL: `/openapi/v3${BASE}?hash=77` } } },
    '/openapi/v2': {
        swagger: '2.0',
        paths: { [`${BASE}/flunders`]: { get: {} }, '/version/': { get: {} } },
        definitions: { 'com.example.wardle.v1.Flunder': { type: 'object' }, 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta': {} },
    },
    [`/openapi/v3${BASE}`]: { openapi: '3.0.0', info: { title: 'wardle', version: '1' }, paths: {}, components: {} },
};

function tell(type, object) {
    for (const res of watches) res.write(JSON.stringify({ type, object }) + '\n');
}

function who(req) {
    const cert = req.socket.getPeerCertificate();
    const h = req.headersDistinct;
    return {
        method: req.method,
        url: req.url,
        trusted: req.socket.authorized,
        cn: cert?.subject?.CN,
        user: h['x-remote-user'],
        groups: h['x-remote-group'],
        extra: Object.fromEntries(Object.entries(h).filter(([k]) => k.startsWith('x-remote-extra-'))),
        authorization: h.authorization,
        impersonate: Object.keys(h).filter((k) => k.startsWith('impersonate-')),
        sni: req.socket.servername,
    };
}

function seen(req) {
    fs.appendFileSync(`${dir}/seen`, JSON.stringify(who(req)) + '\n');
}

function collection(req, res, ns, url) {
    const all = [...objects.values()].filter((o) => !ns || o.metadata.namespace === ns);
    if (url.searchParams.get('watch')) {
        res.writeHead(200, { 'content-type': 'application/json' });
        for (const object of all) res.write(JSON.stringify({ type: 'ADDED', object }) + '\n');
        res.flushHeaders();
        watches.add(res);
        res.on('close', () => watches.delete(res));
        return;
    }
    json(res, 200, { kind: 'FlunderList', apiVersion: `${GROUP}/v1`, metadata: { resourceVersion: `${revision}` }, items: all });
}

async function answer(req, res) {
    const url = new URL(req.url, 'https://x');
    const mode = read('mode').trim();
    seen(req);
    if (!req.socket.authorized) return json(res, 401, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code: 401 });
    if (mode === 'hang') return;
    if (mode === 'fail') return json(res, 500, { kind: 'Status', apiVersion: 'v1', status: 'Failure', message: 'broken', code: 500 });
    if (documents[url.pathname]) return json(res, 200, documents[url.pathname]);
    const m = url.pathname.match(/^\/apis\/[^/]+\/v1(?:\/namespaces\/([^/]+))?\/flunders(?:\/([^/]+))?(?:\/(\w+))?$/);
    if (!m) return json(res, 404, { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'NotFound', code: 404 });
    const [, ns, name, part] = m;
    if (part === 'download') {
        // as fast as it is taken, and no faster: how much went out is in DIR/sent
        let sent = 0;
        const block = Buffer.alloc(65536, 'x');
        res.writeHead(200, { 'content-type': 'application/octet-stream' });
        const more = () => {
            while (sent < Number(url.searchParams.get('mb')) * 2 ** 20) {
                sent += block.length;
                fs.writeFileSync(`${dir}/sent.new`, `${sent}`);
                fs.renameSync(`${dir}/sent.new`, `${dir}/sent`); // whoever reads it finds a number
                if (!res.write(block)) return res.once('drain', more);
            }
            res.end();
        };
        return more();
    }
    if (part === 'upload') {
        let n = 0;
        for await (const piece of req) n += piece.length;
        return json(res, 200, { bytes: n });
    }
    if (req.method === 'POST') {
        let text = '';
        for await (const piece of req) text += piece;
        const o = JSON.parse(text);
        Object.assign(o.metadata, { namespace: ns, uid: `u-${++revision}`, resourceVersion: `${revision}`, creationTimestamp: new Date().toISOString() });
        objects.set(`${ns}/${o.metadata.name}`, o);
        tell('ADDED', o);
        return json(res, 201, o);
    }
    if (!name) return collection(req, res, ns, url);
    const o = objects.get(`${ns}/${name}`);
    if (!o) {
        return json(res, 404, {
            kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'NotFound', code: 404,
            message: `flunders.${GROUP} "${name}" not found`, details: { name, group: GROUP, kind: 'flunders' },
        });
    }
    if (req.method === 'DELETE') {
        objects.delete(`${ns}/${name}`);
        tell('DELETED', o);
    }
    json(res, 200, o);
}

const server = https.createServer(
    { key: read('key.pem'), cert: read('cert.pem'), ca: read('proxy-ca.pem'), requestCert: true, rejectUnauthorized: false },
    (req, res) => answer(req, res).catch((e) => json(res, 500, { message: `${e}` })),
);
server.on('upgrade', (req, socket) => {
    seen(req);
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n');
    socket.on('data', (d) => socket.write(`<${d}>`));
    socket.on('end', () => socket.end());
    socket.on('error', () => {});
});
server.listen(Number(port), address, () => fs.writeFileSync(`${dir}/up`, `${server.address().port}`));
