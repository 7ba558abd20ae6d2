// Shows what /api/openapi.json and /api/asyncapi.json say. No foreign script reads it for us.

interface Schema {
  $ref?: string; type?: string | string[]; description?: string; properties?: Record<string, Schema>; required?: string[]
  items?: Schema; enum?: unknown[]; allOf?: Schema[]; oneOf?: Schema[]; format?: string
}
type Schemas = Record<string, Schema>

const list = document.querySelector('#list') as HTMLElement

function element(tag: string, text = '', parent?: Element): HTMLElement {
  const made = document.createElement(tag)
  made.textContent = text
  parent?.append(made)
  return made
}

/** The name of a type, short enough for a table. */
function typeOf(schema: Schema): string {
  if (schema.$ref) return schema.$ref.split('/').pop() ?? ''
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ')
  if (schema.oneOf) return schema.oneOf.map(typeOf).filter((name) => name !== 'null').join(' | ')
  if (schema.items) return `${typeOf(schema.items)}[]`
  const types = [schema.type ?? 'any'].flat().filter((type) => type !== 'null')
  return types.join(' | ') + (schema.format ? ` (${schema.format})` : '')
}

/** All fields of an object, those of its parts included. */
function fields(schema: Schema, schemas: Schemas, depth = 0): [string, Schema, boolean][] {
  if (depth > 4) return []
  if (schema.$ref) return fields(schemas[schema.$ref.split('/').pop() ?? ''] ?? {}, schemas, depth + 1)
  const parts = (schema.allOf ?? []).flatMap((part) => fields(part, schemas, depth + 1))
  const own = Object.entries(schema.properties ?? {})
  return [...parts, ...own.map(([name, field]): [string, Schema, boolean] => [name, field, schema.required?.includes(name) ?? false])]
}

function table(title: string, schema: Schema | undefined, schemas: Schemas, parent: HTMLElement): void {
  if (!schema) return
  const rows = fields(schema, schemas)
  if (rows.length === 0) return
  element('h3', title, parent)
  const made = element('table', '', parent)
  for (const [name, field, required] of rows) {
    const row = element('tr', '', made)
    element('td', required ? name : `${name}?`, row)
    element('td', typeOf(field), row)
    element('td', field.description ?? '', row)
  }
}

function entry(mark: string, name: string, about: string): HTMLElement {
  const details = element('details', '', list)
  details.dataset['find'] = `${name} ${about}`.toLowerCase()
  const summary = element('summary', '', details)
  element('b', mark, summary)
  element('code', name, summary)
  element('span', about, summary)
  const body = element('div', '', details)
  body.className = 'body'
  return body
}

const [rest, events] = await Promise.all(['/api/openapi.json', '/api/asyncapi.json'].map(async (path) => (await fetch(path)).json()))
list.textContent = ''

element('h2', 'Endpoints', list)
for (const [path, methods] of Object.entries<Record<string, any>>(rest.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    const body = entry(method.toUpperCase(), path, operation.summary ?? '')
    const schemas: Schemas = rest.components.schemas
    const parameters: Record<string, Schema> = {}
    for (const { name, schema, description } of operation.parameters ?? []) parameters[name] = { ...schema, description }
    table('Parameters', { properties: parameters }, schemas, body)
    table('Body', operation.requestBody?.content?.['application/json']?.schema, schemas, body)
    const answer = operation.responses?.['200']?.content?.['application/json']?.schema as Schema | undefined
    const data = answer && fields(answer, schemas).find(([name]) => name === 'data')
    table(data ? `data: ${typeOf(data[1])}` : 'Answer', data ? data[1].items ?? data[1] : answer, schemas, body)
  }
}
for (const [side, title, mark] of [['client', 'Events that clients send', 'emit'], ['server', 'Events that the server sends', 'on']] as const) {
  element('h2', title, list)
  for (const [key, message] of Object.entries<any>(events.components.messages)) {
    if (!key.startsWith(`${side}.`)) continue
    const body = entry(mark, message.name, message.summary)
    table('Payload', message.payload, events.components.schemas, body)
    table('Acknowledgement', message['x-ack'], events.components.schemas, body)
  }
}

const filter = document.querySelector('#filter') as HTMLInputElement
filter.addEventListener('input', () => {
  const wanted = filter.value.trim().toLowerCase()
  for (const details of list.querySelectorAll<HTMLElement>('details')) {
    details.hidden = !(details.dataset['find'] ?? '').includes(wanted)
  }
})
export {}
