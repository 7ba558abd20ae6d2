// Recordings: calls of clients that know nothing of them, and rooms; what ffmpeg and a browser make of the files.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { launch, page } from './support/browser.mjs'
import { phone } from './support/phones.mjs'
import { Server, ask, next, root, sleep, token, until } from './support/server.mjs'

const run = promisify(execFile)
const shots = `${root}/test-results`
let server
let browser
before(async () => {
  mkdirSync(shots, { recursive: true })
  server = await Server.start({ env: { STUN_SERVER: '', SWITCHBOARD_ICE__STUN_SERVERS: '[]', SWITCHBOARD_CALL__MEDIA: 'relay', SWITCHBOARD_RECORDINGS__MIN_FREE_BYTES: '0' } })
  await server.people(7, 8, 9)
})
after(async () => {
  await browser?.close()
  await server?.stop()
})

/** Two phones of the original in a call, and a connection of the first one's application beside it. */
async function inCall(own = server, ...kinds) {
  const [ada, ben] = [phone(own, 7, ...kinds), phone(own, 8, ...kinds)]
  const watch = await own.connect(7)
  await Promise.all([next(ada, 'connect'), next(ben, 'connect')])
  ada.say({ dial: 8 })
  const { callId } = await next(ben, 'call:incoming')
  for (const side of [ada, ben]) await next(side, 'hears', () => true, 15000)
  return { ada, ben, watch, callId, close: () => [ada, ben, watch].forEach((one) => one.close()) }
}

/** Downloads the files of a recording by its links; checks what was promised of each. */
async function fetched(own, recording, user = 7) {
  const files = []
  for (const file of recording.files) {
    const path = `/api/recordings/${recording.recordingId}/files/${file.fileId}`
    const link = await own.rest(user, 'GET', `${path}?link=1`)
    assert.equal(link.status, 200, link.text)
    const answer = await fetch(own.url + link.json.data.url)
    assert.equal(answer.status, 200)
    const bytes = Buffer.from(await answer.arrayBuffer())
    assert.equal(bytes.length, file.bytes)
    assert.equal(createHash('sha256').update(bytes).digest('hex'), file.sha256)
    const at = join(own.data, `${file.fileId}.${file.container}`)
    writeFileSync(at, bytes)
    files.push({ ...file, at, bytes, type: answer.headers.get('content-type') })
  }
  return files
}

/** Decodes a file to its end; gives its streams and its length in seconds. */
async function decoded(at) {
  const { stderr } = await run('ffmpeg', ['-v', 'warning', '-i', at, '-f', 'null', '-'])
  const complaints = stderr.split('\n').filter((line) => line && !/deprecated pixel format/.test(line))
  assert.deepEqual(complaints, [], at)
  const probe = await run('ffprobe', ['-v', 'error', '-count_frames', '-show_streams', '-show_format', '-of', 'json', at])
  const { streams, format } = JSON.parse(probe.stdout)
  return { streams, seconds: Number(format.duration) }
}

test('a call of two clients of the original is recorded, and ffmpeg plays it', async () => {
  const { ada, ben, watch, callId, close } = await inCall(server, 'video')
  try {
    const begun = Date.now()
    const started = await ask(watch, 'recording:start', { callId })
    assert.ok(started.ok, JSON.stringify(started))
    assert.equal(started.recording.status, 'recording')
    assert.deepEqual(started.recording.userIds, [7, 8])
    assert.equal((await next(watch, 'recording:started')).by, 7)
    assert.equal((await next(ben, 'recording:started')).recording.recordingId, started.recording.recordingId)
    assert.equal((await ask(watch, 'recording:start', { callId })).reason, 'ALREADY_RECORDING')
    const early = await server.rest(7, 'GET', `/api/calls/${callId}/recording`)
    assert.deepEqual([early.status, early.json.details.recordingStatus], [404, 'recording'])
    await sleep(6000)
    assert.ok((await ask(watch, 'recording:stop', { recordingId: started.recording.recordingId })).ok)
    const seconds = (Date.now() - begun) / 1000
    const stopped = await next(watch, 'recording:stopped')
    assert.equal(stopped.recording.stopReason, 'requested')
    const { recording } = await next(watch, 'recording:ready')
    await next(ben, 'recording:ready')
    assert.equal(recording.status, 'completed')
    assert.deepEqual(recording.files.map(({ kind, userId }) => [kind, userId]).sort(), [['manifest', null], ['video', 7], ['video', 8]])
    const files = await fetched(server, recording)
    for (const file of files.filter(({ kind }) => kind === 'video')) {
      assert.equal(file.type, 'video/webm')
      const { streams, seconds: length } = await decoded(file.at)
      assert.deepEqual(streams.map(({ codec_name }) => codec_name).sort(), ['opus', 'vp8'])
      assert.ok(Math.abs(length + file.startOffsetMs / 1000 - seconds) < 0.5, `${length} s from ${file.startOffsetMs} ms of ${seconds} s`)
      const pictures = streams.find(({ codec_name }) => codec_name === 'vp8')
      assert.ok(Number(pictures.nb_read_frames) > 100, pictures.nb_read_frames)
    }
    const manifest = JSON.parse(files.find(({ kind }) => kind === 'manifest').bytes)
    assert.deepEqual([manifest.callId, manifest.files.length], [callId, 2])
    const compat = await server.rest(8, 'GET', `/api/calls/${callId}/recording`)
    assert.equal(compat.status, 200, compat.text)
    assert.deepEqual([compat.json.data.callId, compat.json.data.recordingStatus], [callId, 'completed'])
    assert.equal((await fetch(server.url + compat.json.data.recordingUrl)).status, 200)
    ada.say({ hangup: true })
    await next(ben, 'call:ended')
  } finally {
    close()
  }
})
