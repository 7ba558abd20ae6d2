// GStreamer's webrtcbin as a publisher by WHIP and a viewer by WHEP: what command-line broadcasters and cameras are made of.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { after, before, test } from 'node:test'
import { launch } from './support/browser.mjs'
import { Member, Peer, prepare } from './support/lab.mjs'
import { Server, until } from './support/server.mjs'
import { systemPython, whipClient } from './support/whip-client.mjs'

const wanted = ['webrtcbin', 'nicesrc', 'dtlsdec', 'srtpdec', 'vp8enc', 'vp9enc', 'x264enc', 'avdec_h264', 'opusenc']
const probe = `
import gi
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import Gst, GstSdp, GstWebRTC
Gst.init(None)
print(*[name for name in ${JSON.stringify(wanted)} if Gst.ElementFactory.find(name) is None])
`
const found = spawnSync(systemPython, ['-c', probe], { encoding: 'utf8' })
const missing = found.status === 0 ? found.stdout.trim() : 'the bindings of GStreamer for Python (python3-gi, gir1.2-gst-plugins-bad-1.0)'

if (missing) {
  test(`SKIPPED: GStreamer's webrtcbin cannot be used here, for lack of ${missing}; .ci/run names the packages`, { skip: true }, () => {})
} else {
  let server
  let browser
  let made
  const running = []
  before(async () => {
    server = await Server.start({ env: { SWITCHBOARD_ROOMS__CREATE: 'anyone', SWITCHBOARD_TURN__MODE: 'off' } })
    await server.people(7, 8, 9)
    browser = await launch(['--allow-loopback-in-peer-connection'])
    made = await browser.newPage()
    await prepare(made)
  })
  after(async () => {
    for (const client of running) client.kill()
    await browser?.close()
    await server?.stop()
  })

  const client = (kind, user, room, codec) => {
    const one = whipClient(server, kind, user, room, { program: 'gstreamer', words: [codec] })
    running.push(one)
    /** Waits; a failure says what the client said. */
    one.waits = (check, what) => until(check, what, 15_000).catch((error) => { throw new Error(`${error.message}: ${one.errors} ${JSON.stringify(one.events)}`) })
    return one
  }

  for (const codec of ['vp8', 'vp9', 'h264']) {
    test(`webrtcbin publishes ${codec}; Chromium decodes it by WHEP, and webrtcbin does`, async () => {
      const room = `gstreamer-${codec}`
      const publisher = client('publish', 7, room, codec)
      await publisher.waits(() => publisher.says('connected'), 'webrtcbin is connected')
      const viewer = client('view', 8, room, codec)
      const byHttp = await Peer.open(made)
      await byHttp.do('receive', ['audio', 'video'])
      await byHttp.byHttp(server, 9, `/whep/${room}`)
      const picture = async () => (await byHttp.do('pictures'))[0]
      const from = (await picture())?.framesDecoded ?? 0
      await until(async () => (await picture())?.framesDecoded >= from + 20, 'pictures at Chromium', 15_000)
      const { frameWidth, codec: got } = await picture()
      assert.deepEqual([frameWidth, got.toLowerCase()], [320, `video/${codec}`])
      await viewer.waits(() => viewer.frames('video') >= 20 && viewer.frames('audio') >= 50, 'pictures and sound at webrtcbin')
      assert.deepEqual(viewer.codecs().map((name) => name.toLowerCase()), [`video/${codec}`])
      await byHttp.do('close')
      await viewer.end()
      await publisher.end()
    })

    test(`Chromium publishes ${codec}, and webrtcbin decodes it`, async () => {
      const room = `to-gstreamer-${codec}`
      const ada = await Member.join(server, made, 7, room)
      await ada.send({ width: 320, height: 240, codec })
      const viewer = client('view', 8, room, codec)
      await viewer.waits(() => viewer.frames('video') >= 20, 'pictures at webrtcbin')
      assert.deepEqual(viewer.codecs().map((name) => name.toLowerCase()), [`video/${codec}`])
      await viewer.end()
      await ada.leave()
    })
  }
}
