/** What a browser has and other places, such as React Native, have to bring. */

type Later<T> = T | Promise<T>

/** Keeps small texts: `localStorage`, or React Native's `AsyncStorage`. */
export interface TextStorage {
  getItem(key: string): Later<string | null>
  setItem(key: string, value: string): Later<unknown>
  removeItem?(key: string): Later<unknown>
}

/** Random numbers: one of the two is enough. */
export interface RandomSource {
  randomUUID?(): string
  getRandomValues?<T extends Uint8Array<ArrayBuffer>>(bytes: T): T
}

/** WebRTC: the globals of a browser, or what `react-native-webrtc` exports. */
export interface WebRtc {
  RTCPeerConnection: typeof RTCPeerConnection
  MediaStream: typeof MediaStream
  mediaDevices: Pick<MediaDevices, 'getUserMedia'> & Partial<Pick<MediaDevices, 'getDisplayMedia'>>
  RTCRtpReceiver?: Pick<typeof RTCRtpReceiver, 'getCapabilities'>
}

/** A random UUID (RFC 9562, version 4). `randomUUID` is missing in pages without TLS. */
export function uuid(source: RandomSource | undefined = globalThis.crypto): string {
  if (source?.randomUUID) return source.randomUUID()
  if (!source?.getRandomValues) throw new Error('There is no crypto.randomUUID and no crypto.getRandomValues here: pass the option `crypto`')
  const bytes = source.getRandomValues(new Uint8Array(16))
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** The WebRTC to use; it is looked for when it is needed, so that chat works without one. */
export function webRtc(given: WebRtc | undefined): WebRtc {
  if (given) return given
  const { RTCPeerConnection, MediaStream, RTCRtpReceiver, navigator } = globalThis
  if (!RTCPeerConnection || !MediaStream) throw new Error('There is no WebRTC here: pass the option `webrtc`')
  return { RTCPeerConnection, MediaStream, RTCRtpReceiver, mediaDevices: navigator?.mediaDevices }
}
