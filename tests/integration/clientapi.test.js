// What clients lean on besides plain calls: informers that outlive their server and its window, initial events, pages that expire,
// identities and certificates. npm's @kubernetes/client-node and bare requests. KUBECONFIG names a server that was started with
// a window of a few events (DAVIT_TEST_WATCH_WINDOW); RESTART is a command that kills it and starts it again.
import test from 'node:test';
import assert from 'node:assert/strict';
import https from 'node:https';
import { execFileSync } from 'node:child_process';
import * as k8s from '@kubernetes/client-node';

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const namespace = 'default';
const CM = `/api/v1/namespaces/${namespace}/configmaps`;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function until(what, check) {
  for (let i = 0; i < 300; i++) {
    if (await check()) return;
    await sleep(100);
  }
  assert.fail(`waited in vain for ${what}`);
}

// A bare request: {code, body} (parsed), or lines as they come when onLine is given (it returns true when it has seen enough).
async function raw(method, path, { body, headers = {}, onLine, anonymous } = {}) {
  const options = { method, headers: { 'Content-Type': 'application/json', Accept: 'application/json', ...headers }, agent: false };
  if (anonymous) options.ca = Buffer.from(config.getCurrentCluster().caData, 'base64');
  else await config.applyToHTTPSOptions(options);
  return new Promise((resolve, reject) => {
    const request = https.request(config.getCurrentCluster().server + path, options, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (piece) => {
        text += piece;
        while (onLine && text.includes('\n')) {
          const line = text.slice(0, text.indexOf('\n'));
          text = text.slice(line.length + 1);
          if (onLine(JSON.parse(line))) {
            request.destroy();
            resolve({ code: answer.statusCode });
            return;
          }
        }
      });
      answer.on('end', () => resolve({ code: answer.statusCode, body: text ? JSON.parse(text) : undefined }));
    });
    request.setTimeout(20000, () => request.destroy(new Error('no answer')));
    request.on('error', reject);
    request.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
  });
}
const create = (name, labels = {}) => core.createNamespacedConfigMap({ namespace, body: { metadata: { name, labels }, data: {} } });

// More events than the window holds.
async function overflow() {
  await create('noise');
  for (let i = 0; i < 60; i++) {
    await core.patchNamespacedConfigMap({ name: 'noise', namespace, body: [{ op: 'add', path: '/data', value: { i: `${i}` } }] });
  }
  await core.deleteNamespacedConfigMap({ name: 'noise', namespace });
}

// An informer as operators use it: started again when it says that it lost its connection.
function informer(list) {
  const it = k8s.makeInformer(config, CM, list);
  let halted = false;
  it.on('error', () => setTimeout(() => halted || it.start().catch(() => {}), 200));
  it.halt = () => {
    halted = true;
    return it.stop();
  };
  return it;
}
const names = (it) => it.list(namespace).map((o) => o.metadata.name).filter((n) => n.startsWith('inf-')).sort().join(',');

test('an informer whose list is older than the window lists anew by itself', async () => {
  await create('inf-a');
  await create('inf-b');
  const stale = await core.listNamespacedConfigMap({ namespace });
  await overflow();
  await core.deleteNamespacedConfigMap({ name: 'inf-b', namespace });
  await create('inf-c');
  let lists = 0;
  const it = informer(async () => (lists++ === 0 ? stale : core.listNamespacedConfigMap({ namespace })));
  await it.start();
  await until('the new list', () => names(it) === 'inf-a,inf-c');
  assert.ok(lists >= 2);
  await create('inf-d');
  await until('what came later', () => names(it) === 'inf-a,inf-c,inf-d');
  await it.halt();
});

test('a watch from a revision that has left the window is told 410, inside the stream', async () => {
  const { metadata } = await core.listNamespacedConfigMap({ namespace });
  await overflow();
  const seen = [];
  const { code } = await raw('GET', `${CM}?watch=1&resourceVersion=${metadata.resourceVersion}`, { onLine: (e) => seen.push(e) });
  assert.equal(code, 200);
  assert.equal(seen[0].type, 'ERROR');
  assert.deepEqual([seen[0].object.kind, seen[0].object.code, seen[0].object.reason], ['Status', 410, 'Expired']);
});

test('an informer outlives its server', async () => {
  const it = informer(() => core.listNamespacedConfigMap({ namespace }));
  const gone = [];
  it.on('delete', (o) => gone.push(o.metadata.name));
  await it.start();
  await until('the first list', () => names(it) === 'inf-a,inf-c,inf-d');
  execFileSync('bash', ['-c', process.env.RESTART], { stdio: 'inherit' });
  await core.deleteNamespacedConfigMap({ name: 'inf-a', namespace });
  await create('inf-e');
  await until('the state after the restart', () => names(it) === 'inf-c,inf-d,inf-e');
  await until('a deletion nobody watched', () => gone.includes('inf-a'));
  // revisions go on where they were: none is used twice
  await create('inf-f');
  await until('what comes later', () => names(it) === 'inf-c,inf-d,inf-e,inf-f');
  await it.halt();
});

test('initial events, then the bookmark that ends them, then what happens', async () => {
  await create('init-a', { init: 'yes' });
  await create('init-b', { init: 'yes' });
  const path = `${CM}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=init%3Dyes`;
  const seen = [];
  const watching = raw('GET', path, { onLine: (e) => seen.push(e) && e.type === 'DELETED' });
  await until('the bookmark', () => seen.some((e) => e.type === 'BOOKMARK'));
  await core.deleteNamespacedConfigMap({ name: 'init-a', namespace });
  await watching;
  assert.deepEqual(seen.map((e) => [e.type, e.object.metadata.name]), [
    ['ADDED', 'init-a'], ['ADDED', 'init-b'], ['BOOKMARK', undefined], ['DELETED', 'init-a']]);
  const mark = seen[2].object;
  assert.equal(mark.metadata.annotations['k8s.io/initial-events-end'], 'true');
  assert.equal(mark.kind, 'ConfigMap');
  assert.ok(BigInt(mark.metadata.resourceVersion) >= BigInt(seen[1].object.metadata.resourceVersion));
  // none of them when they are not wanted
  const later = [];
  const quiet = raw('GET', `${CM}?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&labelSelector=init%3Dyes`, { onLine: (e) => later.push(e) && e.type === 'DELETED' });
  let changes = 0; // until the watch is there to see one
  await until('a change', async () => {
    await raw('PATCH', `${CM}/init-b`, { body: { data: { change: `${++changes}` } }, headers: { 'Content-Type': 'application/merge-patch+json' } });
    return later.length > 0;
  });
  await core.deleteNamespacedConfigMap({ name: 'init-b', namespace });
  await quiet;
  const last = later.pop();
  assert.deepEqual([last.type, last.object.metadata.name], ['DELETED', 'init-b']);
  assert.ok(later.every((e) => e.type === 'MODIFIED' && e.object.metadata.name === 'init-b'));
});

// What may wait for a client is bounded (8 MB); the state it is told at first is not part of that.
test('a state of 12 MB is told whole, to who reads slowly too, and then what came meanwhile', async () => {
  const big = 'x'.repeat(400_000);
  for (let i = 0; i < 30; i++) await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: `big-${i}`, labels: { big: 'yes' } }, data: { big } } });
  const options = { method: 'GET', headers: { Accept: 'application/json' }, agent: false };
  await config.applyToHTTPSOptions(options);
  const path = `${CM}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=big%3Dyes`;
  let begun = 0;
  const slow = () =>
    new Promise((resolve, reject) => {
      const seen = [];
      const request = https.request(config.getCurrentCluster().server + path, options, (answer) => {
        let text = '';
        begun++;
        answer.setEncoding('utf8');
        setTimeout(() => {
          answer.on('data', (piece) => {
            const lines = (text += piece).split('\n');
            text = lines.pop();
            for (const line of lines) {
              const e = JSON.parse(line);
              seen.push(`${e.type} ${e.object.metadata.name ?? ''}`);
              if (e.type !== 'BOOKMARK' && e.object.data.big.length !== 400_000) reject(new Error('cut'));
              if (e.type === 'DELETED') {
                request.destroy();
                resolve(seen);
              }
            }
          });
        }, 1000);
        answer.on('end', () => reject(new Error(`ended after ${seen.length}`)));
      });
      request.on('error', reject);
      request.end();
    });
  const watching = Promise.all([slow(), slow(), slow()]);
  await until('three answers to begin', () => begun === 3);
  await core.deleteNamespacedConfigMap({ name: 'big-7', namespace });
  for (const seen of await watching) {
    assert.equal(seen.filter((s) => s.startsWith('ADDED')).length, 30);
    assert.deepEqual(seen.slice(30), ['BOOKMARK ', 'DELETED big-7']);
  }
  await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: 'big=yes' });
});

test('which options go together', async () => {
  const rows = [
    ['watch=1&sendInitialEvents=true', 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan'],
    ['watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=1', 'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided'],
    ['watch=1&sendInitialEvents=true&resourceVersionMatch=Exact', 'Unsupported value: "Exact"'],
    ['resourceVersionMatch=Exact', 'resourceVersionMatch is forbidden unless resourceVersion is provided'],
    ['resourceVersionMatch=Exact&resourceVersion=0', 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'],
    ['resourceVersionMatch=About&resourceVersion=1', 'Unsupported value: "About"'],
    ['sendInitialEvents=true', 'sendInitialEvents is forbidden for list'],
  ];
  for (const [query, text] of rows) {
    const { code, body } = await raw('GET', `${CM}?${query}`);
    assert.equal(code, 422, query);
    assert.equal(body.reason, 'Invalid');
    assert.ok(body.message.startsWith('ListOptions.meta.k8s.io "" is invalid: ') && body.message.includes(text), body.message);
    assert.ok(body.details.causes.length > 0);
  }
});

test('lists as of a revision, and not older than one', async () => {
  const first = await create('rev-a', { rev: 'yes' });
  const at = first.metadata.resourceVersion;
  await create('rev-b', { rev: 'yes' });
  const list = async (query) => {
    const { code, body } = await raw('GET', `${CM}?labelSelector=rev%3Dyes&${query}`);
    return code === 200 ? body.items.map((o) => o.metadata.name).join(',') : code;
  };
  assert.equal(await list(`resourceVersion=${at}&resourceVersionMatch=Exact`), 'rev-a');
  assert.equal(await list(`resourceVersion=${at}&resourceVersionMatch=NotOlderThan`), 'rev-a,rev-b');
  assert.equal(await list('resourceVersion=0'), 'rev-a,rev-b');
  assert.equal(await list('resourceVersion=999999999&resourceVersionMatch=NotOlderThan'), 504);
  await overflow();
  assert.equal(await list(`resourceVersion=${at}&resourceVersionMatch=Exact`), 410);
  for (const name of ['rev-a', 'rev-b']) await core.deleteNamespacedConfigMap({ name, namespace });
});

test('pages: of one revision; when that is gone, a token for the rest as it is', async () => {
  for (let i = 0; i < 6; i++) await create(`page-${i}`, { page: 'yes' });
  const page = (token) => raw('GET', `${CM}?labelSelector=page%3Dyes&limit=2${token ? `&continue=${token}` : ''}`);
  const shown = ({ body }) => body.items.map((o) => o.metadata.name).join(',');
  const one = await page();
  assert.equal(shown(one), 'page-0,page-1');
  await core.deleteNamespacedConfigMap({ name: 'page-2', namespace });
  const two = await page(one.body.metadata.continue);
  assert.equal(shown(two), 'page-2,page-3'); // as it was
  assert.equal(two.body.metadata.resourceVersion, one.body.metadata.resourceVersion);
  await overflow();
  const late = await page(one.body.metadata.continue);
  assert.equal(late.code, 410);
  assert.equal(late.body.reason, 'Expired');
  assert.ok(late.body.message.includes('use the continue token in this response'));
  const rest = await page(late.body.metadata.continue);
  assert.equal(rest.code, 200);
  assert.equal(shown(rest), 'page-3,page-4'); // as it is now
  const last = await page(rest.body.metadata.continue);
  assert.equal(shown(last), 'page-5');
  assert.ok(!last.body.metadata.continue);
  await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: 'page=yes' });
});

test('selectable fields of a custom kind: list, watch, delete', async () => {
  const ext = config.makeApiClient(k8s.ApiextensionsV1Api);
  const custom = config.makeApiClient(k8s.CustomObjectsApi);
  const schema = { type: 'object', properties: { spec: { type: 'object', properties: { color: { type: 'string' }, size: { type: 'integer' } } } } };
  await ext.createCustomResourceDefinition({ body: {
    metadata: { name: 'hats.js.example.com' },
    spec: { group: 'js.example.com', scope: 'Namespaced', names: { plural: 'hats', singular: 'hat', kind: 'Hat', listKind: 'HatList' },
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema }, selectableFields: [{ jsonPath: '.spec.color' }] }] } } });
  const at = { group: 'js.example.com', version: 'v1', namespace, plural: 'hats' };
  await until('the kind', () => custom.listNamespacedCustomObject(at).then(() => true, () => false));
  const hat = (name, color) => custom.createNamespacedCustomObject({ ...at, body: { apiVersion: 'js.example.com/v1', kind: 'Hat', metadata: { name }, spec: { color } } });
  await hat('a', 'red');
  await hat('b', 'blue');
  const of = async (fieldSelector) => (await custom.listNamespacedCustomObject({ ...at, fieldSelector })).items.map((o) => o.metadata.name).join(',');
  assert.equal(await of('spec.color=red'), 'a');
  assert.equal(await of('spec.color!=red'), 'b');
  await assert.rejects(of('spec.size=1'), (e) => e.code === 400);
  const seen = [];
  const watching = raw('GET', '/apis/js.example.com/v1/hats?watch=1&fieldSelector=spec.color%3Dred', { onLine: (e) => seen.push(`${e.type} ${e.object.metadata.name}`) >= 3 });
  await until('the first', () => seen.length === 1);
  await custom.patchNamespacedCustomObject({ ...at, name: 'b', body: [{ op: 'replace', path: '/spec/color', value: 'red' }] });
  await custom.patchNamespacedCustomObject({ ...at, name: 'a', body: [{ op: 'replace', path: '/spec/color', value: 'blue' }] });
  await watching;
  assert.deepEqual(seen, ['ADDED a', 'ADDED b', 'DELETED a']);
  await custom.deleteCollectionNamespacedCustomObject({ ...at, fieldSelector: 'spec.color=red' });
  assert.equal(await of(''), 'a');
  await ext.deleteCustomResourceDefinition({ name: 'hats.js.example.com' });
});

test('a token of an account: asked for, reviewed, used, and void with its account', async () => {
  await core.createNamespacedServiceAccount({ namespace, body: { metadata: { name: 'js' } } });
  const { status } = await core.createNamespacedServiceAccountToken({ name: 'js', namespace, body: { spec: { audiences: [], expirationSeconds: 600 } } });
  const authn = config.makeApiClient(k8s.AuthenticationV1Api);
  const review = async (spec) => (await authn.createTokenReview({ body: { spec } })).status;
  const good = await review({ token: status.token });
  assert.equal(good.authenticated, true);
  assert.equal(good.user.username, 'system:serviceaccount:default:js');
  assert.ok(good.user.groups.includes('system:serviceaccounts:default'));
  const other = await review({ token: status.token, audiences: ['elsewhere'] });
  assert.ok(!other.authenticated && other.error);
  const me = () => raw('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', { body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' }, anonymous: true, headers: { Authorization: `Bearer ${status.token}` } });
  assert.equal((await me()).body.status.userInfo.username, 'system:serviceaccount:default:js');
  await core.deleteNamespacedServiceAccount({ name: 'js', namespace });
  assert.equal((await me()).code, 401);
  assert.ok(!(await review({ token: status.token })).authenticated);
});

test('who am I, and who am I for others', async () => {
  const authn = config.makeApiClient(k8s.AuthenticationV1Api);
  const me = await authn.createSelfSubjectReview({ body: {} });
  assert.ok(me.status.userInfo.groups.includes('system:masters'));
  const as = await raw('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', {
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' }, headers: { 'Impersonate-User': 'jane', 'Impersonate-Group': 'devs', 'Impersonate-Extra-Team%2fColor': 'red' } });
  assert.deepEqual(as.body.status.userInfo, { username: 'jane', groups: ['devs', 'system:authenticated'], extra: { 'team/color': ['red'] } });
  const refused = await raw('GET', CM, { headers: { 'Impersonate-User': 'jane' } });
  assert.equal(refused.code, 403);
  assert.ok(refused.body.message.includes('User "jane" cannot list resource "configmaps"'));
});

test('a certificate: asked for, approved, signed, used; another one denied', async () => {
  const certs = config.makeApiClient(k8s.CertificatesV1Api);
  const dir = process.env.TMP_DIR;
  execFileSync('openssl', ['req', '-new', '-newkey', 'rsa:2048', '-nodes', '-keyout', `${dir}/key`, '-out', `${dir}/csr`, '-subj', '/O=devs/CN=carla'], { stdio: 'ignore' });
  const request = execFileSync('base64', ['-w0', `${dir}/csr`]).toString();
  const ask = (name) => certs.createCertificateSigningRequest({ body: { metadata: { name }, spec: { request, signerName: 'kubernetes.io/kube-apiserver-client', usages: ['client auth'], expirationSeconds: 3600 } } });
  const decide = async (name, type) => {
    const body = await certs.readCertificateSigningRequest({ name });
    body.status = { ...body.status, conditions: [{ type, status: 'True', reason: 'Test', message: 'by a test' }] };
    return certs.replaceCertificateSigningRequestApproval({ name, body });
  };
  await ask('carla');
  await sleep(300);
  assert.ok(!(await certs.readCertificateSigningRequest({ name: 'carla' })).status?.certificate); // nobody approved it
  await decide('carla', 'Approved');
  let signed;
  await until('the certificate', async () => (signed = (await certs.readCertificateSigningRequest({ name: 'carla' })).status?.certificate));
  await assert.rejects(decide('carla', 'Denied'), (e) => e.code === 422);
  const answer = await new Promise((resolve, reject) => {
    const options = { cert: Buffer.from(signed, 'base64'), key: execFileSync('cat', [`${dir}/key`]), ca: Buffer.from(config.getCurrentCluster().caData, 'base64'), agent: false };
    https.get(`${config.getCurrentCluster().server}${CM}`, options, (a) => {
      let text = '';
      a.on('data', (d) => (text += d));
      a.on('end', () => resolve(JSON.parse(text)));
    }).on('error', reject);
  });
  assert.ok(answer.message.includes('User "carla" cannot list resource "configmaps"'), answer.message);
  await ask('denied');
  await decide('denied', 'Denied');
  await sleep(500);
  assert.ok(!(await certs.readCertificateSigningRequest({ name: 'denied' })).status.certificate);
});

test('fifty clients at a quota of seven: seven get in, each refusal says why, and what goes makes room', async () => {
  await core.createNamespace({ body: { metadata: { name: 'tight' } } });
  await core.createNamespacedResourceQuota({ namespace: 'tight', body: { metadata: { name: 'q' }, spec: { hard: { 'count/secrets': '7' } } } });
  await until('the quota', async () => (await core.readNamespacedResourceQuota({ name: 'q', namespace: 'tight' })).status?.hard);
  const put = (i) => core.createNamespacedSecret({ namespace: 'tight', body: { metadata: { name: `s${i}` } } }).then(() => 201, (e) => (/exceeded quota: q/.test(e.body) ? e.code : `${e.code} ${e.body}`));
  const codes = await Promise.all(Array.from({ length: 50 }, (_, i) => put(i)));
  assert.equal(codes.filter((c) => c === 201).length, 7);
  assert.equal(codes.filter((c) => c === 403).length, 43);
  const { items } = await core.listNamespacedSecret({ namespace: 'tight' });
  assert.equal(items.length, 7);
  await core.deleteNamespacedSecret({ name: items[0].metadata.name, namespace: 'tight' });
  assert.equal(await put(100), 201);
  assert.equal(await put(101), 403);
});
