// Phones of the original: each is a process of its own.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { asDescribed, next, root, token } from './server.mjs'

const open = new Set()
process.once('exit', () => open.forEach((child) => child.kill('SIGKILL')))

/** A process with the original's call code and a libwebrtc peer, which sends sound, and pictures where `kinds` says `video`. */
export function phone(server, user, ...kinds) {
  const child = spawn(process.execPath, [`${root}/tests/e2e/support/phone.mjs`, server.url, token(user), ...kinds])
  const state = {
    events: [],
    say: (command) => child.stdin.write(`${JSON.stringify(command)}\n`),
    close: () => child.kill('SIGKILL'),
    /** How many pictures it has decoded, or pieces of sound of 10 ms played. */
    async received(kind) {
      state.say({ count: true })
      return (await next(state, 'count'))[kind]
    },
  }
  // A test that fails leaves no phone behind, and does not wait for it.
  for (const one of [child, child.stdin, child.stdout, child.stderr]) one.unref()
  open.add(child)
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { event, data } = JSON.parse(line)
    if (event.includes(':')) asDescribed(server.descriptions?.event(event, data))
    state.events.push({ name: event, payload: data })
  })
  return state
}
