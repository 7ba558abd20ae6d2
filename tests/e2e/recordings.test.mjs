// Recordings: calls of clients that know nothing of them, and rooms; what ffmpeg and a browser make of the files.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { advancing, frames, launch, page, seeing, videoCall } from './support/browser.mjs'
import { phone } from './support/phones.mjs'
import { Server, ask, grown, next, root, token, until } from './support/server.mjs'
import { python, whipClient } from './support/whip-client.mjs'

const run = promisify(execFile)
const shots = `${root}/test-results`
let server
before(async () => {
  mkdirSync(shots, { recursive: true })
  server = await Server.start({ env: { STUN_SERVER: '', SWITCHBOARD_ICE__STUN_SERVERS: '[]', SWITCHBOARD_CALL__MEDIA: 'relay', SWITCHBOARD_ROOMS__CREATE: 'anyone', SWITCHBOARD_RECORDINGS__MIN_FREE_BYTES: '0' } })
  await server.people(7, 8, 9)
})
after(() => server?.stop())

/** Two phones of the original in a call, and a connection of the first one's application beside it. */
async function inCall(own = server, ...kinds) {
  const [ada, ben] = [phone(own, 7, ...kinds), phone(own, 8, ...kinds)]
  const watch = await own.connect(7)
  await Promise.all([next(ada, 'connect'), next(ben, 'connect')])
  ada.say({ dial: 8 })
  const { callId } = await next(ben, 'call:incoming')
  for (const side of [ada, ben]) await next(side, 'hears', () => true, 15000)
  /** Waits until both have this many more seconds of the other's sound. */
  const lasts = (seconds) => Promise.all([ada, ben].map((side) => grown(() => side.received('audio'), seconds * 100, 'pieces of sound', 10_000 + seconds * 2000)))
  return { ada, ben, watch, callId, lasts, close: () => [ada, ben, watch].forEach((one) => one.close()) }
}

/** Downloads the files of a recording by its links; checks what was promised of each. */
async function fetched(own, recording, user = 7, headers = {}) {
  const files = []
  for (const file of recording.files) {
    const path = `/api/recordings/${recording.recordingId}/files/${file.fileId}`
    const link = await own.rest(user, 'GET', `${path}?link=1`, undefined, headers)
    assert.equal(link.status, 200, link.text)
    const answer = await fetch(own.url + link.json.data.url)
    assert.equal(answer.status, 200)
    const bytes = Buffer.from(await answer.arrayBuffer())
    assert.equal(bytes.length, file.bytes)
    assert.equal(createHash('sha256').update(bytes).digest('hex'), file.sha256)
    const at = join(own.data, `${file.fileId}.${file.container}`)
    writeFileSync(at, bytes)
    files.push({ ...file, at, content: bytes, type: answer.headers.get('content-type') })
  }
  return files
}

/** Decodes a file to its end; gives its streams and its length in seconds. */
async function decoded(at) {
  const { stderr } = await run('ffmpeg', ['-v', 'warning', '-i', at, '-fps_mode', 'passthrough', '-enc_time_base', '1:1000', '-f', 'null', '-'])
  const complaints = stderr.split('\n').filter((line) => line && !/deprecated pixel format/.test(line))
  assert.deepEqual(complaints, [], at)
  const probe = await run('ffprobe', ['-v', 'error', '-count_frames', '-count_packets', '-show_streams', '-show_format', '-of', 'json', at])
  const { streams, format } = JSON.parse(probe.stdout)
  return { streams, seconds: Number(format.duration) }
}

test('a call of two clients of the original is recorded, and ffmpeg plays it', async () => {
  const { ada, ben, watch, callId, lasts, close } = await inCall(server, 'video')
  try {
    const started = await ask(watch, 'recording:start', { callId })
    assert.ok(started.ok, JSON.stringify(started))
    assert.equal(started.recording.status, 'recording')
    assert.deepEqual(started.recording.userIds, [7, 8])
    assert.equal((await next(watch, 'recording:started')).by, 7)
    assert.equal((await next(ben, 'recording:started')).recording.recordingId, started.recording.recordingId)
    assert.equal((await ask(watch, 'recording:start', { callId })).reason, 'ALREADY_RECORDING')
    const early = await server.rest(7, 'GET', `/api/calls/${callId}/recording`)
    assert.deepEqual([early.status, early.json.details.recordingStatus], [404, 'recording'])
    await lasts(6)
    assert.ok((await ask(watch, 'recording:stop', { recordingId: started.recording.recordingId })).ok)
    const stopped = await next(watch, 'recording:stopped')
    assert.equal(stopped.recording.stopReason, 'requested')
    const { recording } = await next(watch, 'recording:ready')
    await next(ben, 'recording:ready')
    assert.equal(recording.status, 'completed')
    const seconds = (Date.parse(recording.stoppedAt) - Date.parse(recording.startedAt)) / 1000
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
    const manifest = JSON.parse(files.find(({ kind }) => kind === 'manifest').content)
    assert.deepEqual([manifest.callId, manifest.files.length], [callId, 2])
    const compat = await server.rest(8, 'GET', `/api/calls/${callId}/recording`)
    assert.equal(compat.status, 200, compat.text)
    assert.deepEqual([compat.json.data.callId, compat.json.data.recordingStatus], [callId, 'completed'])
    assert.equal((await fetch(server.url + compat.json.data.recordingUrl)).status, 200)
    const [entry] = (await server.rest(7, 'GET', '/api/calls/history')).json.data
    assert.deepEqual([entry.callId, entry.recordingStatus, entry.recordingId], [callId, 'completed', recording.recordingId])
    ada.say({ hangup: true })
    await next(ben, 'call:ended')
  } finally {
    close()
  }
})

const listed = async (own, user, path = '') => (await own.rest(user, 'GET', `/api/recordings${path}`)).json.data

test('after kill -9 at most 1.2 s are missing, and what is there plays and can be searched', async () => {
  const own = await Server.start({ env: { SWITCHBOARD_ICE__STUN_SERVERS: '[]', SWITCHBOARD_CALL__MEDIA: 'relay', SWITCHBOARD_RECORDINGS__MIN_FREE_BYTES: '0' } })
  await own.people(7, 8)
  try {
    for (const how of ['start', 'program']) {
      const { watch, callId, lasts, close } = await inCall(own, 'video')
      const started = await ask(watch, 'recording:start', { callId })
      assert.ok(started.ok, JSON.stringify(started))
      await lasts(5)
      // The server is killed and has no time of its own for it.
      const seconds = (Date.now() - Date.parse(started.recording.startedAt)) / 1000
      own.process.kill('SIGKILL')
      await own.exited
      close()
      if (how === 'program') {
        const { stdout } = await own.program('recover')
        assert.match(stdout, new RegExp(`${started.recording.recordingId} completed, 3 files`))
        assert.equal((await own.program('recover')).stdout, '')
      }
      await own.run()
      const [recording] = await listed(own, 7)
      assert.deepEqual([recording.recordingId, recording.status, recording.stopReason], [started.recording.recordingId, 'completed', 'recovered'])
      for (const file of (await fetched(own, recording)).filter(({ kind }) => kind === 'video')) {
        const { seconds: length } = await decoded(file.at)
        const lost = seconds - length - file.startOffsetMs / 1000
        assert.ok(lost <= 1.2, `${lost} s are missing`)
        const { stderr } = await run('ffmpeg', ['-v', 'warning', '-ss', '2', '-i', file.at, '-frames:v', '1', '-f', 'null', '-'])
        assert.doesNotMatch(stderr, /error|invalid/i)
      }
    }
  } finally {
    await own.stop()
  }
})

test('who was not there gets 404 for everything, and no text from outside is a path', async () => {
  const { watch, callId, lasts, close } = await inCall()
  const { recording: { recordingId } } = await ask(watch, 'recording:start', { callId, mode: 'audio-mix' })
  await lasts(2.5)
  const eve = await server.connect(9)
  assert.equal((await ask(eve, 'recording:stop', { recordingId })).reason, 'NOT_FOUND')
  assert.equal((await ask(eve, 'recording:consent', { recordingId, consent: true })).reason, 'NOT_FOUND')
  assert.equal((await ask(eve, 'recording:start', { callId })).reason, 'CALL_NOT_FOUND')
  assert.deepEqual((await ask(eve, 'recording:list', {})).recordings, [])
  const running = await server.rest(7, 'GET', `/api/recordings/${recordingId}/files/${recordingId}`)
  assert.deepEqual([running.status, running.json.reason], [409, 'RECORDING_NOT_READY'])
  assert.equal((await server.rest(7, 'DELETE', `/api/recordings/${recordingId}`)).status, 409)
  await ask(watch, 'recording:stop', { recordingId })
  const { recording } = await next(watch, 'recording:ready')
  assert.deepEqual(recording.files.map(({ kind }) => kind), ['mix', 'manifest'])
  const [file] = await fetched(server, recording)
  const { streams: [{ codec_name: codec }], seconds } = await decoded(file.at)
  assert.ok(codec === 'opus' && seconds > 2, `${codec}, ${seconds} s`)
  const { stderr: loudness } = await run('ffmpeg', ['-i', file.at, '-af', 'volumedetect', '-f', 'null', '-'])
  assert.ok(Number(loudness.match(/mean_volume: (-?[\d.]+)/)[1]) > -30, loudness)
  const path = `/api/recordings/${recordingId}/files/${file.fileId}`
  for (const [method, at] of [['GET', `/api/recordings/${recordingId}`], ['DELETE', `/api/recordings/${recordingId}`], ['POST', `/api/recordings/${recordingId}/stop`],
    ['GET', path], ['GET', `${path}?link=1`], ['GET', `/api/calls/${callId}/recording`]]) {
    assert.equal((await server.rest(9, method, at, method === 'POST' ? {} : undefined)).status, 404, `${method} ${at}`)
  }
  assert.deepEqual(await listed(server, 9), [])
  assert.equal((await fetch(server.url + path)).status, 401)
  assert.equal((await server.rest(8, 'DELETE', `/api/recordings/${recordingId}`)).json.reason, 'RECORDING_FORBIDDEN')

  // Parts of files (RFC 9110 §14).
  const part = (range) => server.rest(8, 'GET', path, undefined, { range })
  const some = await part('bytes=0-3')
  assert.deepEqual([some.status, some.headers.get('content-range')], [206, `bytes 0-3/${file.bytes}`])
  assert.equal((await part('bytes=-16')).status, 206)
  for (const odd of ['bytes=-0', 'bytes=9-1', `bytes=${file.bytes}-`, `bytes=${Array.from({ length: 1000 }, (_, n) => `${n}-${n}`).join(',')}`]) {
    assert.ok([200, 416].includes((await part(odd)).status), odd.slice(0, 40))
  }
  // A part is sent to who has the same file only (RFC 9110 §13.1.5).
  const tag = some.headers.get('etag')
  for (const [known, status] of [[tag, 206], [some.headers.get('last-modified'), 206], ['"another"', 200], [`W/${tag}`, 200], ['Thu, 01 Jan 1970 00:00:00 GMT', 200]]) {
    const answer = await server.rest(8, 'GET', path, undefined, { range: 'bytes=0-3', 'if-range': known })
    assert.equal(answer.status, status, `If-Range: ${known}`)
  }

  // Links: good as they are, and not otherwise.
  const { url } = (await server.rest(8, 'GET', `${path}?link=1`)).json.data
  assert.equal((await fetch(server.url + url)).status, 200)
  const forged = url.replace(/signature=(.)/, (_, first) => `signature=${first === 'A' ? 'B' : 'A'}`)
  for (const bad of [url.replace(/expires=\d/, 'expires=9'), forged, url.replace(/&signature=.*/, '&signature='), url.replace(file.fileId, recording.files.at(-1).fileId)]) {
    assert.equal((await fetch(server.url + bad)).status, 404, bad)
  }

  const dots = ['..', '%2e%2e', '..%2f', '%252e%252e%252f', '..%5c', '....//', '.%00.', '..;', '%c0%ae%c0%ae', '．．']
  const targets = ['etc/passwd', `${recordingId}/recording.json`, 'switchboard.db', `${file.fileId}.webm/`, 'file.webm%00.json']
  const tried = dots.flatMap((dot) => targets.map((target) => `${dot}/${dot}/${target}`))
  assert.equal(tried.length, 50)
  const { request } = await import('node:http')
  // As it stands: `fetch` would tidy it up.
  const raw = (at) => new Promise((resolve) => {
    request(server.url, { path: at, headers: { authorization: `Bearer ${token(7)}` } }, (answer) => { answer.resume(); resolve(answer.statusCode) }).end()
  })
  for (const odd of tried) {
    const escaped = encodeURI(odd).replace(/%25/g, '%')
    for (const at of [`/api/recordings/${escaped}`, `/api/recordings/${recordingId}/files/${escaped}`, `/api/recordings/${escaped}/files/${file.fileId}`]) {
      assert.ok([400, 404, 405].includes(await raw(at)), at)
    }
  }

  // Whoever started it deletes it, with its files.
  const folder = join(server.data, 'recordings', recordingId)
  assert.equal(statSync(folder).mode & 0o777, 0o700)
  assert.ok(readdirSync(folder).every((name) => (statSync(join(folder, name)).mode & 0o777) === 0o600))
  assert.equal((await server.rest(7, 'DELETE', `/api/recordings/${recordingId}`)).status, 200)
  assert.throws(() => statSync(folder))
  assert.equal((await server.rest(7, 'GET', `/api/recordings/${recordingId}`)).status, 404)
  eve.close()
  close()
})

test('with consent required, who does not agree is left out; the caller and the policy may record from the beginning', async () => {
  const own = await Server.start({ env: { SWITCHBOARD_ICE__STUN_SERVERS: '[]', SWITCHBOARD_RECORDINGS__MIN_FREE_BYTES: '0', SWITCHBOARD_RECORDINGS__AUTO: 'accepted', SWITCHBOARD_RECORDINGS__CONSENT: 'required' } })
  await own.people(7, 8)
  try {
    const { ada, ben, watch, lasts, close } = await inCall(own)
    const { recording: { recordingId } } = await next(watch, 'recording:started')
    await next(ada, 'recording:consent-request')
    assert.equal((await next(ben, 'recording:consent-request')).recording.recordingId, recordingId)
    assert.ok((await ask(watch, 'recording:consent', { recordingId, consent: true })).ok)
    await lasts(3)
    ada.say({ hangup: true })
    const { recording } = await next(watch, 'recording:ready')
    assert.equal(recording.stopReason, 'ended')
    assert.deepEqual(recording.files.filter(({ kind }) => kind !== 'manifest').map(({ userId }) => userId), [7])
    close()
    // Who is erased is no longer heard anywhere.
    const admin = { authorization: `Bearer ${token(1, { role: 'admin' })}` }
    assert.equal((await own.rest(undefined, 'DELETE', '/api/users/8?erase=recordings', undefined, admin)).status, 202)
    assert.deepEqual(await listed(own, 7), [])
    assert.throws(() => statSync(join(own.data, 'recordings', recordingId)))
  } finally {
    await own.stop()
  }
})

test('limits, a folder that is gone and a disk that is full end a recording, not the call', async () => {
  const own = await Server.start({ env: { SWITCHBOARD_ICE__STUN_SERVERS: '[]', SWITCHBOARD_CALL__MEDIA: 'relay', SWITCHBOARD_RECORDINGS__MIN_FREE_BYTES: '0', SWITCHBOARD_RECORDINGS__MAX_BYTES: '60000' } })
  await own.people(7, 8)
  try {
    const { ada, ben, watch, callId, close } = await inCall(own, 'video')
    const goesOn = async () => {
      for (const side of [ada, ben]) {
        side.say({ listen: true })
        await next(side, 'hears', () => true, 5000)
      }
    }
    assert.ok((await ask(watch, 'recording:start', { callId })).ok)
    assert.equal((await next(watch, 'recording:stopped', () => true, 15000)).recording.stopReason, 'size')
    const { recording } = await next(watch, 'recording:ready')
    for (const file of (await fetched(own, recording)).filter(({ kind }) => kind === 'video')) await decoded(file.at)
    await goesOn()

    const again = await ask(watch, 'recording:start', { callId })
    const folder = join(own.data, 'recordings', again.recording.recordingId)
    await until(() => existsSync(folder) && readdirSync(folder).filter((name) => statSync(join(folder, name)).size > 0).length > 1, 'files are written')
    rmSync(folder, { recursive: true })
    assert.equal((await next(watch, 'recording:failed', () => true, 15000)).reason, 'folder-gone')
    const [failed] = await listed(own, 7)
    assert.deepEqual([failed.status, failed.stopReason, failed.files], ['failed', 'folder-gone', []])
    await goesOn()
    ada.say({ hangup: true })
    await next(ben, 'call:ended')
    close()
  } finally {
    await own.stop()
  }
})

test('on a disk that is full', async (context) => {
  const disk = join(server.data, 'small-disk')
  mkdirSync(disk, { recursive: true })
  try {
    await run('mount', ['-t', 'tmpfs', '-o', 'size=200k,mode=700', 'tmpfs', disk])
  } catch {
    console.error('\nSKIPPED: a full disk. Mounting needs the right to (CAP_SYS_ADMIN).\n')
    return context.skip('no right to mount')
  }
  const own = await Server.start({ env: { SWITCHBOARD_ICE__STUN_SERVERS: '[]', SWITCHBOARD_CALL__MEDIA: 'relay', SWITCHBOARD_RECORDINGS__MIN_FREE_BYTES: '0', SWITCHBOARD_RECORDINGS__DIR: disk } })
  await own.people(7, 8)
  try {
    const { ada, ben, watch, callId, close } = await inCall(own, 'video')
    assert.ok((await ask(watch, 'recording:start', { callId })).ok)
    assert.equal((await next(watch, 'recording:stopped', () => true, 20000)).recording.stopReason, 'disk-full')
    const { recording } = await next(watch, 'recording:ready')
    for (const file of (await fetched(own, recording)).filter(({ kind }) => kind === 'video')) await decoded(file.at)
    for (const side of [ada, ben]) {
      side.say({ listen: true })
      await next(side, 'hears', () => true, 5000)
    }
    close()
  } finally {
    await own.stop()
    await run('umount', [disk])
  }
})

test('on a disk that is slow, and then stands still, a recording misses what it must, and the call goes on', async () => {
  const [library, still] = [join(server.data, 'slow-disk.so'), join(server.data, 'stands-still')]
  await run('cc', ['-shared', '-fPIC', '-o', library, `${root}/tests/e2e/support/slow-disk.c`, '-ldl'])
  const own = await Server.start({ env: { SWITCHBOARD_ICE__STUN_SERVERS: '[]', SWITCHBOARD_CALL__MEDIA: 'relay', SWITCHBOARD_RECORDINGS__MIN_FREE_BYTES: '0', LD_PRELOAD: library, STANDS_STILL: still } })
  await own.people(7, 8)
  try {
    const { ada, ben, watch, callId, lasts, close } = await inCall(own, 'video')
    assert.ok((await ask(watch, 'recording:start', { callId, mode: 'tracks' })).ok)
    const goesOn = async (seconds) => {
      for (let left = seconds; left > 0; left -= 1) {
        await lasts(1)
        for (const side of [ada, ben]) {
          side.say({ listen: true })
          await next(side, 'hears', () => true, 2000)
        }
      }
    }
    await goesOn(3)
    // A tap holds 1,024 packets, which sound has in 20.5 s.
    writeFileSync(still, '')
    const before = own.memory()
    await goesOn(26)
    assert.ok(own.memory() - before < 16_384, `memory grew by ${own.memory() - before} KiB`)
    rmSync(still)
    await goesOn(12)
    const [running] = await listed(own, 7)
    assert.equal(running.status, 'recording')
    await ask(watch, 'recording:stop', { recordingId: running.recordingId })
    const { recording } = await next(watch, 'recording:ready', () => true, 30000)
    const files = await fetched(own, recording)
    const manifest = JSON.parse(files.at(-1).content)
    for (const { lostPackets, gaps } of manifest.files) {
      const [{ fromMs, toMs }] = gaps
      // Sound has 50 packets a second.
      assert.ok(Math.abs(lostPackets - (toMs - fromMs) / 20) < 20, JSON.stringify(manifest.files))
    }
    for (const file of files.filter(({ kind }) => kind === 'video')) {
      const { seconds } = await decoded(file.at)
      assert.ok(seconds > 30, `${seconds} s`)
    }
    close()
  } finally {
    await own.stop()
  }
})

test('broken payloads end at most the recording of their own track', async (context) => {
  if (!existsSync(python)) {
    console.error('\nSKIPPED: broken payloads in a recording. aiortc is not here (make aiortc).\n')
    return context.skip('no aiortc')
  }
  // What is tested is not this client, which has been seen not to come up: it says so, and another takes its place.
  let good
  for (let left = 3; !good?.says('connected'); left--) {
    good?.kill()
    good = whipClient(server, 'publish', 7, 'broken')
    await until(() => good.says('connected'), 'the publisher is connected').catch((error) => {
      console.error(`${error.message}: ${JSON.stringify(good.events)} ${good.errors}`)
      if (left <= 1) throw error
    })
  }
  const viewer = whipClient(server, 'view', 8, 'broken')
  const bad = []
  try {
    await until(() => viewer.frames('video') > 10, 'the room lives', 20000)
    const admin = { authorization: `Bearer ${token(1, { role: 'admin' })}` }
    const begun = await server.rest(undefined, 'POST', '/api/recordings', { roomId: 'broken', mode: 'tracks' }, admin)
    assert.equal(begun.status, 201, begun.text)
    const { recordingId } = begun.json.data
    await Promise.all(['VP8', 'VP9', 'H264', 'AV1'].map(async (codec) => {
      const child = spawn(python, [`${root}/tests/e2e/support/garbage.py`, `${server.url}/whip/broken`, token(9), codec])
      bad.push(child)
      let said = ''
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += text))
      await until(() => said.includes('"sent"'), `${codec} sends`, 60000).catch((error) => { throw new Error(`${error.message}; ${said}`) })
    }))
    const before = viewer.frames('video')
    await until(() => viewer.frames('video') > before + 30, 'the room goes on', 5000)
    const stopped = await server.rest(undefined, 'POST', `/api/recordings/${recordingId}/stop`, {}, admin)
    assert.equal(stopped.status, 200, stopped.text)
    const recording = await until(async () => {
      const { json } = await server.rest(undefined, 'GET', `/api/recordings/${recordingId}`, undefined, admin)
      return json.data.status === 'completed' && json.data
    }, 'a completed recording', 20000)
    const files = await fetched(server, recording, null, admin)
    // The recorder was reached: of each there is a file, for what it is worth.
    const worthless = files.filter(({ userId }) => userId === 9).map(({ codec }) => codec)
    assert.deepEqual(worthless.sort(), ['av1', 'h264', 'vp8', 'vp9'])
    const own = files.find(({ userId }) => userId === 7)
    assert.ok((await decoded(own.at)).seconds > 2)
    assert.doesNotMatch(server.log, /panicked/)
  } finally {
    for (const child of bad) child.kill('SIGKILL')
    for (const client of [good, viewer]) client.kill()
  }
})

/** A room in which one publishes what an encoder has written, recorded by its operator. */
async function recordedPictures(room, codec, options, { seconds = 4, before = 2 } = {}) {
  const clip = join(server.data, codec === 'VP8' ? 'clip.ivf' : 'clip.h264')
  const encoder = codec === 'VP8' ? ['-c:v', 'libvpx', '-g', '25', '-f', 'ivf'] : ['-c:v', 'libx264', '-profile:v', 'baseline', '-g', '25', '-x264-params', 'slices=1:sliced-threads=0', '-tune', 'zerolatency', '-f', 'h264']
  // A white corner, at the top and on the left.
  await run('ffmpeg', ['-v', 'error', '-y', '-f', 'lavfi', '-i', 'color=red:s=320x240:d=1:r=25,drawbox=x=0:y=0:w=80:h=60:color=white:t=fill', '-pix_fmt', 'yuv420p', ...encoder, clip])
  const child = spawn(python, [`${root}/tests/e2e/support/pictures.py`, `${server.url}/whip/${room}`, token(7), codec, clip, JSON.stringify(options)])
  const [sent, said] = [() => said.text.split('"sent"').length - 1, { text: '' }]
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said.text += text))
  const admin = { authorization: `Bearer ${token(1, { role: 'admin' })}` }
  try {
    await until(() => sent() >= before, 'pictures are sent', 60000).catch((error) => { throw new Error(`${error.message}; ${said.text}`) })
    const begun = await server.rest(undefined, 'POST', '/api/recordings', { roomId: room, mode: 'tracks' }, admin)
    assert.equal(begun.status, 201, begun.text)
    const { recordingId } = begun.json.data
    const from = sent()
    await until(() => sent() >= from + seconds, 'more pictures are sent', 60000)
    assert.equal((await server.rest(undefined, 'POST', `/api/recordings/${recordingId}/stop`, {}, admin)).status, 200)
    const recording = await until(async () => {
      const { json } = await server.rest(undefined, 'GET', `/api/recordings/${recordingId}`, undefined, admin)
      return !['recording', 'processing'].includes(json.data.status) && json.data
    }, 'the end of the recording', 20000)
    return { recording, files: recording.status === 'completed' ? await fetched(server, recording, null, admin) : [] }
  } finally {
    child.kill('SIGKILL')
  }
}

/** In which corner of a file's first picture, as ffmpeg shows it, the white is; and its size. */
async function shown(at) {
  const { stdout, stderr } = await run('ffmpeg', ['-i', at, '-frames:v', '1', '-f', 'rawvideo', '-pix_fmt', 'gray', '-'], { encoding: 'buffer', maxBuffer: 1 << 24 })
  const [, width, height] = stderr.toString().match(/rawvideo.*?, (\d+)x(\d+)/).map(Number)
  const [rows, columns] = [[['top', 5], ['bottom', height - 6]], [['left', 5], ['right', width - 6]]]
  const corners = rows.flatMap(([row, y]) => columns.map(([column, x]) => [`${row} ${column}`, stdout[y * width + x]]))
  return { width, height, white: corners.filter(([, grey]) => grey > 180).map(([name]) => name) }
}

const noAiortc = (context, what) => {
  if (existsSync(python)) return false
  console.error(`\nSKIPPED: ${what}. aiortc is not here (make aiortc).\n`)
  context.skip('no aiortc')
  return true
}

test('a recording of a phone that is held upright plays upright, and one that is turned begins another file', async (context) => {
  if (noAiortc(context, 'turned phones in a recording')) return
  for (const [byte, rotation, matrix, size, white] of [[0x01, 90, -90, [240, 320], 'top right'], [0x02, 180, -180, [320, 240], 'bottom right'], [0x03, 270, 90, [240, 320], 'bottom left']]) {
    const { files } = await recordedPictures(`turned${rotation}`, 'VP8', { orientation: [[0, byte]] })
    const file = files.find(({ kind }) => kind === 'video')
    assert.equal(file.rotation, rotation)
    const { streams: [stream] } = await decoded(file.at)
    assert.equal(stream.side_data_list?.find(({ rotation }) => rotation !== undefined)?.rotation, matrix)
    assert.deepEqual(await shown(file.at), { width: size[0], height: size[1], white: [white] })
    const manifest = JSON.parse(files.find(({ kind }) => kind === 'manifest').content)
    assert.equal(manifest.files[0].rotation, rotation)
    if (rotation !== 90) continue
    const browser = await launch()
    try {
      const made = await page(browser, server.url)
      const seen = await made.evaluate(async (bytes) => {
        const player = Object.assign(document.createElement('video'), { muted: true })
        player.src = URL.createObjectURL(new Blob([Uint8Array.from(atob(bytes), (byte) => byte.charCodeAt(0))], { type: 'video/webm' }))
        await new Promise((resolve, reject) => Object.assign(player, { onloadeddata: resolve, onerror: () => reject(player.error) }))
        return [player.videoWidth, player.videoHeight]
      }, file.content.toString('base64'))
      assert.deepEqual(seen, [240, 320], 'Chromium turns it')
    } finally {
      await browser.close()
    }
  }
  const { files } = await recordedPictures('turning', 'VP8', { orientation: [[0, 0x01], [5, 0x00]] }, { seconds: 7 })
  const parts = files.filter(({ kind }) => kind === 'video')
  assert.deepEqual(parts.map(({ rotation }) => rotation), [90, 0])
  assert.ok(Math.abs(parts[0].startOffsetMs + parts[0].durationMs - parts[1].startOffsetMs) < 100, JSON.stringify(parts))
  assert.deepEqual(await Promise.all(parts.map(async ({ at }) => (await shown(at)).white)), [['top right'], ['top left']])
  for (const { at } of parts) assert.ok((await decoded(at)).seconds > 1.5)
})

test('H.264 is recorded with parameter sets that came before the recording, and without any the reason is named', async (context) => {
  if (noAiortc(context, 'parameter sets in a recording')) return
  const { files } = await recordedPictures('early-sets', 'H264', { sets: 'early' }, { before: 3 })
  const file = files.find(({ kind }) => kind === 'video')
  assert.deepEqual([file.codec, file.container], ['h264', 'mkv'])
  const { streams: [stream], seconds } = await decoded(file.at)
  assert.ok(seconds > 2 && Number(stream.nb_read_frames) > 50, `${seconds} s`)
  assert.deepEqual((await shown(file.at)).white, ['top left'])
  const { recording } = await recordedPictures('no-sets', 'H264', { sets: 'none' })
  assert.deepEqual([recording.status, recording.stopReason, recording.files], ['failed', 'missing-parameter-sets', []])
})

test('who starts a recording of a room from outside reaches it, and silence is no error', async () => {
  const own = await server.connect(7)
  const made = await server.rest(7, 'POST', '/api/rooms', { roomId: 'from-outside' })
  assert.ok(made.status < 300, made.text)
  const errors = async () => Number((await (await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${token(1, { role: 'admin' })}` } })).text()).match(/^rtc_recording_errors_total(?:\{\})? (\d+)/m)?.[1] ?? 0)
  const before = await errors()
  const begun = await server.rest(7, 'POST', '/api/recordings', { roomId: 'from-outside' })
  assert.equal(begun.status, 201, begun.text)
  const at = `/api/recordings/${begun.json.data.recordingId}`
  assert.equal((await server.rest(7, 'GET', at)).status, 200)
  for (const [method, path] of [['GET', at], ['POST', `${at}/stop`], ['DELETE', at]]) {
    assert.equal((await server.rest(9, method, path, method === 'POST' ? {} : undefined)).status, 404, 'to others it does not exist')
  }
  assert.equal((await server.rest(7, 'POST', `${at}/stop`, {})).status, 200)
  await until(async () => (await server.rest(7, 'GET', at)).json.data.status === 'no_recording', 'the end of the recording', 20000)
  assert.equal(await errors(), before)
  assert.equal((await server.rest(7, 'DELETE', at)).status, 200)
  assert.equal((await server.rest(7, 'GET', at)).status, 404)
})

test('clients of the original stay with a call from one to the other, which cannot be recorded then', async () => {
  const own = await Server.start({ env: { SWITCHBOARD_ICE__STUN_SERVERS: '[]', SWITCHBOARD_RECORDINGS__MIN_FREE_BYTES: '0' } })
  await own.people(7, 8)
  try {
    const { ada, watch, callId, close } = await inCall(own)
    const refused = await ask(watch, 'recording:start', { callId })
    assert.equal(refused.reason, 'RECORDING_FORBIDDEN')
    assert.match(refused.error, /media "relay"/)
    ada.say({ listen: true })
    await next(ada, 'hears', () => true, 5000)
    close()
    const caller = await own.connect(7)
    const { call } = await ask(caller, 'call:initiate', { toUserId: 8, record: true })
    assert.equal(call.media, 'relay')
    caller.close()
  } finally {
    await own.stop()
  }
})

test('in the demo a call goes over to the server when Record is pressed, and plays side by side afterwards', async () => {
  const own = await Server.start({ args: ['--dev'], env: { SWITCHBOARD_RECORDINGS__MIN_FREE_BYTES: '0' } })
  const browser = await launch()
  const tab = (user, other) => page(browser, `${own.url}/demo?u=${user}&with=${other}&media=test`)
  try {
    const [ada, ben] = [await tab(101, 102), await tab(102, 101)]
    await videoCall(ada, ben)
    await seeing([ada, ben])
    await ada.click('#record')
    for (const made of [ada, ben]) await made.locator('#recorded:not([hidden])').waitFor()
    // The pictures go on through the server.
    for (const made of [ada, ben]) await grown(() => frames(made, '#remote'), 40, 'frames through the server', 30_000)
    // Four seconds of a clock that goes on in the page while its pictures do.
    const played = () => ada.$eval('#remote', (video) => video.currentTime)
    await grown(played, 4, 'seconds of the call', 30_000)
    await ben.screenshot({ path: `${shots}/call-recorded.png` })
    await ada.click('#record')
    await ben.locator('#recorded').waitFor({ state: 'hidden' })
    await ada.locator('#notices p', { hasText: 'recording is ready' }).waitFor({ timeout: 20000 })
    await ada.click('#hangup')

    const watch = await page(browser, `${own.url}/demo/recordings?u=102`)
    await watch.locator('#list .watch').first().waitFor()
    assert.equal(await watch.locator('#list .files li').count(), 3, 'two people and everybody')
    await watch.locator('#list .watch').first().click()
    await watch.click('#play')
    await until(async () => watch.$$eval('#screens video', (videos) => videos.length === 2 && videos.every((video) => video.currentTime > 2 && video.videoWidth > 0)), 'both play', 15000)
    const apart = await watch.$$eval('#screens video', (videos) => Math.abs(videos[0].currentTime - videos[1].currentTime))
    assert.ok(apart < 1, `${apart} s`)
    await watch.screenshot({ path: `${shots}/recordings-watch.png` })
    const [recording] = (await own.rest(undefined, 'GET', '/api/recordings', undefined, { authorization: `Bearer ${await devToken(own, 101)}` })).json.data
    const download = async (file) => {
      const path = `/api/recordings/${recording.recordingId}/files/${file.fileId}`
      const at = join(own.data, `${file.fileId}.${file.container}`)
      writeFileSync(at, Buffer.from(await (await fetch(own.url + path, { headers: { authorization: `Bearer ${await devToken(own, 101)}` } })).arrayBuffer()))
      return at
    }
    for (const file of recording.files.filter(({ kind }) => kind !== 'manifest')) {
      const { streams, seconds } = await decoded(await download(file))
      assert.equal(streams.length, file.kind === 'mix' ? 1 : 2)
      assert.ok(seconds > 3, `${seconds} s`)
    }
    for (const made of [ada, ben, watch]) assert.deepEqual(made.errors, [])
  } finally {
    await browser.close()
    await own.stop()
  }
})

test('a call of a tab and a client of the original is recorded', async () => {
  const own = await Server.start({ args: ['--dev'], env: { SWITCHBOARD_RECORDINGS__MIN_FREE_BYTES: '0', SWITCHBOARD_CALL__MEDIA: 'relay' } })
  const browser = await launch()
  try {
    const old = phone(own, 102, 'video')
    await next(old, 'connect')
    const ada = await page(browser, `${own.url}/demo?u=101&with=102&media=test`)
    await ada.click('#video')
    await next(old, 'sees', () => true, 20000)
    await until(async () => await frames(ada, '#remote') > 10, 'decoded frames', 20000)
    await ada.click('#record')
    await next(old, 'recording:started')
    await grown(() => old.received('audio'), 400, 'pieces of sound', 30_000)
    await ada.click('#record')
    const { recording } = await next(old, 'recording:ready', () => true, 20000)
    assert.equal(recording.files.length, 4, 'two people, everybody, the manifest')
    for (const file of await fetched(own, recording, 102)) {
      if (file.kind !== 'manifest') assert.ok((await decoded(file.at)).seconds > 3)
    }
    old.close()
    assert.deepEqual(ada.errors, [])
  } finally {
    await browser.close()
    await own.stop()
  }
})

test('a room is recorded, screens apart, in every codec; who comes late sees that it is', async () => {
  const own = await Server.start({ args: ['--dev'], env: { SWITCHBOARD_RECORDINGS__MIN_FREE_BYTES: '0', SWITCHBOARD_MEDIA__WORKERS: '2', SWITCHBOARD_TURN__MODE: 'off' } })
  const browser = await launch()
  const tab = (user) => page(browser, `${own.url}/demo/room?u=${user}&room=recorded&width=640`)
  try {
    const [ada, ben] = [await tab(101), await tab(102)]
    for (const made of [ada, ben]) await made.locator('.tile:not([data-mine]) video:not([hidden])').waitFor({ timeout: 20000 })
    assert.ok(await ben.locator('#record').isHidden(), 'who does not moderate has no button')
    for (const [codec, scalability] of [['h264'], ['vp9', 'L3T3'], ['vp9', 'L3T3_KEY'], ['av1', 'L1T2']]) {
      const trackId = await ada.evaluate(async ([codec, scalability]) => {
        // Three layers need as many lines.
        const [width, height] = codec === 'vp9' ? [960, 540] : [640, 360]
        const canvas = Object.assign(document.createElement('canvas'), { width, height })
        const pen = canvas.getContext('2d')
        let turn = 0
        setInterval(() => {
          pen.fillStyle = `hsl(${turn += 7} 60% 50%)`
          pen.fillRect(turn % width, turn % height, 60, 60)
        }, 50)
        const media = canvas.captureStream(20)
        const tracks = await window.switchboardRoom().publish(media, 'screen', { codec, ...(scalability && { scalability }) })
        window.shared = media
        return tracks.at(-1).trackId
      }, [codec, scalability])
      await ada.click('#record')
      await ben.locator('#recorded:not([hidden])').waitFor()
      if (codec === 'h264') {
        const late = await own.connect(0, { auth: { token: await devToken(own, 103), cursor: '0' } })
        const joined = await ask(late, 'room:join', { roomId: 'recorded' })
        assert.deepEqual([joined.recording?.mode, joined.recording?.by], ['both', 101])
        assert.ok(await next(late, 'recording:started'))
        await ask(late, 'room:leave', { sessionId: joined.sessionId })
        late.close()
      }
      await advancing(() => ben.$$eval('.tile:not([data-mine]) video:not([hidden])', (videos) => videos.map((video, n) => [n, video.currentTime])), 2, 4, 'four seconds of the camera and the screen', 30_000)
      await ada.click('#record')
      await ben.locator('#recorded').waitFor({ state: 'hidden' })
      await ada.evaluate(async (trackId) => {
        const [track] = window.shared.getTracks()
        track.stop()
        await window.switchboardRoom().unpublish(track.id ?? trackId)
      }, trackId)
      const bearer = { authorization: `Bearer ${await devToken(own, 101)}` }
      const recording = await until(async () => {
        const [newest] = (await own.rest(undefined, 'GET', '/api/recordings', undefined, bearer)).json.data
        return newest.status === 'completed' && newest
      }, 'a completed recording', 20000)
      assert.deepEqual([recording.roomId, recording.userIds.includes(103)], ['recorded', codec === 'h264'])
      const screen = recording.files.find(({ source }) => source === 'screen')
      assert.deepEqual([screen.codecs, screen.container], [[codec], codec === 'h264' ? 'mkv' : 'webm'])
      assert.equal(recording.files.filter(({ source }) => source === 'camera').length, 2)
      for (const file of recording.files.filter(({ kind }) => kind !== 'manifest')) {
        const at = join(own.data, `${file.fileId}.${file.container}`)
        writeFileSync(at, Buffer.from(await (await fetch(`${own.url}/api/recordings/${recording.recordingId}/files/${file.fileId}`, { headers: bearer })).arrayBuffer()))
        const { streams, seconds } = await decoded(at)
        assert.ok(seconds > 2.5, `${file.codec}: ${seconds} s`)
        if (file === screen) {
          const [pictures] = streams
          assert.ok(Number(pictures.nb_read_frames) > 30, `${codec}: ${pictures.nb_read_frames} frames`)
          // A browser may begin with a smaller picture than it goes on with.
          assert.ok(pictures.width >= 160 && Math.abs(pictures.width / pictures.height - 16 / 9) < 0.02, `${codec}: ${pictures.width} × ${pictures.height}`)
          // Of a picture with several layers one is shown.
          assert.equal(pictures.nb_read_frames, pictures.nb_read_packets, `${codec} ${scalability}`)
        }
      }
    }
    await ada.screenshot({ path: `${shots}/room-recorded.png` })
    for (const made of [ada, ben]) assert.deepEqual(made.errors, [])
  } finally {
    await browser.close()
    await own.stop()
  }
})

const devToken = async (own, user) => (await (await fetch(`${own.url}/api/admin/dev-token?userId=${user}`)).json()).data.token
