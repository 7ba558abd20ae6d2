// A track is held and comes back: by a direction in a real browser, and the track stays what it was for everybody.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { launch } from './support/browser.mjs'
import { firefox } from './support/firefox.mjs'
import { Member, prepare, sections } from './support/lab.mjs'
import { Server } from './support/server.mjs'

let server
let chromium
let fox
before(async () => {
  // On all addresses: Firefox pairs no address of its own with the loopback one.
  server = await Server.start({ env: { SWITCHBOARD_ROOMS__CREATE: 'anyone', SWITCHBOARD_TURN__MODE: 'off', SWITCHBOARD_MEDIA__HOST: '0.0.0.0' } })
  await server.people(7, 8)
  chromium = await launch(['--allow-loopback-in-peer-connection'])
  fox = await firefox('about:blank')
})
after(async () => {
  await fox?.browser.close()
  await chromium?.close()
  await server?.stop()
})

const pages = {
  Chromium: () => chromium.newPage(),
  // Firefox gives its camera to pages of a server alone.
  async Firefox() {
    const made = await fox.browser.newPage()
    await made.goto(server.url)
    return made
  },
}

for (const [browser, open] of Object.entries(pages)) {
  test(`${browser} holds its picture and takes it up again in a room`, async () => {
    const [mine, theirs] = [await open(), await pages.Chromium()]
    for (const made of [mine, theirs]) await prepare(made)
    const ada = await Member.join(server, mine, 7, `hold-${browser}`)
    const ben = await Member.join(server, theirs, 8, `hold-${browser}`)
    await ben.receive()
    // A second section stays as it is, beside the one that is held.
    const [held, kept] = [await ada.send({ width: 160, height: 120 }), await ada.send({ width: 160, height: 120 })]
    const [track, other] = [await ada.track(held), await ada.track(kept)]
    assert.ok(track && other)
    await ben.seeing(track)
    const mid = await ada.sending.do('mid', held)
    for (const round of [1, 2]) {
      await ada.sending.do('direct', held, 'inactive')
      await ada.publish()
      assert.deepEqual(ada.rejected, [], `round ${round}: a held section is not rejected`)
      // What is on its way may still arrive; then nothing does, and the other section goes on.
      await ben.seeing(other, 10)
      const still = (await ben.pictures(track))?.framesDecoded
      await ben.seeing(other, 15)
      assert.equal((await ben.pictures(track))?.framesDecoded, still, `round ${round}: nothing comes of a held track`)
      assert.equal(await ada.sending.do('mid', held), mid)
      // A section that the answer had rejected would refuse this with an InvalidStateError.
      await ada.sending.do('direct', held, 'sendonly')
      const tracks = await ada.publish()
      assert.deepEqual(ada.rejected, [])
      assert.equal(tracks.find((one) => one.mid === mid)?.trackId, track, `round ${round}: the same track`)
      await ben.seeing(track)
      await ben.seeing(other)
    }
    assert.equal(ben.socket.events.filter(({ name }) => name === 'room:track-unpublished').length, 0, 'for others the track was there all the time')
    assert.deepEqual([ada.problems, ben.problems], [[], []])
    for (const member of [ada, ben]) await member.leave()
    for (const made of [mine, theirs]) await made.close()
  })

  test(`${browser} has nothing but a held picture, and takes it up again`, async () => {
    const [mine, theirs] = [await open(), await pages.Chromium()]
    for (const made of [mine, theirs]) await prepare(made)
    const ada = await Member.join(server, mine, 7, `alone-${browser}`)
    const ben = await Member.join(server, theirs, 8, `alone-${browser}`)
    await ben.receive()
    const n = await ada.send({ width: 160, height: 120 })
    const track = await ada.track(n)
    await ben.seeing(track)
    await ada.sending.do('direct', n, 'inactive')
    await ada.publish()
    await ben.still(track)
    await ada.sending.do('direct', n, 'sendonly')
    await ada.publish()
    assert.deepEqual(ada.rejected, [])
    assert.equal(await ada.track(n), track)
    await ben.seeing(track)
    for (const member of [ada, ben]) await member.leave()
    for (const made of [mine, theirs]) await made.close()
  })
}
