// The bill of materials (`make sbom`) is valid CycloneDX, and names what is in the program and its pages.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import Ajv from 'ajv'
import formats from 'ajv-formats'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const folder = mkdtempSync(join(tmpdir(), 'switchboard-sbom-'))
after(() => rmSync(folder, { recursive: true, force: true }))

function made(name) {
  const file = join(folder, name)
  execFileSync(join(root, '.ci/sbom'), [file], { stdio: ['ignore', 'ignore', 'inherit'] })
  return readFileSync(file, 'utf8')
}

test('the bill of materials is CycloneDX 1.6, and says what is inside', () => {
  const text = made('first.json')
  assert.equal(made('second.json'), text, 'equal locks give an equal file')
  const bill = JSON.parse(text)

  const library = dirname(createRequire(import.meta.url).resolve('@cyclonedx/cyclonedx-library/package.json'))
  const schema = (name) => JSON.parse(readFileSync(join(library, 'res/schema', `${name}.SNAPSHOT.schema.json`), 'utf8'))
  const ajv = new Ajv({ strict: false, allErrors: true })
  formats(ajv)
  for (const format of ['idn-email', 'iri-reference']) ajv.addFormat(format, true)
  for (const name of ['spdx', 'jsf-0.82']) ajv.addSchema(schema(name), `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json`)
  const valid = ajv.compile(schema('bom-1.6'))
  assert.ok(valid(bill), JSON.stringify(valid.errors))
  assert.equal(valid({ ...bill, components: [{ name: 'without a type' }] }), false)

  const found = new Map(bill.components.map((component) => [component.purl.replace(/@[^@]*$/, ''), component]))
  for (const name of ['cargo/tokio', 'cargo/ring', 'cargo/switchboard-media', 'cargo/mongodb', 'npm/socket.io-client', 'npm/%40socket.io/component-emitter'])
    assert.equal(found.get(`pkg:${name}`)?.scope, 'required', name)
  assert.equal(found.get('pkg:cargo/serde_derive')?.scope, 'excluded')
  for (const name of ['cargo/proptest', 'npm/vite', 'npm/socket.io']) assert.equal(found.has(`pkg:${name}`), false, name)

  const own = (component) => component.name.startsWith('switchboard-')
  const without = (what) => bill.components.filter((component) => !own(component) && !component[what]).map(({ purl }) => purl)
  // This one's manifest names no licence in the form that npm reads.
  assert.deepEqual([without('hashes'), without('licenses').filter((name) => !name.startsWith('pkg:npm/xmlhttprequest-ssl@'))], [[], []])
  const known = new Set([bill.metadata.component, ...bill.components].map((component) => component['bom-ref']))
  for (const { ref, dependsOn } of bill.dependencies) for (const name of [ref, ...dependsOn]) assert.ok(known.has(name), name)
})
