// A small client of the relay over UDP (RFC 8656): an allocation, a permission for an echo on this machine, and what comes back.
import { createHash, createHmac, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { until } from './server.mjs'

const COOKIE = 0x2112a442
const [ALLOCATE, PERMISSION, SEND, DATA] = [0x003, 0x008, 0x016, 0x017]
const [USERNAME, INTEGRITY, ERROR, PEER, DATA_OF, REALM, NONCE, TRANSPORT] = [0x06, 0x08, 0x09, 0x12, 0x13, 0x14, 0x15, 0x19]

const attribute = (type, value) => {
  const head = Buffer.alloc(4)
  head.writeUInt16BE(type, 0)
  head.writeUInt16BE(value.length, 2)
  return Buffer.concat([head, value, Buffer.alloc((4 - (value.length % 4)) % 4)])
}

function message(type, transaction, attributes, key) {
  const build = (parts, extra = 0) => {
    const body = Buffer.concat(parts)
    const head = Buffer.alloc(20)
    head.writeUInt16BE(type, 0)
    head.writeUInt16BE(body.length + extra, 2)
    head.writeUInt32BE(COOKIE, 4)
    transaction.copy(head, 8)
    return Buffer.concat([head, body])
  }
  if (!key) return build(attributes)
  const signature = createHmac('sha1', key).update(build(attributes, 24)).digest()
  return build([...attributes, attribute(INTEGRITY, signature)])
}

function attributesOf(packet) {
  const found = new Map()
  for (let at = 20; at + 4 <= packet.length;) {
    const [type, length] = [packet.readUInt16BE(at), packet.readUInt16BE(at + 2)]
    found.set(type, packet.subarray(at + 4, at + 4 + length))
    at += 4 + length + ((4 - (length % 4)) % 4)
  }
  return found
}

const address = (port) => {
  const value = Buffer.alloc(8)
  value[1] = 1
  value.writeUInt16BE(port ^ (COOKIE >>> 16), 2)
  value.writeUInt32BE((0x7f000001 ^ COOKIE) >>> 0, 4)
  return value
}

/** An allocation with these credentials; it sends a datagram to an echo every `pace` ms, and `last` is when one came back last. */
export class TurnClient {
  static async open({ username, credential, urls }, pace = 10) {
    const client = new TurnClient()
    client.to = Number(urls.find((url) => /^turn:127\.0\.0\.1:\d+\?transport=udp/.test(url)).match(/:(\d+)\?/)[1])
    client.ice = { username, credential }
    client.echo = createSocket('udp4').on('message', (data, from) => client.echo.send(data, from.port, from.address))
    client.socket = createSocket('udp4').on('message', (packet) => client.take(packet))
    await Promise.all([client.echo, client.socket].map((one) => new Promise((resolve) => one.bind(0, '127.0.0.1', resolve))))
    client.answers = new Map()
    client.count = 0
    const first = await client.ask(ALLOCATE, [attribute(TRANSPORT, Buffer.from([17, 0, 0, 0]))])
    client.realm = first.get(REALM)
    client.nonce = first.get(NONCE)
    const allocated = await client.allocate()
    if (allocated) throw new Error(`the relay refuses: ${allocated}`)
    await client.ask(PERMISSION, [attribute(PEER, address(client.echo.address().port))], true)
    client.timer = setInterval(() => client.send(), pace)
    return client
  }

  /** Asks for an allocation; the code of the refusal, where it is one. */
  async allocate() {
    const answer = await this.ask(ALLOCATE, [attribute(TRANSPORT, Buffer.from([17, 0, 0, 0]))], true)
    const error = answer.get(ERROR)
    return error && error[2] * 100 + error[3]
  }

  async ask(method, attributes, signed = false) {
    const transaction = randomBytes(12)
    const credentials = signed ? [attribute(USERNAME, Buffer.from(this.ice.username)), attribute(REALM, this.realm), attribute(NONCE, this.nonce)] : []
    const key = signed && createHash('md5').update(`${this.ice.username}:${this.realm}:${this.ice.credential}`).digest()
    const packet = message(method, transaction, [...attributes, ...credentials], key || undefined)
    return until(() => {
      const answer = this.answers.get(transaction.toString('hex'))
      if (!answer) this.socket.send(packet, this.to, '127.0.0.1')
      return answer
    }, 'the relay answers')
  }

  send() {
    const attributes = [attribute(PEER, address(this.echo.address().port)), attribute(DATA_OF, Buffer.from('ping'))]
    this.socket.send(message(SEND, randomBytes(12), attributes), this.to, '127.0.0.1')
  }

  take(packet) {
    if (packet.readUInt16BE(0) === DATA) {
      this.last = Date.now()
      this.count += 1
    } else {
      this.answers.set(packet.subarray(8, 20).toString('hex'), attributesOf(packet))
    }
  }

  close() {
    clearInterval(this.timer)
    this.socket.close()
    this.echo.close()
  }
}
