// CRUD, watch, informer, exec and log calls of npm's @kubernetes/client-node against a running davit.
// KUBECONFIG names it; the image davit.local/busybox:1 is loaded.
import test from 'node:test';
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import * as k8s from '@kubernetes/client-node';

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const namespace = 'default';

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
async function until(what, check) {
  for (let i = 0; i < 300; i++) {
    const v = await check();
    if (v) return v;
    await sleep(100);
  }
  assert.fail(`waited in vain for ${what}`);
}
const pod = (name, command) => ({
  metadata: { name, labels: { test: name } },
  spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'davit.local/busybox:1', command }] },
});
const phase = async (name) => (await core.readNamespacedPod({ name, namespace })).status.phase;

test('create, read, replace, patch, list, delete', async () => {
  const name = 'from-node';
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name }, data: { a: '1' } } });
  const cm = await core.readNamespacedConfigMap({ name, namespace });
  assert.equal(cm.data.a, '1');
  cm.data.a = '2';
  await core.replaceNamespacedConfigMap({ name, namespace, body: cm });
  await assert.rejects(core.replaceNamespacedConfigMap({ name, namespace, body: cm }), (e) => e.code === 409);
  const patched = await core.patchNamespacedConfigMap({ name, namespace, body: [{ op: 'replace', path: '/data/a', value: '3' }] });
  assert.equal(patched.data.a, '3');
  const list = await core.listNamespacedConfigMap({ namespace });
  assert.ok(list.items.some((i) => i.metadata.name === name));
  await core.deleteNamespacedConfigMap({ name, namespace });
  await assert.rejects(core.readNamespacedConfigMap({ name, namespace }), (e) => e.code === 404);
});

test('a watch sees what happens', async () => {
  const seen = [];
  const watch = new k8s.Watch(config);
  const request = await watch.watch(`/api/v1/namespaces/${namespace}/configmaps`, {}, (type, o) => seen.push(`${type} ${o.metadata.name}`), () => {});
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'watched-js' }, data: {} } });
  await core.deleteNamespacedConfigMap({ name: 'watched-js', namespace });
  await until('the events', () => seen.includes('ADDED watched-js') && seen.includes('DELETED watched-js'));
  request.abort();
});

test('an informer keeps a cache', async () => {
  const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/secrets`, () => core.listNamespacedSecret({ namespace }));
  const events = [];
  for (const verb of ['add', 'update', 'delete']) informer.on(verb, (o) => events.push(`${verb} ${o.metadata.name}`));
  await informer.start();
  await core.createNamespacedSecret({ namespace, body: { metadata: { name: 'informed' }, stringData: { a: 'b' } } });
  const secret = await until('the secret', () => informer.get('informed', namespace));
  assert.equal(Buffer.from(secret.data.a, 'base64').toString(), 'b');
  await core.patchNamespacedSecret({ name: 'informed', namespace, body: [{ op: 'add', path: '/metadata/labels', value: { x: 'y' } }] });
  await until('the update', () => events.includes('update informed'));
  await core.deleteNamespacedSecret({ name: 'informed', namespace });
  await until('the deletion', () => events.includes('delete informed'));
  await informer.stop();
});

test('a deployment runs and scales', async () => {
  const labels = { app: 'js' };
  const body = { metadata: { name: 'js' }, spec: { replicas: 1, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'davit.local/busybox:1', command: ['sleep', '3600'] }] } } } };
  await apps.createNamespacedDeployment({ namespace, body });
  await until('one replica', async () => (await apps.readNamespacedDeployment({ name: 'js', namespace })).status.readyReplicas === 1);
  const scale = await apps.readNamespacedDeploymentScale({ name: 'js', namespace });
  scale.spec.replicas = 2;
  await apps.replaceNamespacedDeploymentScale({ name: 'js', namespace, body: scale });
  await until('two replicas', async () => (await apps.readNamespacedDeployment({ name: 'js', namespace })).status.readyReplicas === 2);
  await apps.deleteNamespacedDeployment({ name: 'js', namespace });
});

test('logs, whole and followed', async () => {
  await core.createNamespacedPod({ namespace, body: pod('log-js', ['sh', '-c', 'echo first; sleep 1; echo second']) });
  await until('the end', async () => (await phase('log-js')) === 'Succeeded' || (await phase('log-js')) === 'Running');
  const stream = new PassThrough();
  let text = '';
  stream.on('data', (d) => (text += d));
  await new k8s.Log(config).log(namespace, 'log-js', 'c', stream, { follow: true });
  await until('both lines', () => text === 'first\nsecond\n');
  await core.deleteNamespacedPod({ name: 'log-js', namespace, gracePeriodSeconds: 0 });
});

test('exec gives output, errors and status', async () => {
  await core.createNamespacedPod({ namespace, body: pod('exec-js', ['sleep', '3600']) });
  await until('running', async () => (await phase('exec-js')) === 'Running');
  const run = (command, input) =>
    new Promise((resolve, reject) => {
      const out = new PassThrough(), err = new PassThrough();
      const got = { out: '', err: '' };
      out.on('data', (d) => (got.out += d));
      err.on('data', (d) => (got.err += d));
      const stdin = input === undefined ? null : new PassThrough();
      new k8s.Exec(config).exec(namespace, 'exec-js', 'c', command, out, err, stdin, false, (status) => resolve({ ...got, status })).catch(reject);
      if (stdin) stdin.end(input);
    });
  const ok = await run(['sh', '-c', 'echo out; echo err >&2']);
  assert.equal(ok.out, 'out\n');
  assert.equal(ok.err, 'err\n');
  assert.equal(ok.status.status, 'Success');
  const bad = await run(['sh', '-c', 'exit 9']);
  assert.equal(bad.status.status, 'Failure');
  assert.equal(bad.status.details.causes[0].message, '9');
  await core.deleteNamespacedPod({ name: 'exec-js', namespace, gracePeriodSeconds: 0 });
});
