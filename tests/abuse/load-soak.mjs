// People who come, go, write, call, meet and misbehave, in a process of its own. What each does is drawn from a seed; how fast, a tenth of
// the limits. Orders come as a message; how it goes is reported once a second. `{erase: [user, …]}` says whose accounts were closed, who
// then come back as somebody else; `{over: true}` sends all home.
import { request } from 'node:http'
import { connect } from 'node:net'
import { token as signed } from '../e2e/support/server.mjs'
import { RawClient } from './raw.mjs'

const report = { connected: 0, sessions: 0, refused: {}, events: 0, failures: {}, requests: 0, misbehaved: 0, users: [] }
const count = (of, key) => (of[key] = (of[key] ?? 0) + 1)
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms)) // paces load: people take their time

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
function random(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

let orders
let over = false
let token
const people = []

class Person {
  constructor(place) {
    this.place = place
    this.user = 1000 + place
    this.dice = random(orders.seed + place)
    this.address = `127.2.${1 + Math.floor(place / 250)}.${1 + (place % 250)}`
    this.room = `soak-${Math.floor(place / 10)}`
  }

  between(from, to) {
    return from + this.dice() * (to - from)
  }

  other() {
    return people[Math.floor(this.dice() * people.length)].user
  }

  async live() {
    await wait(this.between(0, orders.arrive))
    while (!over) {
      await this.visit().catch((error) => count(report.refused, error.message.slice(0, 60)))
      await wait(this.between(1000, 20_000))
    }
  }

  async visit() {
    const client = await RawClient.connect(orders.port, { token: token(this.user), cursor: 'new' }, { address: this.address })
    this.client = client
    report.connected += 1
    report.sessions += 1
    client.socket.on('close', () => (report.connected -= 1))
    const until = Date.now() + this.between(5_000, 120_000)
    while (!over && client.open && Date.now() < until) {
      await this.act(client)
      await wait(this.between(500, 1500))
    }
    await this.leave(client)
  }

  async leave(client) {
    const how = this.dice()
    if (how < 0.1) {
      // Nothing more is read, and nothing is said about it.
      client.socket._socket?.pause()
      await wait(over ? 0 : 8000)
    }
    if (how < 0.5) client.terminate()
    else client.close()
  }

  async act(client) {
    const what = this.dice()
    if (what < 0.6) return this.say(client, 'message:send', { toUserId: this.other(), content: 'x'.repeat(Math.floor(this.between(1, 400))) })
    if (what < 0.7) return this.say(client, this.dice() < 0.5 ? 'typing:start' : 'typing:stop', { toUserId: this.other() })
    if (what < 0.76) return this.say(client, 'message:history', { withUserId: this.other() })
    if (what < 0.82) return this.rest('GET', ['/api/chat/conversations', '/api/me', '/api/chat/users?limit=20', '/api/calls/history'][Math.floor(this.dice() * 4)])
    if (what < 0.85) return this.say(client, 'presence:subscribe', { userIds: [this.other(), this.other()] })
    if (what < 0.87) return this.call(client)
    if (what < 0.93) return this.meet(client)
    return this.misbehave(client)
  }

  async say(client, name, payload) {
    report.events += 1
    const ack = await client.ask(name, payload)
    if (ack && !ack.ok) count(report.failures, ack.reason)
    return ack
  }

  async call(client) {
    const ack = await this.say(client, 'call:initiate', { toUserId: this.other(), callType: 'voice' })
    await wait(over ? 0 : this.between(100, 3000))
    const callId = ack?.callId ?? ack?.call?.callId
    if (callId) await this.say(client, 'call:end', { callId })
  }

  /** The room of ten: opened by the application when it is not open, entered with a token, left by the way or by the end of the connection. */
  async meet(client) {
    if (!client.session) {
      const admin = token(900_000 + this.place, { role: 'admin' })
      await this.rest('POST', '/api/rooms', { roomId: this.room }, admin)
      const made = await this.rest('POST', `/api/rooms/${this.room}/tokens`, { userId: this.user, ttl: 600 }, admin)
      if (!made?.data) return
      client.session = (await this.say(client, 'room:join', { roomId: this.room, token: made.data.token }))?.sessionId
      return
    }
    const { session: sessionId } = client
    if (this.dice() < 0.3) {
      client.session = undefined
      await this.say(client, 'room:leave', { sessionId })
    } else if (this.dice() < 0.7) await this.say(client, 'room:data', { sessionId, topic: 'x', payload: Array(500).fill(0) })
    else await this.say(client, 'room:metadata', { sessionId, metadata: { at: this.dice() } })
  }

  async misbehave(client) {
    report.misbehaved += 1
    const what = Math.floor(this.dice() * 8)
    if (what === 0) client.emit('message:send', { toUserId: { $gt: '' } })
    if (what === 1) client.emit('no:such', [1, 2, 3])
    if (what === 2) client.socket.send('42["a"')
    if (what === 3) client.socket._socket?.write(Buffer.from([0x81, 0x84, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]))
    if (what === 4) for (let n = 0; n < 30; n += 1) client.emit('session:ping', { t: n })
    if (what === 5) await this.rest('GET', '/api/me', undefined, 'x.y.z')
    if (what === 6) this.raw('GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n')
    if (what === 7) this.raw('POST /api/chat/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"content":')
  }

  raw(text) {
    const socket = connect({ port: orders.port, host: '127.0.0.1', localAddress: this.address }, () => socket.write(text))
    socket.on('error', () => {}).on('data', () => {})
    setTimeout(() => socket.destroy(), this.between(100, 5000)) // paces load: it hangs about for a while
  }

  rest(method, path, body, bearer = token(this.user)) {
    report.requests += 1
    return new Promise((resolve) => {
      const text = body && JSON.stringify(body)
      const headers = { authorization: `Bearer ${bearer}`, ...(text && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }) }
      const asked = request({ port: orders.port, host: '127.0.0.1', localAddress: this.address, method, path, headers, agent: false, timeout: 10_000 }, (answer) => {
        let got = ''
        answer.on('data', (data) => (got += data)).on('end', () => resolve(parsed(got)))
      })
      asked.on('error', () => resolve(undefined)).on('timeout', () => asked.destroy())
      asked.end(text)
    })
  }
}

const parsed = (text) => { try { return JSON.parse(text) } catch { return undefined } }

process.on('message', (given) => {
  if (given.over) {
    over = true
    for (const { client } of people) client?.terminate()
    return
  }
  // Whose account was closed comes back under another name.
  if (given.erase) return people.filter(({ user }) => given.erase.includes(user)).forEach((person) => (person.user += 10_000))
  orders = given
  token = (user, claims) => signed(user, claims, undefined, orders.secret)
  for (let place = 0; place < orders.people; place += 1) people.push(new Person(place))
  people.forEach((person) => person.live())
  setInterval(() => process.send({ ...report, users: people.map(({ user }) => user) }), 1000)
})
process.on('disconnect', () => process.exit())
