// What the figure scripts share: a server of their own in its default configuration, what the kernel says of it, people who do nothing
// wrong, and a table of what was measured against its bounds.
import { fork } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { get } from 'node:http'
import { fileURLToPath } from 'node:url'
import { Server, ask, sleep, token, until } from '../e2e/support/server.mjs'

export const MIB = 1024 * 1024

/** A whole number from the environment. */
export const number = (name, fallback) => Number(process.env[name] ?? fallback)

/**
 * A server with the limits that it has by default, which the other tests raise. Its bystanders and whoever asks for `/livez` are on
 * 127.0.0.1; strangers are elsewhere.
 */
export function defaultServer(env = {}) {
  return Server.start({ env: { SWITCHBOARD_LIMITS__ANONYMOUS_PER_MINUTE: '60', SWITCHBOARD_LIMITS__REST_PER_MINUTE: '300', ...env } })
}

/** Addresses of this machine, each of which counts as one client. */
export const addresses = (count) => Array.from({ length: count }, (_, n) => `127.1.${1 + Math.floor(n / 250)}.${1 + n % 250}`)

/** Resident memory without the pages of files in bytes, open descriptors and threads of a process, now. */
export function usage(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const figure = (name) => Number(status.match(new RegExp(`^${name}:\\s+(\\d+)`, 'm'))[1])
  return { memory: figure('RssAnon') * 1024, descriptors: readdirSync(`/proc/${pid}/fd`).length, threads: figure('Threads') }
}

/** How many descriptors a process may have open. */
export const descriptorLimit = (pid) => Number(readFileSync(`/proc/${pid}/limits`, 'utf8').match(/^Max open files\s+(\d+)/m)[1])

/** The value below which this share of all lies. */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] : NaN
}

/** Looks at the process twice a second: the first look is the base, the highest ones are kept. */
export class Usage {
  constructor(pid) {
    this.pid = pid
    this.base = usage(pid)
    this.peak = { ...this.base }
    this.samples = []
    this.timer = setInterval(() => this.look(), 500)
  }

  look() {
    const now = usage(this.pid)
    for (const name of Object.keys(now)) this.peak[name] = Math.max(this.peak[name], now[name])
    this.samples.push({ at: Date.now(), ...now })
    return now
  }

  /** Waits until memory is at most so far above the base; how many seconds that took, or Infinity. */
  async back(above, seconds) {
    const begun = Date.now()
    const there = () => this.look().memory <= this.base.memory + above
    return until(there, 'memory is given back', seconds * 1000).then(() => (Date.now() - begun) / 1000, () => Infinity)
  }

  end() {
    clearInterval(this.timer)
  }
}

/** Asks for `/livez` once a second, each time on a connection of its own. */
export class Pulse {
  constructor(url) {
    this.url = url
    this.milliseconds = []
    this.failures = []
    this.timer = setInterval(() => this.ask(), 1000)
  }

  ask() {
    const begun = performance.now()
    const failed = (why) => this.failures.push(why)
    const request = get(`${this.url}/livez`, { agent: false, timeout: 2000 }, (answer) => {
      answer.resume()
      if (answer.statusCode !== 200) return failed(`status ${answer.statusCode}`)
      answer.on('end', () => this.milliseconds.push(performance.now() - begun))
    })
    request.on('timeout', () => request.destroy(new Error('no answer within 2 s'))).on('error', (error) => failed(error.message))
  }

  end() {
    clearInterval(this.timer)
  }
}

/** Two people who write to each other in turn, one message every 75 ms, which is below every limit. */
export class Bystanders {
  static async of(server, users = [1, 2], bearer = token) {
    const made = new Bystanders()
    const auth = (user) => ({ auth: { token: bearer(user), cursor: 'new' } })
    made.sockets = [await server.connect(users[0], auth(users[0])), await server.connect(users[1], auth(users[1]))]
    made.users = users
    return made
  }

  milliseconds = []
  failures = []
  waiting = 0

  begin() {
    let turn = 0
    this.timer = setInterval(() => this.say((turn += 1) % 2), 75)
    return this
  }

  /** What was said is acknowledged, or has failed; nothing more is said. */
  async rest() {
    clearInterval(this.timer)
    await until(() => this.waiting === 0, 'the last messages of bystanders are acknowledged or have failed', 15_000)
  }

  async say(from) {
    const begun = performance.now()
    this.waiting += 1
    try {
      const ack = await ask(this.sockets[from], 'message:send', { toUserId: this.users[1 - from], content: 'hello' })
      if (ack.ok) this.milliseconds.push(performance.now() - begun)
      else this.failures.push(ack.reason)
    } catch (error) {
      this.failures.push(error.message)
    }
    this.waiting -= 1
    // What has come is of no more use.
    for (const { events } of this.sockets) events.length = 0
  }

  get connected() {
    return this.sockets.every(({ connected }) => connected)
  }

  end() {
    clearInterval(this.timer)
    this.sockets.forEach((socket) => socket.close())
  }
}

/** A program of this folder in a process of its own, so that its work is not the bystanders' wait; what it reported last is in `report`. */
export class Helper {
  constructor(file, orders) {
    this.report = {}
    this.child = fork(fileURLToPath(new URL(file, import.meta.url)))
    this.child.on('message', (report) => Object.assign(this.report, report))
    this.exited = new Promise((resolve) => this.child.on('exit', resolve))
    this.child.send(orders)
  }

  /** Its connections are closed by its end. */
  async end() {
    this.child.kill('SIGKILL')
    await this.exited
  }
}

const shown = (value) => (typeof value === 'number' && Number.isFinite(value) ? (Number.isInteger(value) ? String(value) : value.toFixed(1)) : String(value))

/** What was measured, row by row; a row with a bound that is passed makes the whole fail. */
export class Table {
  rows = []

  constructor(title) {
    this.title = title
  }

  /** A figure without a bound. */
  note(what, value) {
    this.rows.push({ what, value: shown(value), bound: '', word: '' })
  }

  /** A figure that may be as high as `bound`. */
  most(what, value, bound) {
    this.rows.push({ what, value: shown(value), bound: `<= ${shown(bound)}`, word: value <= bound ? 'ok' : 'PASSED' })
  }

  get good() {
    return this.rows.every(({ word }) => word !== 'PASSED')
  }

  get faults() {
    return this.rows.filter(({ word }) => word === 'PASSED').map(({ what, value, bound }) => `${what}: ${value}, ${bound}`)
  }

  print() {
    const width = (name) => Math.max(...this.rows.map((row) => row[name].length))
    const [what, value, bound] = ['what', 'value', 'bound'].map(width)
    console.log(`\n${this.title}`)
    for (const row of this.rows) console.log(`  ${row.what.padEnd(what)}  ${row.value.padStart(value)}  ${row.bound.padEnd(bound)}  ${row.word}`.trimEnd())
  }
}

/** The rows that every script has of `/livez` and of the bystanders. Where `judged` is false, what depends on the speed of the machine is shown only. */
export function rowsOfBystanders(table, pulse, bystanders, judged = true) {
  const row = (what, value, bound) => (judged ? table.most(what, value, bound) : table.note(what, value))
  row("a bystander's message, p99 ms", quantile(bystanders.milliseconds, 0.99), 100)
  table.note("a bystander's messages, p50 ms", quantile(bystanders.milliseconds, 0.5))
  table.note("a bystander's messages", bystanders.milliseconds.length)
  row(`messages of bystanders that failed${some(bystanders.failures)}`, bystanders.failures.length, 0)
  table.most('connections of bystanders that were cut', bystanders.sockets.filter(({ connected }) => !connected).length, 0)
  table.note('answers of /livez, slowest ms', Math.max(0, ...pulse.milliseconds))
  table.note('answers of /livez', pulse.milliseconds.length)
  row(`/livez without an answer${some(pulse.failures)}`, pulse.failures.length, 0)
}

const some = (failures) => (failures.length ? ` (${[...new Set(failures)].slice(0, 3).join('; ')})` : '')

/** What the metrics say now: `{ 'rtc_rooms': 1, 'rtc_held{…}': 2 }`. */
export async function metrics(server) {
  const answer = await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${token(9, { role: 'admin' })}` }, signal: AbortSignal.timeout(10_000) })
  return Object.fromEntries((await answer.text()).split('\n').filter((line) => line && !line.startsWith('#')).map((line) => {
    const at = line.lastIndexOf(' ')
    return [line.slice(0, at), Number(line.slice(at + 1))]
  }))
}

/** Lets both processes come to rest before the base is taken. */
export const warmUp = (seconds) => sleep(seconds * 1000) // paces the measurement: what a start needs is no base
