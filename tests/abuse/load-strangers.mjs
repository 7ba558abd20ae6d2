// Strangers, in a process of their own: connections from many addresses of this machine, each of which does one thing that costs the
// stranger little. Orders come as a message `{port, addresses, rate, kind, held}`; how it goes is reported once a second.
import { connect } from 'node:net'
import { randomBytes } from 'node:crypto'

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
/** A token that is well formed, and another one each time. */
const forged = () => `${base64({ alg: 'HS256', typ: 'JWT' })}.${base64({ user_id: 7, exp: 4102444800, jti: randomBytes(8).toString('hex') })}.${randomBytes(32).toString('base64url')}`

const POLLING = '/socket.io/?EIO=4&transport=polling'
const head = (method, path, ...lines) => [`${method} ${path} HTTP/1.1`, 'Host: 127.0.0.1', ...lines, '', ''].join('\r\n')

/** The kinds: what is written on a connection, and what is done with an answer. */
const KINDS = {
  /** Handshakes of Engine.IO that nobody goes on with; every other one closes its connection, the others follow each other on one. */
  handshakes(stranger, n) {
    stranger.send(n % 2 ? head('GET', POLLING, 'Connection: close') : head('GET', POLLING), { again: n % 2 === 0 })
  },
  /** A handshake, and a poll on the same connection for which nobody waits. */
  polls(stranger) {
    stranger.send(head('GET', POLLING), {
      answered(text) {
        const sid = text.match(/"sid":"([^"]+)"/)?.[1]
        if (sid) stranger.write(head('GET', `${POLLING}&sid=${sid}`))
      },
    })
  },
  /** Long answers, asked for again and again behind each other, of which nothing is read. */
  unread(stranger) {
    stranger.send(head('GET', '/api/openapi.json').repeat(30), { deaf: true })
  },
  /** Bodies that stop: of JSON, of an unauthenticated poll, and in chunks. */
  bodies(stranger, n) {
    const half = [
      () => `${head('POST', '/api/chat/messages', 'Content-Type: application/json', 'Content-Length: 1000000', `Authorization: Bearer ${forged()}`)}{"content":"${'x'.repeat(800)}`,
      () => `${head('POST', `${POLLING}&sid=AAAAAAAAAAAAAAAAAAAA`, 'Content-Length: 100000')}4`,
      () => `${head('POST', '/api/chat/messages', 'Content-Type: application/json', 'Transfer-Encoding: chunked')}400\r\n{"content":"`,
    ][n % 3]
    stranger.send(half())
  },
  /** Tokens that are none: by REST, as a websocket's first packet, and in a poll. */
  tokens(stranger, n) {
    if (n % 3) return stranger.send(head('GET', '/api/me', `Authorization: Bearer ${forged()}`), { again: n % 3 === 1 })
    return stranger.send(head('GET', '/socket.io/?EIO=4&transport=websocket', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`), {
      answered: (text) => text.startsWith('HTTP/1.1 101') && stranger.write(frame(`40${JSON.stringify({ token: forged() })}`)),
    })
  },
}

/** A masked text frame of a client (RFC 6455 §5.2). */
function frame(text) {
  const body = Buffer.from(text)
  const mask = randomBytes(4)
  const length = body.length < 126 ? [0x80 | body.length] : [0x80 | 126, body.length >> 8, body.length & 255]
  return Buffer.concat([Buffer.from([0x81, ...length]), mask, body.map((byte, n) => byte ^ mask[n % 4])])
}

const report = { attempts: 0, answered: 0, statuses: {}, errors: {}, open: 0, closedByServer: 0 }
const count = (of, key) => (of[key] = (of[key] ?? 0) + 1)

let orders
/** Connections in the order in which they were opened; the oldest ones are let go when there are too many. */
const open = new Set()
/** Connections that may be asked again, by address. */
const idle = new Map()

class Stranger {
  constructor(address) {
    this.address = address
    this.socket = connect({ port: orders.port, host: '127.0.0.1', localAddress: address })
    open.add(this)
    if (open.size > orders.held) open.values().next().value.socket.destroy()
    this.socket.on('data', (data) => this.read(String(data)))
    this.socket.on('error', (error) => count(report.errors, error.code))
    this.socket.on('end', () => (report.closedByServer += 1))
    this.socket.on('close', () => {
      open.delete(this)
      this.gone = true
    })
  }

  send(text, { answered, again = false, deaf = false } = {}) {
    Object.assign(this, { answered, again })
    if (deaf) this.socket.pause()
    this.write(text)
  }

  write(text) {
    if (!this.gone) this.socket.write(text)
  }

  read(text) {
    const status = text.match(/^HTTP\/1\.1 (\d+)/)?.[1]
    if (!status) return
    report.answered += 1
    count(report.statuses, status)
    const { answered, again } = this
    this.answered = undefined
    answered?.(text)
    if (again && !this.gone) (idle.get(this.address) ?? idle.set(this.address, []).get(this.address)).push(this)
  }
}

const names = Object.keys(KINDS)
let turn = 0

function attempt() {
  const n = (turn += 1)
  const kind = orders.kind === 'mix' ? names[n % names.length] : orders.kind
  const address = orders.addresses[n % orders.addresses.length]
  report.attempts += 1
  const round = Math.floor(n / (orders.kind === 'mix' ? names.length : 1))
  let known
  if (kind === 'handshakes' || kind === 'tokens') do known = idle.get(address)?.pop(); while (known?.gone)
  KINDS[kind](known ?? new Stranger(address), round)
}

process.on('message', (given) => {
  orders = given
  const begun = Date.now()
  // So many as the rate wants by now; what this process could not do in time is not made up for at once.
  let made = 0
  setInterval(() => {
    const due = Math.floor((Date.now() - begun) / 1000 * orders.rate) - made
    made += due
    for (let n = 0; n < Math.min(due, orders.rate / 10); n += 1) attempt()
  }, 10)
  setInterval(() => process.send({ ...report, open: open.size }), 1000)
})
process.on('disconnect', () => process.exit())
