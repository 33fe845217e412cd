// An operator as people write them: leader election, an informer, a finalizer, a status and children, on a custom kind with two
// versions whose conversion webhook is in the same program. Usage: node operator.mjs NAME DIR PORT
//
// Sites (sites.ops.example.com): v1 {replicas, text}, which is stored, v2 {pages: {count, content}}, which the operator works on. Of each
// it makes count ConfigMaps with that content. DIR holds the webhook's key and certificate (tls.*); lines of what happens go to DIR/log.
// Replicas share one webhook address: who finds PORT free has it.
import fs from 'node:fs';
import https from 'node:https';
import * as k8s from '@kubernetes/client-node';

const [name, dir, port] = process.argv.slice(2);
const namespace = 'default';
const group = 'ops.example.com', version = 'v2', plural = 'sites';
const finalizer = 'ops.example.com/cleanup';
const leaseSeconds = 2;

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const leases = config.makeApiClient(k8s.CoordinationV1Api);
const customs = config.makeApiClient(k8s.CustomObjectsApi);
const merge = k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const log = (text) => fs.appendFileSync(`${dir}/log`, `${name} ${text}\n`);
const is = (code) => (e) => {
    if (e.code !== code) throw e;
};

// ---- the webhook

function convert(site, apiVersion) {
    const { spec = {}, ...rest } = site;
    if (apiVersion === site.apiVersion) return site;
    if (apiVersion.endsWith('/v2')) return { ...rest, apiVersion, spec: { pages: { count: spec.replicas, content: spec.text } } };
    return { ...rest, apiVersion, spec: { replicas: spec.pages?.count, text: spec.pages?.content } };
}

function answer(body) {
    const { request } = JSON.parse(body);
    const convertedObjects = request.objects.map((o) => convert(o, request.desiredAPIVersion));
    return JSON.stringify({
        apiVersion: 'apiextensions.k8s.io/v1', kind: 'ConversionReview',
        response: { uid: request.uid, result: { status: 'Success' }, convertedObjects },
    });
}

const server = https.createServer({ key: fs.readFileSync(`${dir}/tls.key`), cert: fs.readFileSync(`${dir}/tls.crt`) }, (req, res) => {
    const parts = [];
    req.on('data', (p) => parts.push(p));
    req.on('end', () => res.writeHead(200, { 'content-type': 'application/json' }).end(answer(Buffer.concat(parts).toString())));
});
server.on('error', () => setTimeout(listen, 100)); // another replica has it
function listen() {
    server.listen(Number(port), '127.0.0.1');
}
listen();

// ---- leader election: who renews the Lease leads. Times are this process's own, as in client-go.

let leading = false;
let observed = { version: '', at: 0 };

async function elect() {
    const lease = await leases.readNamespacedLease({ name: 'sites', namespace }).catch(is(404));
    const now = new k8s.V1MicroTime();
    const mine = { holderIdentity: name, leaseDurationSeconds: leaseSeconds, renewTime: now };
    if (!lease) {
        await leases.createNamespacedLease({ namespace, body: { metadata: { name: 'sites' }, spec: { ...mine, acquireTime: now, leaseTransitions: 0 } } });
        return true;
    }
    if (lease.metadata.resourceVersion !== observed.version) observed = { version: lease.metadata.resourceVersion, at: Date.now() };
    const held = lease.spec.holderIdentity === name;
    if (!held && Date.now() - observed.at < lease.spec.leaseDurationSeconds * 1000) return false;
    lease.spec = held ? { ...lease.spec, renewTime: now } : { ...mine, acquireTime: now, leaseTransitions: lease.spec.leaseTransitions + 1 };
    await leases.replaceNamespacedLease({ name: 'sites', namespace, body: lease });
    return true;
}

async function lead() {
    let renewed = 0;
    for (;;) {
        let now = false;
        try {
            now = await elect();
            if (now) renewed = Date.now();
        } catch { // the server is away: a leader is one until its time is over
            now = leading && Date.now() - renewed < leaseSeconds * 1000;
        }
        if (now !== leading) {
            leading = now;
            log(leading ? 'leads' : 'follows');
            if (leading) for (const site of sites.list(namespace)) enqueue(site.metadata.name);
        }
        await sleep(300);
    }
}

// ---- what is to be done: names, each worked on once at a time, again after a failure

const queue = new Map(); // name -> again after this run
function enqueue(key, delay = 0) {
    if (delay) return setTimeout(() => enqueue(key), delay);
    if (queue.has(key)) return queue.set(key, true);
    queue.set(key, false);
    work(key);
}

async function work(key) {
    let failed = false;
    try {
        if (leading) await reconcile(key);
    } catch (e) {
        failed = true;
        if (e.code && e.code !== 409) log(`failed ${key} ${e.code}`);
    }
    const again = queue.get(key);
    queue.delete(key);
    if (again || failed) enqueue(key, failed ? 200 : 1);
}

// ---- the kind

const at = (site) => ({ group, version, namespace, plural, name: site.metadata.name });

async function children(site) {
    const all = await core.listNamespacedConfigMap({ namespace, labelSelector: `site=${site.metadata.name}` });
    return all.items.filter((c) => c.metadata.ownerReferences?.some((o) => o.uid === site.metadata.uid));
}

async function finish(site) {
    if (!site.metadata.finalizers?.includes(finalizer)) return;
    log(`finalized ${site.metadata.name} ${site.metadata.uid}`);
    const finalizers = site.metadata.finalizers.filter((f) => f !== finalizer);
    const { resourceVersion } = site.metadata;
    await customs.patchNamespacedCustomObject({ ...at(site), body: { metadata: { finalizers, resourceVersion } } }, merge);
}

function child(site, i) {
    return {
        metadata: {
            name: `${site.metadata.name}-${i}`, labels: { site: site.metadata.name },
            ownerReferences: [{
                apiVersion: `${group}/${version}`, kind: 'Site', name: site.metadata.name, uid: site.metadata.uid,
                controller: true, blockOwnerDeletion: true,
            }],
        },
        data: { content: site.spec.pages.content },
    };
}

async function reconcile(key) {
    const site = await customs.getNamespacedCustomObject({ group, version, namespace, plural, name: key }).catch(is(404));
    if (!site) return;
    if (site.metadata.deletionTimestamp) return finish(site);
    if (!site.metadata.finalizers?.includes(finalizer)) {
        const finalizers = [...(site.metadata.finalizers ?? []), finalizer];
        await customs.patchNamespacedCustomObject({ ...at(site), body: { metadata: { finalizers, resourceVersion: site.metadata.resourceVersion } } }, merge);
    }
    const there = new Map((await children(site)).map((c) => [c.metadata.name, c]));
    for (let i = 0; i < site.spec.pages.count; i++) {
        const want = child(site, i), has = there.get(want.metadata.name);
        there.delete(want.metadata.name);
        if (!has) await core.createNamespacedConfigMap({ namespace, body: want });
        else if (has.data?.content !== want.data.content) await core.replaceNamespacedConfigMap({ namespace, name: want.metadata.name, body: { ...has, data: want.data } });
    }
    for (const extra of there.keys()) await core.deleteNamespacedConfigMap({ namespace, name: extra });
    const status = { pages: site.spec.pages.count, observedGeneration: site.metadata.generation, content: site.spec.pages.content };
    if (JSON.stringify(site.status, Object.keys(status).sort()) !== JSON.stringify(status, Object.keys(status).sort()))
        await customs.patchNamespacedCustomObjectStatus({ ...at(site), body: { status } }, merge);
}

// ---- what is there

function informer(path, list) {
    const it = k8s.makeInformer(config, path, list);
    it.on('error', () => setTimeout(() => it.start(), 300));
    return it;
}

const sites = informer(`/apis/${group}/${version}/namespaces/${namespace}/${plural}`, () =>
    customs.listNamespacedCustomObject({ group, version, namespace, plural }));
for (const what of ['add', 'update', 'delete']) sites.on(what, (s) => enqueue(s.metadata.name));
const maps = informer(`/api/v1/namespaces/${namespace}/configmaps`, () => {
    log('lists'); // at the start, and when a watch cannot go on
    return core.listNamespacedConfigMap({ namespace });
});
for (const what of ['update', 'delete']) maps.on(what, (c) => c.metadata.labels?.site && enqueue(c.metadata.labels.site));

await Promise.all([sites.start(), maps.start()]);
log('runs');
await lead();
