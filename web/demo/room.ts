import { createClient, type Participant, Room, type RoomTrack } from '../client/src/index.js'
import { media } from './media.js'
import { Recorded } from './recorded.js'

const $ = <T extends HTMLElement = HTMLElement>(id: string): T => document.getElementById(id) as T
const query = new URLSearchParams(location.search)

let room: Room
let own: MediaStream
let shared: MediaStream | undefined
let dominant: string | null = null
/** Who a moderator has put in the middle. */
let spotlight: string | null = null
/** One tile for each participant, and one more for each screen. */
const tiles = new Map<string, HTMLElement>()
const sound = new Map<string, HTMLAudioElement>()

$<HTMLInputElement>('name').value = query.get('room') ?? 'demo'

/** The room token of a guest: it stands behind the #, which the browser sends to nobody. */
const guest = new URLSearchParams(location.hash.slice(1)).get('token')
let bearer = ''

async function token(): Promise<string> {
  if (guest) return guest
  const typed = $<HTMLTextAreaElement>('token').value.trim()
  if (typed) return typed
  const answer = await fetch(`/api/admin/dev-token?userId=${encodeURIComponent(query.get('u') ?? '101')}`)
  if (answer.ok) return (await answer.json()).data.token
  $('token-field').hidden = false
  throw new Error('This server does not run with --dev: paste a token of your application')
}

async function enter(): Promise<void> {
  bearer = await token()
  // Several guests may have the same link.
  const me = guest ? (sessionStorage.getItem('guest') ?? crypto.randomUUID()) : (query.get('u') ?? 'me')
  if (guest) sessionStorage.setItem('guest', me)
  const board = createClient({ token: bearer, deviceId: `room-${me}`, deviceName: 'Room page' })
  await board.connect()
  const name = $<HTMLInputElement>('name').value
  room = await Room.join(board, name, { storage: sessionStorage, onLobby: () => ($('problem').textContent = 'Waiting for a moderator to let you in …') })
  $('problem').textContent = ''
  $('enter').hidden = true
  $('room').hidden = false
  $('title').textContent = name
  document.title = `${name} · Switchboard`
  $('invite').hidden = Boolean(guest) || !room.own.moderator
  $('record').hidden = !room.own.moderator
  const recorded = new Recorded(board, () => ({ roomId: room.info.roomId }), notice)
  if (room.recording) recorded.show(room.recording.recordingId)
  if (room.recording?.consent) recorded.ask(room.recording.recordingId)
  room.on('closed', () => recorded.hide())
  listen()
  show([...room.participants.values()])
  const width = Number(query.get('width') ?? 1280)
  own = await media({ width: { ideal: width }, height: { ideal: (width * 9) / 16 } })
  tile(room.own.participantId, `${room.own.name} (you)`, own, true)
  await room.publish(own)
}

$<HTMLFormElement>('enter').addEventListener('submit', (event) => {
  event.preventDefault()
  enter().catch((error: Error) => ($('problem').textContent = error.message))
})
if (query.has('room')) enter().catch((error: Error) => ($('problem').textContent = error.message))

function listen(): void {
  room.on('participants', show)
  room.on('track', ({ track, participant, media: stream }) => {
    if (track.kind === 'audio') return listenTo(track, stream)
    if (participant) picture(track, participant, stream)
  })
  room.on('untrack', ({ trackId }) => {
    sound.get(trackId)?.remove()
    sound.delete(trackId)
    for (const [key, element] of tiles) {
      if (element.dataset['track'] !== trackId) continue
      if (key === trackId) element.remove(), tiles.delete(key)
      else empty(element)
    }
  })
  room.on('flow', ({ trackId, paused, muted }) => {
    for (const element of tiles.values()) {
      if (element.dataset['track'] === trackId) part(element, 'note').textContent = paused ? 'paused: slow network' : muted ? 'camera off' : ''
    }
    for (const participant of room.participants.values()) state(participant)
  })
  room.on('layer', ({ trackId, rid }) => {
    for (const element of tiles.values()) if (element.dataset['track'] === trackId) element.dataset['layer'] = rid
  })
  room.on('speakers', ({ speakers, dominant: loudest }) => {
    for (const [id, element] of tiles) element.classList.toggle('speaks', speakers.some(({ participantId }) => participantId === id))
    dominant = loudest ?? null
    arrange()
  })
  room.on('spotlight', ({ participantId }) => {
    spotlight = participantId ?? null
    arrange()
  })
  room.on('hand', ({ participantId, raised }) => raised && notice(`${nameOf(participantId)} raises a hand`))
  room.on('reaction', ({ participantId, emoji }) => notice(`${nameOf(participantId)} ${emoji}`))
  room.on('lobby', ({ waiting }) => {
    $('lobby').replaceChildren(...waiting.map(({ participantId, name }) => {
      const entry = document.createElement('li')
      entry.append(`${name} waits`)
      for (const admit of [true, false]) {
        const button = document.createElement('button')
        button.textContent = admit ? 'Let in' : 'Refuse'
        button.addEventListener('click', () => void room.moderate('admit', participantId, { admit }).catch((error: Error) => notice(error.message)))
        entry.append(button)
      }
      return entry
    }))
  })
  room.on('moderated', ({ action, reason }) => notice(`A moderator: ${action}${reason ? ` (${reason})` : ''}`))
  room.on('closed', ({ reason }) => {
    for (const track of [...own.getTracks(), ...(shared?.getTracks() ?? [])]) track.stop()
    $('room').hidden = true
    $('enter').hidden = false
    $('problem').textContent = reason === 'left' ? '' : `You are no longer in the room: ${reason}`
    for (const element of tiles.values()) element.remove()
    tiles.clear()
  })
}

const nameOf = (id: string): string => room.participants.get(id)?.name ?? 'Somebody'

function show(participants: Participant[]): void {
  $('count').textContent = participants.length === 1 ? 'only you' : `${participants.length} people`
  for (const participant of participants) {
    if (participant.participantId !== room.own.participantId) tile(participant.participantId, participant.name)
    state(participant)
  }
  for (const [id, element] of tiles) {
    const stays = participants.some(({ participantId, tracks }) => participantId === id || tracks.some(({ trackId }) => trackId === id))
    if (!stays && id !== room.own.participantId) element.remove(), tiles.delete(id)
  }
}

function state({ participantId, tracks, handRaised, connection }: Participant): void {
  const element = tiles.get(participantId)
  if (!element) return
  const quiet = tracks.some(({ kind, muted }) => kind === 'audio' && muted)
  part(element, 'marks').textContent = `${handRaised ? '✋' : ''}${quiet ? '🔇' : ''}${connection === 'reconnecting' ? '…' : ''}`
}

const part = (element: HTMLElement, name: string): HTMLElement => element.querySelector(`.${name}`) as HTMLElement

function tile(id: string, name: string, stream?: MediaStream, mine = false): HTMLElement {
  let element = tiles.get(id)
  if (!element) {
    element = document.createElement('article')
    element.className = 'tile'
    element.dataset['participant'] = id
    element.innerHTML = '<span class="initial"></span><video autoplay playsinline muted hidden></video><span class="state"><span class="note"></span><span class="marks"></span><span class="bars"><i></i><i></i><i></i></span></span><span class="who"></span>'
    part(element, 'who').textContent = name
    part(element, 'initial').textContent = name.slice(0, 1)
    if (mine) element.dataset['mine'] = 'true'
    else if (room.own.moderator && room.participants.has(id)) element.append(moderation(id, name))
    tiles.set(id, element)
    $('tiles').append(element)
  }
  if (stream) fill(element, stream)
  return element
}

/** What a moderator can do with somebody. */
function moderation(participantId: string, name: string): HTMLSelectElement {
  const menu = document.createElement('select')
  menu.className = 'moderation'
  menu.ariaLabel = `Moderate ${name}`
  const actions: Record<string, () => Promise<void>> = {
    'Mute': () => room.moderate('mute-remote', participantId, { kind: 'audio' }),
    'Camera off': () => room.moderate('mute-remote', participantId, { kind: 'video' }),
    'To the middle': () => room.spotlight(participantId),
    'Not in the middle': () => room.spotlight(),
    'Remove': () => room.moderate('kick', participantId),
  }
  menu.append(new Option('⋯', ''), ...Object.keys(actions).map((text) => new Option(text, text)))
  menu.onchange = () => {
    void actions[menu.value]?.().catch((error: Error) => notice(error.message))
    menu.value = ''
  }
  return menu
}

function fill(element: HTMLElement, stream: MediaStream): void {
  const video = element.querySelector('video') as HTMLVideoElement
  video.srcObject = stream
  video.hidden = false
}

function empty(element: HTMLElement): void {
  const video = element.querySelector('video') as HTMLVideoElement
  video.srcObject = null
  video.hidden = true
  element.querySelector('.size')?.remove()
  delete element.dataset['track']
}

function picture(track: RoomTrack, { participantId, name }: Participant, stream: MediaStream): void {
  const isScreen = track.source === 'screen'
  const element = tile(isScreen ? track.trackId : participantId, isScreen ? `${name}'s screen` : name, stream)
  element.classList.toggle('screen', isScreen)
  element.dataset['track'] = track.trackId
  element.querySelector('.size')?.remove()
  if (track.layers.length < 2) return
  const menu = document.createElement('select')
  menu.className = 'size'
  menu.ariaLabel = `Picture size of ${name}`
  const sizes = track.layers.map(({ rid, height }) => [rid, height ? `${height}p` : rid])
  menu.append(...[['auto', 'auto'], ...sizes, ['off', 'off']].map(([value, text]) => new Option(text, value)))
  menu.onchange = () => void room.layer(track.trackId, menu.value).catch((error: Error) => notice(error.message))
  element.append(menu)
}

function listenTo(track: RoomTrack, stream: MediaStream): void {
  const element = Object.assign(new Audio(), { srcObject: stream, autoplay: true })
  sound.set(track.trackId, element)
  void element.play().catch(() => notice('Click anywhere to hear the others'))
}
document.addEventListener('click', () => sound.forEach((element) => void element.play().catch(() => undefined)))

function arrange(): void {
  const chosen = spotlight ?? dominant
  const large = chosen && chosen !== room.own.participantId ? chosen : [...tiles.keys()].find((id) => id !== room.own.participantId)
  for (const [id, element] of tiles) {
    const isLarge = id === large && $('room').classList.contains('speaker')
    element.classList.toggle('large', isLarge)
    element.style.order = isLarge ? '-1' : '0'
  }
}

let noticeTimer: number | undefined
function notice(text: string): void {
  $('notice').textContent = text
  clearTimeout(noticeTimer)
  noticeTimer = setTimeout(() => ($('notice').textContent = ''), 4000)
}

function toggle(id: string, change: (on: boolean) => unknown): void {
  $(id).addEventListener('click', async () => {
    const on = $(id).ariaPressed !== 'true'
    $(id).ariaPressed = String(on)
    try {
      await change(on)
    } catch (error) {
      $(id).ariaPressed = String(!on)
      notice((error as Error).message)
    }
  })
}
toggle('mic', (on) => room.mute('audio', on))
toggle('camera', (on) => room.mute('video', on))
toggle('hand', (on) => room.raise(on))
toggle('view', (on) => {
  $('room').classList.toggle('speaker', on)
  arrange()
})
toggle('screen', async (on) => {
  if (!on) {
    for (const track of shared?.getTracks() ?? []) {
      track.stop()
      await room.unpublish(track.id)
    }
    shared = undefined
    return
  }
  shared = await navigator.mediaDevices.getDisplayMedia({ video: true, audio: true })
  shared.getVideoTracks()[0]?.addEventListener('ended', () => ($('screen').ariaPressed = 'false'))
  await room.publish(shared, 'screen')
})
$('react').addEventListener('click', () => void room.react('👍').catch((error: Error) => notice(error.message)))
$('invite').addEventListener('click', async () => {
  const answer = await fetch(`/api/rooms/${room.info.roomId}/tokens`, {
    method: 'POST', headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' }, body: JSON.stringify({ name: 'Guest' }),
  })
  const { data, message } = await answer.json()
  if (!answer.ok) return notice(message)
  const link = new URL(data.joinUrl ?? location.href, location.href).href
  await navigator.clipboard?.writeText(link).catch(() => undefined)
  notice(`A link for one hour, copied: ${link}`)
})
$('leave').addEventListener('click', () => void room.leave())

/** Three bars: how much of what was sent to this page arrives. */
setInterval(async () => {
  const report = (await room?.stats().catch(() => undefined))?.receiving
  if (!report) return
  let [received, lost] = [0, 0]
  report.forEach((one) => {
    if (one.type !== 'inbound-rtp') return
    received += one.packetsReceived
    lost += Math.max(0, one.packetsLost)
  })
  const share = received > 0 ? lost / (received + lost) : 0
  const level = share < 0.02 ? 3 : share < 0.08 ? 2 : 1
  for (const element of document.querySelectorAll<HTMLElement>('.tile:not([data-mine]) .bars')) element.dataset['level'] = String(level)
}, 2000)

// For tests and the curious.
Object.assign(window, { switchboardRoom: () => room })
