// What ours is compared to: socket.io 4 on Node, which delivers and acknowledges but stores nothing.
// With `full`, it also confirms to the sender's devices, as the original service does.
import { createServer } from 'node:http'
import { createRequire } from 'node:module'

const { Server } = createRequire(new URL('../tests/package.json', import.meta.url))('socket.io')
const full = process.argv[2] === 'full'
const http = createServer()
const io = new Server(http, { transports: ['websocket'] })
let seq = 0
io.use((socket, next) => {
  socket.data.user = JSON.parse(Buffer.from(socket.handshake.auth.token.split('.')[1], 'base64url')).user_id
  next()
})
io.on('connection', (socket) => {
  socket.join(`u${socket.data.user}`)
  socket.emit('session:ready', { userId: socket.data.user })
  socket.on('message:send', (message, ack) => {
    const stored = {
      messageId: `0198f1c2-7b1e-7c44-9a55-${String(++seq).padStart(12, '0')}`, fromUserId: socket.data.user, toUserId: message.toUserId,
      content: message.content, messageType: 'text', isRead: false, clientId: message.clientId, seq,
      createdAt: new Date().toISOString(), updatedAt: new Date().toISOString(),
    }
    io.to(`u${message.toUserId}`).emit('message:received', stored)
    if (full) io.to(`u${socket.data.user}`).emit('message:sent', stored)
    ack({ ok: true, messageId: stored.messageId, seq, createdAt: stored.createdAt, duplicate: false })
  })
})
http.listen(0, '127.0.0.1', () => console.log(`ready http=127.0.0.1:${http.address().port} media=- turn=-`))
