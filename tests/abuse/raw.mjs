// A Socket.IO client by its packets alone, which costs its process little: hundreds fit in one, and it can do what the official client
// never would.
import WebSocket from 'ws'

/** Bytes that may wait in this process for a server that does not take them. */
const WAITING = 1 << 20

export class RawClient {
  /** Connects and shows a token; refused with what the server says. */
  static async connect(port, auth, { address, within = 30_000 } = {}) {
    const client = new RawClient()
    client.socket = new WebSocket(`ws://127.0.0.1:${port}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate: false, localAddress: address, handshakeTimeout: within })
    await new Promise((resolve, reject) => {
      client.refuse = reject
      client.socket.on('error', reject).on('close', () => reject(new Error('closed')))
      client.socket.on('open', () => client.socket.send(`40${JSON.stringify(auth)}`))
      client.socket.on('message', (data) => client.read(data, resolve))
      setTimeout(() => reject(new Error('no session in time')), within).unref() // paces nothing: a deadline
    }).catch((error) => {
      client.socket.terminate()
      throw error
    })
    client.socket.on('close', () => [...client.asked.values()].forEach((done) => done(undefined)))
    return client
  }

  received = 0
  lastId = 0
  asked = new Map()

  read(data, ready) {
    this.received += data.length
    if (this.rate) this.pace(data.length)
    const first = data.subarray(0, 3).toString()
    if (first === '2') return this.socket.send('3')
    if (first.startsWith('44')) return this.refuse(new Error(data.toString()))
    if (first.startsWith('43')) return this.acknowledged(data.toString())
    if (first.startsWith('42') && data.subarray(0, 20).toString().includes('session:ready')) ready()
    if (first === '41') this.socket.terminate()
    return undefined
  }

  acknowledged(text) {
    const [, id, list] = text.match(/^43(\d+)(.*)$/s) ?? []
    this.asked.get(Number(id))?.(JSON.parse(list)[0])
  }

  /** Reads no more than so many bytes a second from now on. */
  readSlowly(rate) {
    this.rate = rate
    this.budget = rate
    this.refill = setInterval(() => {
      this.budget = Math.min(rate, this.budget + rate / 10)
      if (this.budget > 0) this.socket._socket?.resume()
    }, 100)
    this.socket.on('close', () => clearInterval(this.refill))
  }

  pace(bytes) {
    this.budget -= bytes
    if (this.budget < 0) this.socket._socket?.pause()
  }

  get open() {
    return this.socket.readyState === WebSocket.OPEN
  }

  /** Whether the server takes what is sent. */
  get free() {
    return this.socket.bufferedAmount < WAITING
  }

  emit(name, payload) {
    if (this.open) this.socket.send(`42${JSON.stringify([name, payload])}`)
  }

  /** Gives the acknowledgement, or undefined when none comes in time or the connection ends. */
  ask(name, payload, within = 10_000) {
    if (!this.open) return Promise.resolve(undefined)
    const id = (this.lastId += 1)
    this.socket.send(`42${id}${JSON.stringify([name, payload])}`)
    return new Promise((resolve) => {
      const over = setTimeout(() => done(undefined), within) // paces nothing: a deadline
      const done = (ack) => {
        clearTimeout(over)
        this.asked.delete(id)
        resolve(ack)
      }
      this.asked.set(id, done)
    })
  }

  close() {
    this.socket.close()
  }

  /** Without a goodbye. */
  terminate() {
    this.socket.terminate()
  }
}
