import { type Client, createClient, type Recording, type RecordingFile, type User } from '../client/src/index.js'
import { upright } from './turned.js'

const $ = <T extends HTMLElement = HTMLElement>(id: string): T => document.getElementById(id) as T
const query = new URLSearchParams(location.search)

let board: Client
let people: User[] = []
let cursor: string | null = null

$<HTMLAnchorElement>('back').href += location.search

async function token(): Promise<string> {
  const answer = await fetch(`/api/admin/dev-token?userId=${encodeURIComponent(query.get('u') ?? '101')}`)
  if (!answer.ok) throw new Error('This page makes its own token, which needs a server with --dev')
  return (await answer.json()).data.token
}

function made<K extends keyof HTMLElementTagNameMap>(tag: K, text = '', className = ''): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  element.textContent = text
  element.className = className
  return element
}

const clock = (ms: number): string => `${Math.floor(ms / 60_000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, '0')}`
const size = (bytes: number): string => (bytes < 1e6 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`)
const nameOf = ({ name, userId }: RecordingFile): string => name ?? people.find((user) => user.userId === userId)?.name ?? (userId ? `User ${userId}` : 'Guest')
const complain = (error: Error): void => void ($('problem').textContent = error.message)

async function load(from?: string): Promise<void> {
  const { recordings, nextCursor } = await board.recordings(from ? { cursor: from } : {})
  if (!from) $('list').replaceChildren()
  $('list').append(...recordings.map(entry))
  if (!from && recordings.length === 0) $('list').append(made('li', 'Nothing is recorded yet. Start a call, then press Record.'))
  cursor = nextCursor ?? null
  $('more').hidden = cursor === null
}

function entry(recording: Recording): HTMLLIElement {
  const item = made('li')
  item.dataset['recording'] = recording.recordingId
  const head = made('div', '', 'head')
  const length = Math.max(0, ...recording.files.map((file) => file.startOffsetMs + file.durationMs))
  const where = recording.callId ? 'Call' : `Room ${recording.roomId}`
  head.append(made('strong', `${where}, ${new Date(recording.startedAt).toLocaleString()}`), made('small', `${recording.status.replace('_', ' ')}${length ? ` · ${clock(length)}` : ''}`))
  const pictures = recording.files.filter(({ kind }) => kind === 'video' || kind === 'audio')
  if (pictures.length > 0) {
    const watch = made('button', 'Watch the call', 'main watch')
    watch.onclick = () => void show(recording, pictures).catch(complain)
    head.append(watch)
  }
  if (recording.startedBy === board.userId && !['recording', 'processing'].includes(recording.status)) {
    const remove = made('button', 'Delete')
    remove.onclick = () => confirm('Delete this recording with its files?') && void board.deleteRecording(recording.recordingId).then(() => item.remove(), complain)
    head.append(remove)
  }
  const files = made('ul', '', 'files')
  files.append(...recording.files.filter(({ kind }) => kind !== 'manifest').map((file) => line(recording, file)))
  item.append(head, files)
  return item
}

function line(recording: Recording, file: RecordingFile): HTMLLIElement {
  const item = made('li')
  const what = file.kind === 'mix' ? 'Everybody, sound only' : `${nameOf(file)}${file.source === 'screen' ? ', screen' : ''}`
  const play = made('button', 'Play')
  play.onclick = async () => {
    const player = document.createElement(file.kind === 'video' ? 'video' : 'audio')
    player.controls = player.autoplay = true
    player.src = await board.fileAddress(recording.recordingId, file.fileId)
    play.replaceWith(player)
    if (player instanceof HTMLVideoElement) await upright(player, file.rotation ?? 0)
  }
  const fetched = made('button', 'Download')
  fetched.onclick = async () => {
    const link = made('a')
    link.href = await board.fileAddress(recording.recordingId, file.fileId)
    link.download = `${what}.${file.container}`
    link.click()
  }
  item.append(made('span', what), made('small', `${file.codecs.join(' + ')} · ${clock(file.durationMs)} · ${size(file.bytes)}`), play, fetched)
  return item
}

// The participants' files side by side: one clock, from which each is a known distance away.

/** `whose` is the same for files that follow one another: a phone that is turned begins another. */
let players: { player: HTMLVideoElement; offset: number; length: number; whose: string }[] = []
let running = false
/** Where the recording is, and since when it runs from there. */
let [position, since] = [0, 0]
let end = 0

const now = (): number => Math.min(end, running ? position + performance.now() - since : position)

async function show(recording: Recording, files: RecordingFile[]): Promise<void> {
  pause()
  files = [...files].sort((a, b) => a.startOffsetMs - b.startOffsetMs)
  const addresses = await Promise.all(files.map((file) => board.fileAddress(recording.recordingId, file.fileId)))
  players = files.map((file, n) => {
    const player = document.createElement('video')
    player.playsInline = true
    player.preload = 'auto'
    player.src = addresses[n] as string
    void upright(player, file.rotation ?? 0)
    const whose = `${file.participantId ?? file.userId} ${file.source}`
    return { player, offset: file.startOffsetMs, length: file.durationMs, whose }
  })
  $('screens').replaceChildren(...players.map(({ player }, n) => {
    const figure = made('figure')
    const file = files[n] as RecordingFile
    figure.append(player, made('figcaption', `${nameOf(file)}${file.source === 'screen' ? ', screen' : ''}`))
    return figure
  }))
  end = Math.max(...files.map((file) => file.startOffsetMs + file.durationMs))
  $<HTMLInputElement>('seek').max = String(end)
  $('watch').hidden = false
  position = 0
  follow(true)
  $('watch').scrollIntoView({ behavior: 'smooth' })
}

/** Has every player be where the clock is. */
function follow(jump: boolean): void {
  const at = now()
  for (const { player, offset, length, whose } of players) {
    const own = at - offset
    // Of one person's files that one is seen which has begun last, or which begins first.
    const others = players.filter((other) => other.whose === whose)
    const seen = others.findLast((other) => other.offset <= at) ?? others[0]
    if (player.parentElement) player.parentElement.hidden = seen?.player !== player
    const inside = own >= 0 && own < length
    const wrong = Math.abs(player.currentTime * 1000 - own)
    if (inside && (jump || wrong > 80)) player.currentTime = own / 1000
    if (inside && running && player.paused) void player.play().catch(complain)
    if ((!inside || !running) && !player.paused) player.pause()
  }
  $<HTMLInputElement>('seek').value = String(at)
  $('clock').textContent = `${clock(at)} / ${clock(end)}`
  if (running && at >= end) pause()
}

function pause(): void {
  position = now()
  running = false
  $('play').textContent = 'Play'
  follow(false)
}

$('play').onclick = () => {
  if (running) return pause()
  if (position >= end) position = 0
  running = true
  since = performance.now()
  $('play').textContent = 'Pause'
  follow(true)
}
$('seek').oninput = () => {
  position = Number($<HTMLInputElement>('seek').value)
  since = performance.now()
  follow(true)
}
$('close').onclick = () => {
  pause()
  players = []
  $('screens').replaceChildren()
  $('watch').hidden = true
}
setInterval(() => running && follow(false), 250)

$('more').onclick = () => void load(cursor ?? undefined).catch(complain)

try {
  board = createClient({ token, deviceId: `recordings-${query.get('u') ?? 'me'}`, deviceName: 'Recordings page' })
  board.on('recording:ready', () => void load().catch(complain))
  await board.connect()
  people = [...await board.users(), await board.rest<User>('GET', '/api/me')]
  await load()
} catch (error) {
  complain(error as Error)
}
