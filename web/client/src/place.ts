import type { TextStorage } from './platform.js'
import type { Message } from './types.js'

/** How many messages wait for a handler. */
const HELD = 500
/** How many messages one `message:delivered` names at most. */
export const REPORTED = 200
/** How many reports of delivery wait for a connection. */
const UNREPORTED = 5000

/**
 * The place in the user's event log, and the messages that no handler has seen.
 *
 * The server replays the log from the cursor that a connection names. So the kept cursor stays before the first message that waits
 * for a handler: after a reload that message comes again.
 */
export class Place {
  cursor: string | undefined
  /** Messages that wait for a handler, oldest first. */
  #held: Message[] = []
  /** More came than may wait. */
  #overflow = false
  #unreported = new Set<string>()
  #saved: string | undefined
  #writing: Promise<unknown> = Promise.resolve()

  constructor(readonly key: string, private storage: TextStorage | undefined, private complain: (error: unknown) => void) {}

  async load(): Promise<void> {
    if (this.cursor === undefined) this.cursor = this.#saved = (await this.storage?.getItem(this.key)) ?? undefined
  }

  /** Takes a place; false when the place is known already. */
  advance(cursor: string): boolean {
    if (this.cursor !== undefined && Number(cursor) <= Number(this.cursor)) return false
    this.cursor = cursor
    return true
  }

  /** Goes on from here: what was before is lost. */
  reset(cursor: string): void {
    this.cursor = cursor
    this.#held = []
    this.#overflow = false
    this.save()
  }

  /** Keeps the place, unless a message waits. */
  save(): void {
    if (this.#held.length > 0 || this.#overflow || this.cursor === this.#saved || this.cursor === undefined) return
    const cursor = this.#saved = this.cursor
    // One after the other: an older cursor must not come last.
    this.#writing = this.#writing.then(() => this.storage?.setItem(this.key, cursor)).catch(this.complain)
  }

  hold(message: Message): void {
    if (this.#held.length < HELD) this.#held.push(message)
    else this.#overflow = true
  }

  isHeld(messageId: string): boolean {
    return this.#held.some((message) => message.messageId === messageId)
  }

  /** The next message that waited. */
  shift(): Message | undefined {
    return this.#held.shift()
  }

  /** Whether more came than could wait; asking forgets it. */
  overflowed(): boolean {
    const overflow = this.#overflow
    this.#overflow = false
    return overflow
  }

  /** A handler has seen a message, which nobody has reported yet. */
  seen(messageId: string): void {
    if (this.#unreported.size < UNREPORTED) this.#unreported.add(messageId)
  }

  unreported(): string[] {
    return [...this.#unreported].slice(0, REPORTED)
  }

  reported(messageIds: string[]): void {
    for (const messageId of messageIds) this.#unreported.delete(messageId)
  }
}
