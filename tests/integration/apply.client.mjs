// Server-side apply as a program does it: the official client, its own field manager, conflicts as errors with causes.
import assert from 'node:assert'
import * as k8s from '@kubernetes/client-node'

const kc = new k8s.KubeConfig()
kc.loadFromFile(process.env.KUBECONFIG)
const core = kc.makeApiClient(k8s.CoreV1Api)
const apply = { middlewareMergeStrategy: 'append', middleware: [] }
const options = k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.ServerSideApply, apply)
const send = (fieldManager, data, force) => core.patchNamespacedConfigMap({
  name: 'js', namespace: 'default', fieldManager, force,
  body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'js' }, data },
}, options)

let cm = await send('one', { a: '1', b: '2' })
assert.deepEqual(cm.data, { a: '1', b: '2' })
assert.equal(cm.metadata.managedFields[0].manager, 'one')
assert.equal(cm.metadata.managedFields[0].operation, 'Apply')

await assert.rejects(send('two', { a: '9' }), e => {
  const status = typeof e.body === 'string' ? JSON.parse(e.body) : e.body
  assert.equal(e.code ?? status.code, 409)
  assert.equal(status.reason, 'Conflict')
  assert.deepEqual(status.details.causes,
    [{ reason: 'FieldManagerConflict', message: 'conflict with "one"', field: '.data.a' }])
  return true
})
cm = await send('two', { a: '9' }, true)
assert.deepEqual(cm.data, { a: '9', b: '2' })
cm = await send('one', undefined)
assert.deepEqual(cm.data, { a: '9' })
assert.deepEqual(cm.metadata.managedFields.map(m => m.manager), ['two'])

// a read-modify-write of the whole object keeps the owners of what it does not change
cm.data.c = '3'
cm = await core.replaceNamespacedConfigMap({ name: 'js', namespace: 'default', fieldManager: 'rmw', body: cm })
assert.deepEqual(cm.metadata.managedFields.map(m => [m.manager, m.operation]), [['two', 'Apply'], ['rmw', 'Update']])
assert.deepEqual(cm.metadata.managedFields[1].fieldsV1, { 'f:data': { 'f:c': {} } })
await core.deleteNamespacedConfigMap({ name: 'js', namespace: 'default' })
