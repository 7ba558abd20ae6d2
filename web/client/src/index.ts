/**
 * Chat and calls through a Switchboard server.
 *
 *     const client = createClient({ url: 'https://chat.example.net', token: () => fetchToken() })
 *     client.on('message:received', (message) => show(message))
 *     await client.connect()
 *     await client.send(4711, 'hello')
 *     const call = await client.call(4711, { video: true })
 */
export * from './call.js'
export * from './client.js'
export * from './errors.js'
export type { RandomSource, TextStorage, WebRtc } from './platform.js'
export * from './room.js'
export * from './types.js'
