// Compares what a server sends with its own descriptions (/api/openapi.json, /api/asyncapi.json).
import Ajv from 'ajv/dist/2020.js'
import formats from 'ajv-formats'

/**
 * The same description, with every object closed: members that a value has and its schema does not name are faults as well, since
 * whoever reads the description does not know them. A part of an `allOf` stays open, the whole is closed where it is used.
 */
function closed(value, schemas, part = false) {
  if (Array.isArray(value)) return value.map((one) => closed(one, schemas, part))
  if (value === null || typeof value !== 'object') return value
  const copy = Object.fromEntries(Object.entries(value).map(([name, one]) => [name, closed(one, schemas, name === 'allOf' || value === schemas)]))
  const to = typeof value.$ref === 'string' && schemas[value.$ref.split('/schemas/')[1]]
  const whole = to ? to.properties || to.allOf : value.allOf
  if (whole && !part) copy.unevaluatedProperties = false
  return copy
}

const resolved = (document, schema) => ({ ...schema, $ref: document + schema.$ref })

export class Descriptions {
  #ajv = formats(new Ajv({ strict: false, allErrors: true, validateFormats: true }))
  #compiled = new Map()
  #paths

  constructor(openapi, asyncapi) {
    this.openapi = closed(openapi, openapi.components.schemas)
    this.asyncapi = closed(asyncapi, asyncapi.components.schemas)
    this.#ajv.addSchema(this.openapi, 'openapi:')
    this.#ajv.addSchema(this.asyncapi, 'asyncapi:')
    this.#ajv.addFormat('int32', true).addFormat('int64', true).addFormat('float', true).addFormat('double', true)
    // The most literal path first: `/api/calls/history` is not a call.
    this.#paths = Object.keys(openapi.paths).sort((a, b) => a.split('{').length - b.split('{').length)
      .map((path) => ({ path, pattern: new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}$`) }))
  }

  static async of(url) {
    const [openapi, asyncapi] = await Promise.all(['openapi', 'asyncapi'].map(async (name) => (await fetch(`${url}/api/${name}.json`)).json()))
    return new Descriptions(openapi, asyncapi)
  }

  #mismatch(schema, value) {
    const pointer = JSON.stringify(schema)
    let check = this.#compiled.get(pointer)
    if (!check) this.#compiled.set(pointer, (check = this.#ajv.compile(schema)))
    if (check(value)) return undefined
    // What a branch for null says is noise beside what the other branch says.
    return check.errors.filter(({ params }) => params.type !== 'null').slice(0, 4)
      .map(({ instancePath, message, params }) => `${instancePath || '/'} ${message} ${JSON.stringify(params)}`).join('; ')
  }

  #fault(what, schema, value) {
    const fault = this.#mismatch(schema, value)
    return fault && `${what} is not as described: ${fault}; value: ${JSON.stringify(value).slice(0, 1500)}`
  }

  /** The fault of an event that the server sent, if it has one. */
  event(name, payload) {
    const key = `server.${name}`
    const message = this.asyncapi.components.messages[key]
    if (!message) return `the event ${name} is not described; value: ${JSON.stringify(payload)}`
    if (payload === undefined) return `the event ${name} has no payload`
    const fault = this.#fault(`the event ${name}`, resolved('asyncapi:', message.payload), payload)
    if (fault || name !== 'sync:batch') return fault
    return payload.events.map((entry) => this.event(entry.event, entry.payload)).find(Boolean)
  }

  /** The fault of an acknowledgement, if it has one. */
  acknowledgement(name, ack) {
    const message = this.asyncapi.components.messages[`client.${name}`]
    if (!message) return ack?.ok ? `the event ${name} is acknowledged and not described` : undefined
    if (ack?.ok === true) {
      const { ok: _, ...members } = ack
      return this.#fault(`the acknowledgement of ${name}`, resolved('asyncapi:', closed({ $ref: message['x-ack'].allOf.at(-1).$ref }, this.asyncapi.components.schemas)), members)
    }
    if (ack?.ok !== false) return `the acknowledgement of ${name} has no "ok": ${JSON.stringify(ack)}`
    const { ok: _, ...error } = ack
    return this.#fault(`the refusal of ${name}`, { $ref: 'openapi:#/components/schemas/ErrorBody', unevaluatedProperties: false }, error)
  }

  /** The fault of an answer to a request, if it has one. */
  answer(method, address, status, type, json) {
    const path = this.path(address)
    if (!path) return undefined
    const operation = this.openapi.paths[path][method.toLowerCase()]
    if (!operation) return status < 400 ? `${method} ${path} is not described and answers ${status}` : undefined
    const what = `the answer ${status} to ${method} ${path}`
    const response = operation.responses[status]
    if (!response) return `${what} is not described; value: ${JSON.stringify(json)}`
    const media = type?.split(';')[0]
    if (!media) return undefined
    if (!response.content?.[media]) return status === 206 || !json ? undefined : `${what} has the undescribed type ${media}`
    if (media !== 'application/json') return undefined
    const escaped = (text) => encodeURIComponent(text.replaceAll('~', '~0').replaceAll('/', '~1'))
    return this.#fault(what, { $ref: `openapi:#/paths/${escaped(path)}/${method.toLowerCase()}/responses/${status}/content/${escaped(media)}/schema` }, json)
  }

  /** The described path of an address; the aliases are the same as what they stand for. */
  path(address) {
    const path = address.split('?')[0].replace(/^\/v1\/calls(?=\/|$)/, '/api/calls').replace(/^\/v1(?=\/)/, '/api/chat')
    return this.#paths.find(({ pattern }) => pattern.test(path))?.path
  }
}
