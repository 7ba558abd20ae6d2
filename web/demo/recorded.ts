import type { Client, Recording } from '../client/src/index.js'

const $ = <T extends HTMLElement = HTMLElement>(id: string): T => document.getElementById(id) as T

/** Shows everybody that the place one is in is recorded, and lets those who may begin and end that. */
export class Recorded {
  #recordingId: string | undefined
  #board: Client
  #place: () => { callId: string } | { roomId: string } | undefined
  #complain: (text: string) => void

  constructor(board: Client, place: () => { callId: string } | { roomId: string } | undefined, complain: (text: string) => void) {
    this.#board = board
    this.#place = place
    this.#complain = complain
    board.on('recording:started', ({ recording }) => this.#here(recording) && this.show(recording.recordingId))
    board.on('recording:stopped', ({ recording }) => recording.recordingId === this.#recordingId && this.hide())
    board.on('recording:ready', () => complain('The recording is ready: see Recordings'))
    board.on('recording:failed', ({ reason }) => complain(`The recording failed: ${reason}`))
    board.on('recording:consent-request', ({ recording }) => this.#here(recording) && this.ask(recording.recordingId))
    $('record').addEventListener('click', () => void this.#toggle())
  }

  #here({ callId, roomId }: Recording): boolean {
    const place = this.#place()
    return place !== undefined && ('callId' in place ? place.callId === callId : place.roomId === roomId)
  }

  show(recordingId: string): void {
    this.#recordingId = recordingId
    $('recorded').hidden = false
    $('recorded').textContent = 'Recording'
    $('record').ariaPressed = 'true'
    $('record').textContent = 'Stop recording'
  }

  hide(): void {
    this.#recordingId = undefined
    $('recorded').hidden = true
    $('record').ariaPressed = 'false'
    $('record').textContent = 'Record'
  }

  ask(recordingId: string): void {
    const dialog = $<HTMLDialogElement>('consent')
    const answer = (consent: boolean) => () => {
      dialog.close()
      void this.#board.consent(recordingId, consent).catch((error: Error) => this.#complain(error.message))
    }
    $('agree').onclick = answer(true)
    $('refuse').onclick = answer(false)
    if (!dialog.open) dialog.showModal()
  }

  async #toggle(): Promise<void> {
    const place = this.#place()
    try {
      if (this.#recordingId) await this.#board.stopRecording(this.#recordingId)
      else if (place) await this.#board.record(place, 'both')
    } catch (error) {
      this.#complain((error as Error).message)
    }
  }
}
