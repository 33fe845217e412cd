// A conversion webhook for gears.acme.io. Usage: node convert.server.mjs DIR
// Serves https (DIR/tls.key, DIR/tls.crt) on a port of its own and writes it to DIR/port. v1 has spec.hostPort "host:port",
// v2 spec.host and spec.port. DIR/mode says how it behaves ("good" without it); each call is a line "VERSION COUNT" in DIR/calls.
// It is an admission webhook too: /admit lets all pass, /mutate adds 1000 to spec.port; what they are told is a line in DIR/asked.
import fs from 'node:fs';
import https from 'node:https';

const dir = process.argv[2];
const mode = () => {
    try { return fs.readFileSync(`${dir}/mode`, 'utf8').trim(); } catch { return 'good'; }
};

export function convert(object, apiVersion) {
    const out = structuredClone(object);
    const version = apiVersion.split('/')[1];
    out.apiVersion = apiVersion;
    const spec = out.spec ?? {};
    if (version === 'v2' && spec.hostPort !== undefined) {
        const [host, port] = spec.hostPort.split(':');
        delete spec.hostPort;
        Object.assign(spec, { host, port: Number(port) });
    } else if (version === 'v1' && spec.host !== undefined) {
        spec.hostPort = `${spec.host}:${spec.port}`;
        delete spec.host;
        delete spec.port;
    }
    out.metadata.labels = { ...out.metadata.labels, seen: version };
    return out;
}

const lies = {
    fewer: (all) => all.slice(1),
    reverse: (all) => all.reverse(),
    rename: (all) => all.map((o) => ({ ...o, metadata: { ...o.metadata, name: 'other' } })),
    uid: (all) => all.map((o) => ({ ...o, metadata: { ...o.metadata, uid: 'other' } })),
    version: (all) => all.map((o) => ({ ...o, apiVersion: 'acme.io/v9' })),
    labels: (all) => all.map((o) => ({ ...o, metadata: { ...o.metadata, labels: { a: 'no label value' } } })),
    metadata: (all) => all.map((o) => ({ ...o, metadata: { ...o.metadata, finalizers: ['a/b'], resourceVersion: '1', generation: 99 } })),
    huge: (all) => all.map((o) => ({ ...o, spec: { host: 'x'.repeat(5 << 20), port: 1 } })),
};

function answer(req, res, body) {
    const how = mode();
    const { request } = JSON.parse(body);
    const version = request.desiredAPIVersion.split('/')[1];
    fs.appendFileSync(`${dir}/calls`, `${version} ${request.objects.length}\n`);
    const say = (response) => res.writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ apiVersion: 'apiextensions.k8s.io/v1', kind: 'ConversionReview', response: { uid: request.uid, ...response } }));
    if (how === 'hang') return;
    if (how === 'drop') return req.socket.destroy();
    if (how === 'loop') return res.writeHead(307, { location: req.url }).end();
    if (how === 'error') return res.writeHead(500).end('out of gears');
    if (how === 'text') return res.writeHead(200, { 'content-type': 'application/json' }).end('gears, gears');
    const bad = how.startsWith('refuse:') && request.objects.find((o) => o.metadata.name === how.slice(7));
    if (how === 'refuse' || bad) return say({ result: { status: 'Failed', message: 'no such gear' } });
    const all = request.objects.map((o) => convert(o, request.desiredAPIVersion));
    const reply = () => say({ result: { status: 'Success' }, convertedObjects: (lies[how] ?? ((x) => x))(all) });
    if (how === 'slow') setTimeout(reply, 100);
    else reply();
}

function admit(req, res, body) {
    const path = req.url.split('?')[0];
    const { request } = JSON.parse(body);
    const told = (o) => (o ? `${o.apiVersion} ${JSON.stringify(o.spec)}` : 'none');
    fs.appendFileSync(`${dir}/asked`, `${path} ${request.operation} ${request.kind.version} ${request.requestKind.version} ` +
        `${request.resource.version} | ${told(request.object)} | ${told(request.oldObject)}\n`);
    const patch = path === '/mutate' && request.object
        ? { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify([
            { op: 'replace', path: '/spec/port', value: request.object.spec.port % 1000 + 1000 }])).toString('base64') }
        : {};
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({
        apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: { uid: request.uid, allowed: true, ...patch } }));
}

const server = https.createServer({ key: fs.readFileSync(`${dir}/tls.key`), cert: fs.readFileSync(`${dir}/tls.crt`) }, (req, res) => {
    const parts = [];
    const handle = req.url.startsWith('/convert') ? answer : admit;
    req.on('data', (p) => parts.push(p)).on('end', () => handle(req, res, Buffer.concat(parts).toString()));
});
server.listen(0, '127.0.0.1', () => {
    fs.writeFileSync(`${dir}/port.new`, String(server.address().port));
    fs.renameSync(`${dir}/port.new`, `${dir}/port`);
});
