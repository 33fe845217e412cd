// Server-side apply of a custom object as a program does it, with the official client.
import assert from 'node:assert'
import * as k8s from '@kubernetes/client-node'

const kc = new k8s.KubeConfig()
kc.loadFromFile(process.env.KUBECONFIG)
const custom = kc.makeApiClient(k8s.CustomObjectsApi)
const options = k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.ServerSideApply,
  { middlewareMergeStrategy: 'append', middleware: [] })
const at = { group: 'acme.io', version: 'v1', namespace: 'default', plural: 'gears', name: 'js' }
const send = (fieldManager, spec, force) => custom.patchNamespacedCustomObject({
  ...at, fieldManager, force, body: { apiVersion: 'acme.io/v1', kind: 'Gear', metadata: { name: 'js' }, spec },
}, options)

let gear = await send('one', { color: 'red', ports: [{ port: 1 }] })
assert.deepEqual(gear.spec, { color: 'red', ports: [{ port: 1, proto: 'TCP' }] })
await assert.rejects(send('two', { color: 'blue', ports: [{ port: 2 }] }), e => {
  const status = typeof e.body === 'string' ? JSON.parse(e.body) : e.body
  assert.equal(e.code ?? status.code, 409)
  assert.deepEqual(status.details.causes,
    [{ reason: 'FieldManagerConflict', message: 'conflict with "one"', field: '.spec.color' }])
  return true
})
gear = await send('two', { color: 'blue', ports: [{ port: 2 }] }, true)
assert.deepEqual(gear.spec.ports.map(p => p.port), [1, 2])
gear = await send('one', {})
assert.deepEqual(gear.spec, { color: 'blue', ports: [{ port: 2, proto: 'TCP' }] })

// a read-modify-write of the whole object keeps the owners of what it does not change
gear.spec.words = ['w']
gear = await custom.replaceNamespacedCustomObject({ ...at, fieldManager: 'rmw', body: gear })
assert.deepEqual(gear.metadata.managedFields.map(m => [m.manager, m.operation]),
  [['one', 'Apply'], ['two', 'Apply'], ['rmw', 'Update']])
assert.deepEqual(gear.metadata.managedFields[2].fieldsV1, { 'f:spec': { 'f:words': {} } })
await custom.deleteNamespacedCustomObject(at)
