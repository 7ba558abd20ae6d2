// Ten publishers of one room change everything that a browser can change, for a minute, in an order that a seed gives; nobody who
// watches them stands still for it. CHAOS_SEED and CHAOS_SECONDS choose another run.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { launch } from './support/browser.mjs'
import { Member, prepare } from './support/lab.mjs'
import { Server, sleep } from './support/server.mjs'

const SEED = Number(process.env.CHAOS_SEED ?? 20261126)
const SECONDS = Number(process.env.CHAOS_SECONDS ?? 60)
/** How long a picture may stand still beyond what was done to it: two seconds, and the time between two looks. */
const STILL = 2250
/** A publisher is left in peace this long between two operations, so that what one of them broke is seen. */
const PEACE = 3500

let server
let browser
before(async () => {
  server = await Server.start({ env: { SWITCHBOARD_ROOMS__CREATE: 'anyone', SWITCHBOARD_TURN__MODE: 'off', SWITCHBOARD_LIMITS__RATE_LIMITS: 'false', SWITCHBOARD_MEDIA__WORKERS: '2' } })
  await server.people(...Array.from({ length: 12 }, (_, n) => 101 + n))
  browser = await launch(['--allow-loopback-in-peer-connection'])
})
after(async () => {
  await browser?.close()
  await server?.stop()
})

/** Numbers from 0 to 1 (mulberry32). */
function random(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const CODECS = ['vp8', 'h264', 'vp9']
// Two encodings, under several sets of names; Chromium makes two of a picture of this size.
const RIDS = [['q', 'f'], ['f', 'q'], ['low', 'high']]
const simulcast = ([first, second]) => {
  const lower = ['q', 'low'].includes(first)
  return {
    width: 480, height: 270, rate: 10,
    encodings: [{ rid: first, scaleResolutionDownBy: lower ? 2 : 1, maxBitrate: lower ? 60_000 : 200_000 }, { rid: second, scaleResolutionDownBy: lower ? 1 : 2, maxBitrate: lower ? 200_000 : 60_000 }],
  }
}
const single = { width: 160, height: 120, rate: 10 }

/** One who sends, and what was done to them: `done` are the operations, `spans` the time that each track was there to be seen. */
class Publisher {
  constructor(member, layered) {
    Object.assign(this, { member, layered, done: [], spans: [], rids: 0, codec: 0, free: 0 })
  }

  async begin() {
    const codec = this.layered ? {} : { codec: CODECS[this.codec] }
    this.n = await this.member.send(this.layered ? simulcast(RIDS[this.rids]) : { ...single, ...codec })
    this.spans.push({ trackId: await this.member.track(this.n) })
  }

  do(what, ...words) {
    return this.member.sending.do(what, this.n, ...words)
  }

  operations = {
    // Another first codec of a section is another track.
    codec: async () => {
      this.codec = (this.codec + 1) % CODECS.length
      await this.do('prefer', CODECS[this.codec])
      const [before, changed] = [this.spans.at(-1), Date.now()]
      await this.member.publish()
      const trackId = await this.member.track(this.n)
      if (trackId === before.trackId) return
      before.to = changed
      this.spans.push({ trackId })
    },
    hold: async (chance) => {
      await this.do('direct', 'inactive')
      await this.member.publish()
      await sleep(500 + chance * 1500) // paces operations: as long as chance holds the track
      await this.do('direct', 'sendonly')
      const track = this.spans.at(-1).trackId
      const tracks = await this.member.publish()
      assert.ok(tracks.some(({ trackId }) => trackId === track), 'the track that was held is another one')
    },
    // One of several encodings ends and comes back.
    encoding: async (chance) => {
      const rid = RIDS[this.rids][chance < 0.5 ? 0 : 1]
      await this.do('encode', rid, false)
      await sleep(1000 + chance * 1000) // paces operations: as long as chance keeps the encoding off
      await this.do('encode', rid, true)
    },
    // The section is stopped, and another one has encodings of other names.
    rids: async () => {
      this.spans.at(-1).to = Date.now()
      await this.member.stop(this.n)
      await this.member.publish()
      this.rids = (this.rids + 1) % RIDS.length
      await this.begin()
    },
    restart: () => this.member.restart(),
  }

  async operate(name, chance) {
    const operation = { name, from: Date.now() }
    this.done.push(operation)
    try {
      await this.operations[name](chance)
    } catch (error) {
      operation.error = String(error)
    }
    operation.to = Date.now()
    const span = this.spans.at(-1)
    span.from ??= operation.to
    this.free = operation.error ? Infinity : operation.to + PEACE
  }
}

/** The longest piece of `from` to `to` that none of `covers` lies over. */
function uncovered(from, to, covers) {
  let [at, longest] = [from, 0]
  for (const cover of [...covers].sort((a, b) => a.from - b.from)) {
    if (cover.to <= at || cover.from >= to) continue
    longest = Math.max(longest, cover.from - at)
    at = Math.max(at, cover.to)
  }
  return Math.max(longest, to - at)
}

/** When a page could not look for three looks' time. */
const blind = (looks) => looks.slice(1).map((to, n) => ({ from: looks[n], to })).filter(({ from, to }) => to - from > 750)

/** Each time a viewer saw a track stand still for too long. */
function standstills(publisher, viewer, { looks, more }, end) {
  const covers = [...publisher.done.map(({ from, to }) => ({ from, to })), ...blind(looks)]
  return publisher.spans.filter(({ from }) => from !== undefined).flatMap(({ trackId, from, to = end }) => {
    const times = (more[viewer.mids.get(trackId)] ?? []).filter((at) => at > from && at < to)
    const points = [from, ...times, to]
    return points.slice(1).map((until, n) => ({ trackId, since: points[n], until, still: uncovered(points[n], until, covers) })).filter(({ still }) => still > STILL)
  })
}

test(`ten publishers change codecs, encodings, directions and networks for ${SECONDS} s (seed ${SEED})`, { timeout: (SECONDS + 120) * 1000 }, async (context) => {
  context.diagnostic(`seed ${SEED}`)
  const pages = await Promise.all(Array.from({ length: 4 }, () => browser.newPage()))
  for (const made of pages) await prepare(made)
  const viewers = []
  for (const user of [111, 112]) {
    const viewer = await Member.join(server, pages[3], user, 'chaos')
    await viewer.receive()
    viewers.push(viewer)
  }
  const publishers = []
  for (let n = 0; n < 10; n += 1) {
    const publisher = new Publisher(await Member.join(server, pages[n % 3], 101 + n, 'chaos', { autoSubscribe: false }), n % 3 === 0)
    publisher.codec = n % CODECS.length
    await publisher.begin()
    publishers.push(publisher)
  }
  for (const { spans } of publishers) for (const viewer of viewers) await viewer.seeing(spans[0].trackId, 3, 30_000)

  for (const viewer of viewers) await viewer.receiving.do('watch')
  const begun = Date.now()
  for (const { spans } of publishers) spans[0].from = begun
  const chance = random(SEED)
  const running = new Set()
  while (Date.now() < begun + SECONDS * 1000) {
    const free = publishers.filter(({ free }) => free <= Date.now())
    if (free.length) {
      const publisher = free[Math.floor(chance() * free.length)]
      const names = publisher.layered ? ['codec', 'hold', 'encoding', 'rids', 'restart'] : ['codec', 'hold', 'restart']
      publisher.free = Infinity
      const one = publisher.operate(names[Math.floor(chance() * names.length)], chance()).finally(() => running.delete(one))
      running.add(one)
    }
    await sleep(200) // paces operations: five begin in a second at most
  }
  await Promise.all(running)
  await sleep(PEACE) // paces media: the time for which pictures are watched after the last operation

  const end = Date.now()
  const problems = []
  const at = (time) => `${((time - begun) / 1000).toFixed(1)} s`
  for (const [n, publisher] of publishers.entries()) {
    const { done, member } = publisher
    const story = done.map(({ name, from, to }) => `${name} ${at(from)} to ${at(to)}`).join(', ')
    for (const { name, from, error } of done) if (error) problems.push(`publisher ${n}: ${name} at ${at(from)}: ${error}`)
    for (const mid of member.rejected) problems.push(`publisher ${n}: section ${mid} was answered with port 0 and had not been stopped`)
    for (const [m, viewer] of viewers.entries()) {
      for (const { since, until, still } of standstills(publisher, viewer, await viewer.receiving.do('watched'), end)) {
        problems.push(`publisher ${n} stood still at viewer ${m} from ${at(since)} to ${at(until)}, ${(still / 1000).toFixed(1)} s of it in peace; done: ${story}`)
      }
    }
  }
  for (const viewer of viewers) {
    problems.push(...viewer.problems)
    const { looks } = await viewer.receiving.do('watched')
    const dark = blind(looks).reduce((sum, { from, to }) => sum + to - from, 0)
    assert.ok(looks.length > SECONDS && dark < (end - begun) / 10, `the viewers' page looked ${looks.length} times and was blind for ${dark} ms: nothing can be said`)
  }
  const operations = publishers.flatMap(({ done }) => done)
  const count = (wanted) => operations.filter(({ name }) => name === wanted).length
  context.diagnostic(`${operations.length} operations: ${[...new Set(operations.map(({ name }) => name))].map((name) => `${count(name)} ${name}`).join(', ')}`)
  assert.ok(operations.length > SECONDS / 2, `${operations.length} operations only`)
  assert.equal(problems.length, 0, `seed ${SEED}:\n${problems.join('\n')}`)
})
