// Admission webhooks. Usage: node webhooks.server.mjs DIR
// Serves https (DIR/tls.key, DIR/tls.crt) on a port of its own and writes it to DIR/port. The path says what a webhook does; each
// question is a line of JSON {path, request} in DIR/calls. /hang answers once DIR/go is there.
import fs from 'node:fs';
import https from 'node:https';

const dir = process.argv[2];

const patch = (ops) => ({ allowed: true, patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(ops)).toString('base64') });

// A label more, whether or not there is one already.
function label(request, key, value) {
    const labels = request.object.metadata.labels;
    return patch([labels
        ? { op: 'add', path: `/metadata/labels/${key}`, value }
        : { op: 'add', path: '/metadata/labels', value: { [key]: value } }]);
}

const webhooks = {
    '/allow': () => ({ allowed: true }),
    '/deny': ({ name }) => ({ allowed: false, status: { code: 403, reason: 'Forbidden', message: `${name} is not wanted` } }),
    '/deny-plain': () => ({ allowed: false }),
    '/warn': () => ({ allowed: true, warnings: ['mind the gap', '', 'mind the gap', 'and the step'] }),
    '/note': () => ({ allowed: true, auditAnnotations: { reason: 'because' } }),
    '/label': (request) => label(request, 'hooked', 'yes'),
    '/count': (request) => label(request, 'count', String(Number(request.object.metadata.labels?.count ?? 0) + 1)),
    '/image': () => patch([{ op: 'replace', path: '/spec/containers/0/image', value: 'other:1' }]),
    '/cpu': () => patch([{ op: 'replace', path: '/spec/containers/0/resources/limits/cpu', value: '250m' }]),
    '/debugger': () => patch([{ op: 'replace', path: '/spec/ephemeralContainers/0/image', value: 'other:1' },
        { op: 'add', path: '/metadata/labels', value: { hooked: 'yes' } }]),
    '/annotate': () => patch([{ op: 'add', path: '/metadata/annotations', value: { bound: 'by-a-hook' } }]),
    '/three': () => patch([{ op: 'replace', path: '/spec/replicas', value: 3 }]),
    '/own': () => patch([{ op: 'add', path: '/data/owned', value: 'x' }, { op: 'add', path: '/metadata/managedFields/-',
        value: { manager: 'hook', operation: 'Update', apiVersion: 'v1', fieldsType: 'FieldsV1', fieldsV1: { 'f:data': { 'f:owned': {} } } } }]),
    '/own-badly': () => patch([{ op: 'replace', path: '/metadata/managedFields/0/fieldsType', value: 'FieldsV9' }]),
    '/path': () => patch([{ op: 'replace', path: '/path', value: '/elsewhere' }]),
    '/size': ({ object }) => ({ allowed: object.spec.size < 10, status: { code: 422, reason: 'Invalid', message: `${object.spec.size} is too large` } }),
    '/invalid': () => patch([{ op: 'add', path: '/metadata/labels', value: { a: 'no label value' } }]),
    '/liar': () => ({ uid: 'other', allowed: true }),
};

function answer(req, res, body) {
    const path = req.url.split('?')[0];
    const { request, apiVersion } = JSON.parse(body);
    fs.appendFileSync(`${dir}/calls`, `${JSON.stringify({ path, apiVersion, request })}\n`);
    const say = (response) => res.writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ apiVersion, kind: 'AdmissionReview', response: { uid: request.uid, ...response } }));
    if (path === '/hang') {
        const wait = setInterval(() => {
            if (!fs.existsSync(`${dir}/go`)) return;
            clearInterval(wait);
            say({ allowed: true });
        }, 20);
        res.on('close', () => clearInterval(wait));
    } else if (path === '/slow') {
        setTimeout(() => say({ allowed: true }), 50);
    } else if (path === '/drop') {
        req.socket.destroy();
    } else if (path === '/moved') {
        res.writeHead(307, { location: '/allow' }).end();
    } else if (path === '/text') {
        res.writeHead(200).end('yes, certainly');
    } else if (path === '/huge') {
        say({ allowed: true, warnings: ['x'.repeat(20 << 20)] });
    } else if (webhooks[path]) {
        say(webhooks[path](request));
    } else {
        res.writeHead(500).end('out of order');
    }
}

const server = https.createServer({ key: fs.readFileSync(`${dir}/tls.key`), cert: fs.readFileSync(`${dir}/tls.crt`) }, (req, res) => {
    const parts = [];
    req.on('data', (p) => parts.push(p)).on('end', () => answer(req, res, Buffer.concat(parts).toString()));
});
server.listen(0, '0.0.0.0', () => {
    fs.writeFileSync(`${dir}/port.new`, String(server.address().port));
    fs.renameSync(`${dir}/port.new`, `${dir}/port`);
});
