import { type ActiveCall, type Client, createClient, type Message, type User, type UserStatus } from '../client/src/index.js'
import { media } from './media.js'
import { Recorded } from './recorded.js'

const $ = <T extends HTMLElement = HTMLElement>(id: string): T => document.getElementById(id) as T
const query = new URLSearchParams(location.search)

let board: Client
let people: User[] = []
let peer: User | undefined
let call: ActiveCall | undefined
let recorded: Recorded
let stopSharing: (() => Promise<void>) | undefined
const unread = new Map<number, number>()
const last = new Map<number, string>()
const typing = new Set<number>()
/** Messages of the open conversation by id; those on their way by client id. */
let shown = new Map<string, Message & { state?: 'sending' | 'failed' }>()
let older: string | null = null

for (const id of ['room', 'recordings']) $<HTMLAnchorElement>(id).href += location.search

// Logging in

async function devToken(): Promise<string> {
  const answer = await fetch(`/api/admin/dev-token?userId=${encodeURIComponent(query.get('u') ?? '101')}`)
  if (!answer.ok) throw new Error('no --dev')
  return (await answer.json()).data.token
}

async function start(token: string | (() => Promise<string>)): Promise<void> {
  const device = `demo-${query.get('u') ?? 'me'}`
  board = createClient({ token, deviceId: device, deviceName: 'Demo page' })
  listen()
  await board.connect()
  $('login').hidden = true
  $('app').hidden = false
  recorded = new Recorded(board, () => call && { callId: call.callId }, notice)
  await reload()
  const wanted = people.find((user) => user.userId === Number(query.get('with')))
  if (wanted) await open(wanted)
}

$<HTMLFormElement>('login').addEventListener('submit', (event) => {
  event.preventDefault()
  start($<HTMLTextAreaElement>('token').value.trim()).catch((error: Error) => ($('login-error').textContent = error.message))
})

// People

async function reload(): Promise<void> {
  const [users, conversations, me] = await Promise.all([
    board.users(), board.conversations(), board.rest<User>('GET', '/api/me'),
  ])
  people = users
  // Strangers are not told of each other by themselves; whoever shows them asks.
  const { states } = await board.ask('presence:subscribe', { userIds: users.map((user) => user.userId) })
  for (const state of states) Object.assign(people.find((user) => user.userId === state.userId) ?? {}, state)
  for (const { otherUser, unreadCount, lastMessage } of conversations) {
    if (!otherUser) continue
    unread.set(otherUser.userId, unreadCount)
    last.set(otherUser.userId, lastMessage)
  }
  $('me').textContent = me.name ?? `User ${me.userId}`
  document.title = `${me.name ?? me.userId} · Switchboard demo`
  showPeople()
  if (peer) await load()
}

function showPeople(): void {
  $('contacts').replaceChildren(...people.map((user) => {
    const button = document.createElement('button')
    button.className = 'contact'
    button.ariaCurrent = String(user.userId === peer?.userId)
    button.dataset['user'] = String(user.userId)
    const count = unread.get(user.userId) ?? 0
    button.append(
      made('span', '', `dot ${user.isOnline ? 'online' : ''}`), made('strong', nameOf(user)),
      made('small', typing.has(user.userId) ? 'typing…' : last.get(user.userId) ?? describe(user)),
      ...(count > 0 ? [made('span', String(count), 'badge')] : []),
    )
    button.onclick = () => void open(user)
    return button
  }))
  if (peer) $('peer-state').textContent = describe(people.find((user) => user.userId === peer?.userId) ?? peer)
}

const nameOf = (user: User): string => user.name ?? `User ${user.userId}`

function describe(user: UserStatus): string {
  if (user.inCall) return 'in a call'
  return user.isOnline ? 'online' : `last seen ${new Date(user.lastSeen).toLocaleTimeString()}`
}

function made(tag: string, text: string, className = ''): HTMLElement {
  const element = document.createElement(tag)
  element.textContent = text
  element.className = className
  return element
}

// Messages

async function open(user: User): Promise<void> {
  peer = user
  $('app').classList.add('talking')
  $('peer').textContent = nameOf(user)
  for (const id of ['voice', 'video', 'text']) $<HTMLButtonElement>(id).disabled = false
  $<HTMLButtonElement>('compose').querySelector('button')?.removeAttribute('disabled')
  shown = new Map()
  showTypist()
  showPeople()
  await load()
  $('text').focus()
}

async function load(): Promise<void> {
  if (!peer) return
  const page = await board.history(peer.userId, { limit: 50 })
  older = page.prevCursor ?? null
  for (const message of page.messages) shown.set(message.messageId, message)
  showMessages(true)
  await read()
}

async function loadOlder(): Promise<void> {
  if (!peer || !older) return
  const page = await board.history(peer.userId, { before: older, limit: 50 })
  older = page.prevCursor ?? null
  shown = new Map([...page.messages.map((message) => [message.messageId, message] as const), ...shown])
  const list = $('messages')
  const height = list.scrollHeight
  showMessages(false)
  list.scrollTop += list.scrollHeight - height
}

async function read(): Promise<void> {
  if (!peer || document.hidden || (unread.get(peer.userId) ?? 0) === 0) return
  unread.set(peer.userId, 0)
  await board.markRead(peer.userId)
  showPeople()
}

function showMessages(toEnd: boolean): void {
  const list = $('messages')
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60
  list.replaceChildren(...[...shown.values()].map((message) => {
    const mine = message.fromUserId === board.userId
    const note = message.messageType === 'call'
    const item = made('li', message.content, note ? 'note' : `${mine ? 'mine' : ''} ${message.state ?? ''}`)
    item.dataset['id'] = message.messageId
    const time = new Date(message.createdAt).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
    if (!note) item.append(made('small', mine ? `${time} ${mark(message)}` : time))
    return item
  }))
  if (toEnd || atEnd) list.scrollTop = list.scrollHeight
}

function mark(message: Message & { state?: string }): string {
  if (message.state === 'sending') return '· sending'
  if (message.state === 'failed') return '· not sent'
  return message.isRead ? '✓✓ read' : message.deliveredAt ? '✓✓ delivered' : '✓ sent'
}

function take(message: Message): void {
  const other = message.fromUserId === board.userId ? message.toUserId : message.fromUserId
  if (!other) return
  last.set(other, message.content)
  if (message.clientId) shown.delete(message.clientId)
  if (other === peer?.userId) {
    shown.set(message.messageId, message)
    showMessages(false)
  }
  if (message.fromUserId !== board.userId && (message.messageType !== 'call' || message.call?.status !== 'ended')) {
    unread.set(other, (unread.get(other) ?? 0) + 1)
    void read()
  }
  showPeople()
}

function marked(conversationId: string, upToSeq: number, change: Partial<Message>): void {
  for (const message of shown.values()) {
    const reached = message.conversationId === conversationId && message.seq <= upToSeq
    if (reached && message.fromUserId === board.userId) Object.assign(message, { ...change, ...message, ...(change.isRead ? change : {}) })
  }
  showMessages(false)
}

$('compose').addEventListener('submit', (event) => {
  event.preventDefault()
  const input = $<HTMLInputElement>('text')
  const content = input.value.trim()
  if (content && peer) void send(peer.userId, content)
  input.value = ''
  if (peer) stopTyping()
})

async function send(to: number, content: string): Promise<void> {
  const clientId = crypto.randomUUID()
  const draft = { messageId: clientId, clientId, fromUserId: board.userId, toUserId: to, content, messageType: 'text', createdAt: new Date().toISOString(), state: 'sending' }
  const message = draft as unknown as Message & { state: 'sending' | 'failed' }
  shown.set(clientId, message)
  showMessages(true)
  try {
    await board.send(to, content, { clientId })
  } catch (error) {
    message.state = 'failed'
    showMessages(false)
    notice((error as Error).message)
  }
}

let typingSince = 0
$('text').addEventListener('input', () => {
  if (peer && Date.now() - typingSince > 3000) {
    typingSince = Date.now()
    board.typing(peer.userId, true)
  }
})
$('text').addEventListener('blur', stopTyping)
function stopTyping(): void {
  if (peer && typingSince) board.typing(peer.userId, false)
  typingSince = 0
}
$('messages').addEventListener('scroll', () => {
  if ($('messages').scrollTop === 0) void loadOlder()
})
document.addEventListener('visibilitychange', () => void read())
$('back').onclick = () => $('app').classList.remove('talking')

// Events

function listen(): void {
  board.on('connection', ({ connected, reason }) => ($('link').textContent = connected ? 'connected' : `not connected (${reason})`))
  board.on('message:received', take)
  board.on('message:sent', take)
  board.on('message:delivered', (d) => marked(d.conversationId, d.upToSeq, { deliveredAt: d.deliveredAt }))
  board.on('message:read', (d) => marked(d.conversationId, d.upToSeq, { isRead: true, readAt: d.readAt }))
  board.on('message:markedRead', (d) => {
    if (d.withUserId) unread.set(d.withUserId, d.unreadCount)
    showPeople()
  })
  board.on('typing:start', ({ fromUserId }) => showTyping(fromUserId, true))
  board.on('typing:stop', ({ fromUserId }) => showTyping(fromUserId, false))
  board.on('user:status', status)
  board.on('presence:snapshot', ({ states }) => states.forEach(status))
  board.on('reset', () => void reload())
  board.on('incoming', ring)
  board.on('error', (error) => notice(error.message))
  board.on('traffic', log)
  board.socket.io.on('reconnect', () => void reload())
}

function status(state: UserStatus): void {
  const user = people.find((user) => user.userId === state.userId)
  if (user) Object.assign(user, state)
  showPeople()
}

function showTyping(user: number, on: boolean): void {
  if (on) typing.add(user)
  else typing.delete(user)
  showTypist()
  showPeople()
}

function showTypist(): void {
  $('typing').textContent = peer && typing.has(peer.userId) ? `${nameOf(peer)} is typing…` : ''
}

function notice(text: string): void {
  const line = made('p', text)
  $('notices').append(line)
  setTimeout(() => line.remove(), 6000)
}

function log({ direction, event, payload, ack }: { direction: string; event: string; payload: unknown; ack?: unknown }): void {
  const item = made('li', '', direction)
  item.append(made('b', `${direction === 'in' ? '←' : '→'} ${event}`), ` ${new Date().toISOString().slice(11, 23)}`)
  item.append(made('pre', JSON.stringify(payload, shorten, 1) + (ack ? `\nack ${JSON.stringify(ack, shorten, 1)}` : '')))
  const list = $('traffic')
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60
  list.append(item)
  while (list.childElementCount > 300) list.firstElementChild?.remove()
  if (atEnd) list.scrollTop = list.scrollHeight
}

const shorten = (_: string, value: unknown): unknown =>
  typeof value === 'string' && value.length > 160 ? `${value.slice(0, 160)}… (${value.length} characters)` : value

$('drawer-toggle').onclick = () => {
  $('drawer').hidden = !$('drawer').hidden
  $('drawer-toggle').ariaPressed = String(!$('drawer').hidden)
}
$('clear').onclick = () => $('traffic').replaceChildren()
$('cut').onclick = () => {
  const cut = $('cut').ariaPressed !== 'true'
  $('cut').ariaPressed = String(cut)
  $('cut').textContent = cut ? 'Restore line' : 'Cut line'
  if (cut) board.socket.disconnect()
  else board.socket.connect()
}

// Calls

for (const [id, video] of [['voice', false], ['video', true]] as const) {
  $(id).onclick = async () => {
    if (!peer || call) return
    try {
      attend(await board.call(peer.userId, { video, stream: await media(video) }))
    } catch (error) {
      notice((error as Error).message)
    }
  }
}

function ring(incoming: ActiveCall): void {
  const sheet = $<HTMLDialogElement>('sheet')
  const from = incoming.info.fromUser?.name ?? `User ${incoming.with}`
  $('sheet-title').textContent = from
  $('sheet-text').textContent = incoming.isVideo ? 'Video call' : 'Voice call'
  if (!sheet.open) sheet.showModal()
  const close = incoming.on('ended', () => sheet.close())
  const done = incoming.on('state', (state) => state !== 'ringing' && sheet.close())
  $('accept').onclick = async () => {
    sheet.close()
    const known = people.find((user) => user.userId === incoming.with)
    if (known && peer?.userId !== known.userId) await open(known)
    if (call) await call.end()
    attend(incoming)
    await incoming.accept({ stream: await media(incoming.isVideo) }).catch((error: Error) => notice(error.message))
    showLocal()
  }
  $('reject').onclick = () => {
    close()
    done()
    sheet.close()
    void incoming.reject()
  }
}

function attend(active: ActiveCall): void {
  call = active
  $('call').hidden = false
  $('messages').scrollTop = $('messages').scrollHeight
  for (const id of ['mic', 'camera', 'screen', 'hold']) $(id).ariaPressed = 'false'
  $('camera').hidden = $('screen').hidden = !active.isVideo
  const say = (text: string): void => void ($('call-state').textContent = text)
  say(active.isOutgoing ? 'Ringing…' : 'Connecting…')
  active.on('state', (state) => {
    say({ ringing: 'Ringing…', connecting: 'Connecting…', connected: 'Connected', reconnecting: 'The other side reconnects…', held: 'On hold', ended: 'Ended' }[state])
    $('call').dataset['state'] = state
    showLocal()
  })
  active.on('remote', (stream) => ($<HTMLVideoElement>('remote').srcObject = stream))
  active.on('ended', ({ reason }) => {
    notice(`The call is over: ${reason}`)
    $('call').hidden = true
    recorded.hide()
    call = undefined
    stopSharing = undefined
  })
}

function showLocal(): void {
  if (call?.local) $<HTMLVideoElement>('local').srcObject = call.local
}

function toggle(id: string, change: (on: boolean) => unknown): void {
  $(id).onclick = () => {
    const on = $(id).ariaPressed !== 'true'
    $(id).ariaPressed = String(on)
    void change(on)
  }
}
toggle('mic', (on) => call?.mute('audio', on))
toggle('camera', (on) => call?.mute('video', on))
toggle('hold', (on) => call?.hold(on))
toggle('screen', async (on) => {
  try {
    if (on) stopSharing = await call?.shareScreen()
    else await stopSharing?.()
  } catch (error) {
    $('screen').ariaPressed = 'false'
    notice((error as Error).message)
  }
})
$('hangup').onclick = () => void call?.end()

// Begin

if (await devToken().then(() => true, () => false)) await start(devToken)
else $('login').hidden = false
