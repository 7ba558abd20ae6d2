// Writes src/generated.ts from the server's descriptions: `node generate.mjs http://localhost:3001`.
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const reference = ({ $ref }) => $ref.split('/').at(-1)
const key = (name) => (/^[A-Za-z_]\w*$/.test(name) ? name : `'${name}'`)
const comment = (text, indent = '') => (text ? `${indent}/** ${text.replace(/\s+/g, ' ').replaceAll('*/', '* /')} */\n` : '')

function members(schema, indent) {
  const lines = Object.entries(schema.properties ?? {}).map(([name, member]) => {
    const optional = schema.required?.includes(name) ? '' : '?'
    const about = member.description ?? member.oneOf?.find(({ description }) => description)?.description
    return `${comment(about, `${indent}  `)}${indent}  ${key(name)}${optional}: ${type(member, `${indent}  `)}\n`
  })
  return `{\n${lines.join('')}${indent}}`
}

/** A JSON schema as a TypeScript type. */
export function type(schema, indent = '') {
  if (schema === true || schema === undefined) return 'unknown'
  if (schema.$ref) return reference(schema)
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum) return schema.enum.map((value) => (typeof value === 'string' ? `'${value}'` : String(value))).join(' | ')
  if (schema.allOf) return schema.allOf.map((part) => type(part, indent)).join(' & ')
  const either = schema.oneOf ?? schema.anyOf
  if (either) return [...new Set(either.map((part) => type(part, indent)))].join(' | ')
  if (Array.isArray(schema.type)) {
    return schema.type.map((one) => type({ ...schema, type: one }, indent)).join(' | ')
  }
  switch (schema.type) {
    case 'integer':
    case 'number': return 'number'
    case 'string': return 'string'
    case 'boolean': return 'boolean'
    case 'null': return 'null'
    case 'array': {
      const item = type(schema.items, indent)
      return /^\w+$/.test(item) ? `${item}[]` : `(${item})[]`
    }
    case 'object':
      if (schema.properties) return members(schema, indent)
      return `Record<string, ${typeof schema.additionalProperties === 'object' ? type(schema.additionalProperties, indent) : 'unknown'}>`
    default: return 'unknown'
  }
}

/** The text of src/generated.ts. */
export function generate(openapi, asyncapi) {
  // The objects of the REST API that the client uses beside those of the events.
  const schemas = { ...asyncapi.components.schemas }
  const wanted = ['User', 'Me', 'Conversation', 'WebrtcConfig', 'Device', 'Session', 'Job', 'ErrorBody']
  const add = (name) => {
    if (name in schemas) return
    const schema = openapi.components.schemas[name]
    if (!schema) throw new Error(`/api/openapi.json has no schema ${name}`)
    schemas[name] = schema
    for (const [, other] of JSON.stringify(schema).matchAll(/"#\/components\/schemas\/(\w+)"/g)) add(other)
  }
  wanted.forEach(add)
  const messages = Object.entries(asyncapi.components.messages)
  const server = messages.filter(([name]) => name.startsWith('server.')).map(([, { name, summary, payload }]) =>
    `${comment(summary, '  ')}  ${key(name)}: ${type(payload)}\n`)
  const client = messages.filter(([name]) => name.startsWith('client.')).map(([, message]) => {
    const ack = type(message['x-ack'].allOf.at(-1))
    return `${comment(message.summary, '  ')}  ${key(message.name)}: [${type(message.payload)}, ${ack}]\n`
  })
  const types = Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, schema]) => {
    const text = type(schema)
    return comment(schema.description) + (text.startsWith('{') && !schema.oneOf ? `export interface ${name} ${text}\n` : `export type ${name} = ${text}\n`)
  })
  return `// Made by generate.mjs from /api/openapi.json and /api/asyncapi.json: do not edit.\n\n${types.join('\n')}
/** What the server sends, by name. */\nexport interface ServerMessages {\n${server.join('')}}

/** What a client sends, by name: the payload, and the acknowledgement's members beside \`ok\`. */\nexport interface ClientMessages {\n${client.join('')}}\n`
}

/** Fetches both descriptions of a running server. */
export async function descriptions(url) {
  return Promise.all(['openapi', 'asyncapi'].map(async (name) => (await fetch(`${url}/api/${name}.json`)).json()))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const url = process.argv[2] ?? 'http://localhost:3001'
  writeFileSync(new URL('src/generated.ts', import.meta.url), generate(...await descriptions(url)))
}
