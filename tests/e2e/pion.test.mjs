// pion, as Go programs use it, with the offer that it makes by itself: all its codecs, one payload type after the other.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { launch } from './support/browser.mjs'
import { Member, Peer, prepare } from './support/lab.mjs'
import { coded, decodable, folder } from './support/pictures.mjs'
import { Server, until } from './support/server.mjs'
import { pion, whipClient } from './support/whip-client.mjs'

if (!existsSync(pion)) {
  test(`SKIPPED: pion is not at ${pion}; "make e2e" builds it where Go is`, { skip: true }, () => {})
} else {
  let server
  let browser
  let made
  const files = folder()
  const running = []
  before(async () => {
    server = await Server.start({ env: { SWITCHBOARD_ROOMS__CREATE: 'anyone', SWITCHBOARD_TURN__MODE: 'off', SWITCHBOARD_LIMITS__RATE_LIMITS: 'false' } })
    await server.people(7, 8, 9)
    browser = await launch(['--allow-loopback-in-peer-connection'])
    made = await browser.newPage()
    await prepare(made)
  })
  after(async () => {
    for (const client of running) client.kill()
    await browser?.close()
    await server?.stop()
    files.remove()
  })

  const client = (kind, user, room, path) => {
    const one = whipClient(server, kind, user, room, { program: 'pion', words: [path] })
    running.push(one)
    return one
  }
  /** Waits; a failure says what the client said. */
  const waits = (one, check, what) => until(check, what, 15_000).catch((error) => { throw new Error(`${error.message}: ${said(one)}`) })
  const said = (one) => `${one.errors} ${JSON.stringify(one.events.filter(({ event }) => event !== 'answer').slice(-3))}`

  /** A pion viewer of a room, and what became of its pictures. */
  async function viewer(room) {
    const path = join(files.path, `view-${room}`)
    mkdirSync(path)
    const one = client('view', 8, room, path)
    /** Pictures of this codec came, and ffmpeg can decode them. */
    one.sees = async (codec) => {
      await waits(one, () => one.frames('video') >= 30, 'pictures at pion')
      assert.deepEqual(one.codecs().map((name) => name.toLowerCase()), [`video/${codec}`])
      await one.end()
      const { frames, ...picture } = await decodable(join(path, codec === 'h264' ? 'h264.h264' : `${codec}.ivf`))
      assert.ok(frames >= 10, `${frames} pictures can be decoded`)
      return picture
    }
    return one
  }

  for (const codec of ['vp8', 'vp9', 'h264']) {
    test(`pion publishes ${codec}; Chromium decodes it by WHEP and in the room, and pion gets it`, async () => {
      const room = `pion-${codec}`
      const publisher = client('publish', 7, room, await coded(files.path, codec))
      await waits(publisher, () => publisher.says('connected'), 'pion is connected')
      const other = await viewer(room)

      const byHttp = await Peer.open(made)
      await byHttp.do('receive', ['audio', 'video'])
      await byHttp.byHttp(server, 9, `/whep/${room}`)
      const ben = await Member.join(server, made, 9, room)
      await ben.receive()
      const track = await until(() => [...ben.mids.keys()][0], 'a section for the picture')
      const seen = await ben.seeing(track, 20)
      assert.deepEqual([seen.codec.toLowerCase(), seen.frameWidth], [`video/${codec}`, 320])
      const at = async () => (await byHttp.do('pictures'))[0]?.framesDecoded ?? 0
      const from = await at()
      await until(async () => (await at()) >= from + 20, 'pictures by WHEP', 15_000)

      assert.deepEqual(await other.sees(codec), { codec, width: 320, height: 240 })
      assert.deepEqual(publisher.events.filter(({ event }) => event === 'error'), [])
      await byHttp.do('close')
      await ben.leave()
      await publisher.end()
    })

    test(`Chromium publishes ${codec}, and pion gets it`, async () => {
      const room = `chromium-${codec}`
      const ada = await Member.join(server, made, 7, room)
      await ada.send({ width: 320, height: 240, codec })
      const other = await viewer(room)
      const { codec: got } = await other.sees(codec)
      assert.equal(got, codec)
      await ada.leave()
    })
  }

  test('pion vanishes without a word, and its successor is seen within 6 s', async () => {
    const file = await coded(files.path, 'vp8')
    const first = client('publish', 7, 'gone', file)
    await until(() => first.says('connected'), 'the first is connected', 15_000)
    const byHttp = await Peer.open(made)
    await byHttp.do('receive', ['audio', 'video'])
    await byHttp.byHttp(server, 9, '/whep/gone')
    const seen = async () => (await byHttp.do('pictures'))[0]
    await until(async () => (await seen())?.framesDecoded > 15, 'pictures of the first', 15_000)
    first.kill()
    // Its pictures are of another size.
    const second = client('publish', 7, 'gone', await coded(files.path, 'vp8', '160x120'))
    await until(() => second.says('connected'), 'the second is connected', 15_000)
    await until(async () => (await seen()).frameWidth === 160, 'pictures of the second', 6000)
    await byHttp.do('close')
    await second.end()
  })
}
