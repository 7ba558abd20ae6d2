// Runs the real program on free ports with a data folder of its own.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { createHmac, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { io } from 'socket.io-client'
import { Descriptions } from './descriptions.mjs'

export const root = fileURLToPath(new URL('../../..', import.meta.url))
export const binary = process.env.SWITCHBOARD_BIN ?? join(root, 'target/debug/switchboard')
// `TEST_STORE=mongo` puts a MongoDB-wire engine of its own under every server.
export const onMongo = process.env.TEST_STORE === 'mongo'
const engine = join(root, 'target/mongo-wire')
export const secret = randomBytes(36).toString('base64')

export class Server {
  /** Starts a server; `env` adds environment variables, `data` reuses a folder. */
  static async start({ env = {}, args = [], data } = {}) {
    const server = new Server()
    server.data = data ?? mkdtempSync(join(tmpdir(), 'switchboard-test-'))
    server.env = env
    server.args = args
    if (onMongo) await server.startEngine()
    await server.run()
    return server
  }

  async startEngine() {
    this.enginePort ??= await freePort()
    const folder = join(this.data, 'engine')
    mkdirSync(folder, { recursive: true })
    this.engine = spawn(engine, [`127.0.0.1:${this.enginePort}`, folder], { stdio: ['pipe', 'pipe', 'ignore'] })
    await new Promise((resolve, reject) => {
      this.engine.stdout.on('data', (text) => String(text).includes('ready') && resolve())
      this.engine.on('exit', (code) => reject(new Error(`the engine ended with ${code}; is ${engine} built? (${existsSync(engine)})`)))
    })
  }

  async killEngine() {
    this.engine.removeAllListeners('exit')
    const gone = new Promise((resolve) => this.engine.on('exit', resolve))
    this.engine.kill('SIGKILL')
    await gone
  }

  async run() {
    const { PATH, HOME } = process.env
    this.log = ''
    this.process = spawn(binary, ['--data', this.data, ...this.args], {
      cwd: this.data,
      env: {
        PATH, HOME,
        JWT_SECRET: secret,
        SWITCHBOARD_SERVER__HOST: '127.0.0.1',
        SWITCHBOARD_SERVER__PORT: String(this.port ?? 0),
        SWITCHBOARD_SERVER__DRAIN_DELAY: '0',
        SWITCHBOARD_MEDIA__HOST: '127.0.0.1',
        SWITCHBOARD_MEDIA__UDP_PORT: '0',
        // Private rooms have tests of their own, in Rust.
        SWITCHBOARD_ROOMS__JOIN: 'anyone',
        SWITCHBOARD_LIMITS__ANONYMOUS_PER_MINUTE: '100000',
        SWITCHBOARD_LIMITS__REST_PER_MINUTE: '100000',
        SWITCHBOARD_LIMITS__HANDSHAKES_PER_MINUTE: '100000',
        SWITCHBOARD_LIMITS__HANDSHAKES_BURST: '100000',
        ...(onMongo ? { MONGODB_URI: `mongodb://127.0.0.1:${this.enginePort}/chat` } : {}),
        ...this.env,
      },
    })
    this.exited = new Promise((resolve) => this.process.on('exit', (code, signal) => resolve({ code, signal })))
    this.process.stderr.on('data', (text) => (this.log += text))
    const address = await new Promise((resolve, reject) => {
      let out = ''
      this.process.stdout.on('data', (text) => {
        out += text
        const ready = out.match(/^ready http=(\S+) media=(\S+) turn=\S+$/m)
        if (!ready) return
        this.media = ready[2]
        resolve(ready[1])
      })
      this.exited.then(({ code }) => reject(new Error(`the server ended with ${code}: ${this.log}`)))
    })
    this.port = Number(address.split(':').pop())
    this.url = `http://127.0.0.1:${this.port}`
    this.descriptions ??= await Descriptions.of(this.url).catch(() => undefined)
    described.set(this.url, this.descriptions)
  }

  /** Runs another command of the program on the same data; gives what it prints. */
  program(...words) {
    const { PATH, HOME } = process.env
    const env = { PATH, HOME, JWT_SECRET: secret, ...(onMongo ? { MONGODB_URI: `mongodb://127.0.0.1:${this.enginePort}/chat` } : {}), ...this.env }
    return promisify(execFile)(binary, ['--data', this.data, ...this.args, ...words], { cwd: this.data, env })
  }

  /** kill -9, then a new process on the same port and data. */
  async crash() {
    this.process.kill('SIGKILL')
    await this.exited
    await this.run()
  }

  async stop(signal = 'SIGTERM') {
    this.process.kill(signal)
    const ended = await this.exited
    if (this.engine) await this.killEngine()
    rmSync(this.data, { recursive: true, force: true })
    return ended
  }

  /** Its resident memory in KiB. */
  memory() {
    return Number(readFileSync(`/proc/${this.process.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1])
  }

  /** Its TCP connections over IPv4, as the kernel lists them: the far end of each that has one still. */
  connections() {
    const port = this.port.toString(16).toUpperCase().padStart(4, '0')
    const rows = readFileSync(`/proc/${this.process.pid}/net/tcp`, 'utf8').trim().split('\n').slice(1).map((row) => row.trim().split(/\s+/))
    // An inode of 0 belongs to no descriptor any more.
    return rows.filter(([, local, , state, , , , , , inode]) => local.endsWith(`:${port}`) && state === '01' && inode !== '0').map(([, , remote]) => ({ remote }))
  }

  /** REST with a user's token; the parsed answer. */
  async rest(user, method, path, body, headers = {}) {
    const answer = await fetch(this.url + path, {
      method,
      headers: {
        ...(user ? { authorization: `Bearer ${token(user)}` } : {}),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
    })
    const text = await answer.text()
    let json
    try { json = JSON.parse(text) } catch { json = undefined }
    return { status: answer.status, headers: answer.headers, text, json }
  }

  /** A connected official client; every event it gets is kept in `events`. */
  async connect(user, options = {}) {
    const { auth = {}, ...rest } = options
    const socket = io(this.url, {
      transports: ['websocket'], reconnection: false, forceNew: true,
      auth: { token: token(user), ...auth }, ...rest,
    })
    socket.events = []
    socket.onAny((name, payload) => socket.events.push({ name, payload, at: Date.now() }))
    observe(socket, this.descriptions)
    await new Promise((resolve, reject) => {
      socket.on('connect', resolve)
      socket.on('connect_error', reject)
    })
    socket.ready = await next(socket, 'session:ready')
    return socket
  }

  /** Users come into being with their first token. */
  async people(...users) {
    for (const user of users) await this.rest(user, 'GET', '/api/me')
  }
}

/** Fails the test that runs, also out of a socket's handler. */
export function asDescribed(fault) {
  if (fault) throw new Error(`untrue description: ${fault}`)
}

/** The descriptions of the servers that run, by their addresses. */
const described = new Map()
export const descriptionsOf = (url) => described.get(new URL(url).origin)

// Every answer that a test gets by HTTP is compared with the descriptions, whichever way it asked.
const plain = globalThis.fetch
globalThis.fetch = async (address, options) => {
  const answer = await plain(address, options)
  const url = new URL(address instanceof Request ? address.url : address)
  const descriptions = descriptionsOf(url)
  if (!descriptions) return answer
  const [method, headers] = [options?.method ?? 'GET', new Headers(options?.headers)]
  const type = answer.headers.get('content-type')
  // The files of recordings are handed out as they are, also those that are JSON themselves.
  const file = /^\/api\/recordings\/[^/]+\/files\//.test(url.pathname) && !url.searchParams.has('link') && answer.status === 200
  const json = !file && type?.startsWith('application/json') ? await answer.clone().json().catch(() => undefined) : undefined
  // A preflight is a question of the browser's to the edge (Fetch §3.3.5), not to an operation: no operation describes it, and it has no body, unless it is refused.
  const preflight = method === 'OPTIONS' && headers.has('access-control-request-method')
  if (preflight) asDescribed(answer.ok && await answer.clone().text() ? `the preflight of ${url.pathname} has a body` : undefined)
  else if (!file) asDescribed(descriptions.answer(method, url.pathname + url.search, answer.status, type, json))
  return answer
}

/** Compares every event of a socket with the descriptions. */
export function observe(socket, descriptions) {
  socket.descriptions = descriptions
  if (descriptions) socket.onAny((name, payload) => asDescribed(descriptions.event(name, payload)))
  return socket
}

export const freePort = () => new Promise((resolve) => {
  const probe = createServer().listen(0, '127.0.0.1', () => {
    const { port } = probe.address()
    probe.close(() => resolve(port))
  })
})

const base64 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

export function token(user, claims = {}, header = { alg: 'HS256', typ: 'JWT' }, key = secret) {
  const exp = Math.floor(Date.now() / 1000) + 3600
  const body = `${base64(header)}.${base64({ user_id: user, uid: `u-${user}`, email: `u${user}@example.net`, name: `User ${user}`, exp, ...claims })}`
  return `${body}.${createHmac('sha256', key).update(body).digest('base64url')}`
}

/** The next event of that name, also one that has come already since the last look. */
export async function next(socket, name, matches = () => true, timeout = 8000) {
  const deadline = Date.now() + timeout
  for (;;) {
    const index = socket.events.findIndex((event) => event.name === name && matches(event.payload))
    if (index >= 0) return socket.events.splice(index, 1)[0].payload
    if (Date.now() > deadline) {
      throw new Error(`no ${name} within ${timeout} ms; came: ${socket.events.map((event) => event.name).join(', ')}`)
    }
    await sleep(5) // paces looks: one every 5 ms, up to the deadline
  }
}

/** Lets time pass where time is what a test is about: the pace of a load, the length of a fault. Never to wait for something: for that
 * there are `next`, `until` and `settled`. `tests/waits.rs` wants the reason beside each use. */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms)) // paces whoever gives a reason

/** Everything that the server had for this connection before now has come: events of one connection are handled and sent in order. */
export async function settled(...sockets) {
  for (const socket of sockets) assert.equal((await ask(socket, 'session:ping', { t: 1 })).ok, true)
}

/** The connections of a user are closed, and the server has noticed; what it writes when the last one ends is stored. */
export async function gone(server, user, ...sockets) {
  for (const socket of sockets) socket.close()
  await until(async () => (await server.rest(user, 'GET', '/api/sessions')).json.data.length === 0, `${user} has no connection`)
}

/** Waits until what `read` counts has grown by `more`. */
export async function grown(read, more, what, timeout) {
  const from = await read()
  return until(async () => (await read()) >= from + more, `${more} more ${what}`, timeout)
}

/** Emits with an acknowledgement. */
export async function ask(socket, name, payload, timeout = 10000) {
  const ack = await socket.timeout(timeout).emitWithAck(name, payload)
  asDescribed(socket.descriptions?.acknowledgement(name, ack))
  return ack
}

export async function until(check, what, timeout = 10000) {
  const deadline = Date.now() + timeout
  for (;;) {
    const value = await check()
    if (value) return value
    if (Date.now() > deadline) throw new Error(`not within ${timeout} ms: ${what}`)
    await sleep(20) // paces looks: one every 20 ms, up to the deadline
  }
}
