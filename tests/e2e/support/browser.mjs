// Chromium from the system; each page belongs to a context of its own, as two people's browsers do.
import { existsSync } from 'node:fs'
import { chromium } from 'playwright-core'
import { descriptionsOf, until } from './server.mjs'

const executablePath = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/google-chrome'].find((path) => existsSync(path))

export async function launch(extra = []) {
  if (!executablePath) throw new Error('no Chromium found: install the package chromium, or name one in CHROMIUM')
  return chromium.launch({
    executablePath,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
      ...extra, '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', '--auto-select-desktop-capture-source=Entire screen',
    ],
  })
}

/** A tab at `url`; `init` is a function, and what it is called with, that runs before the page's own code. */
export async function page(browser, url, options = {}, init) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 760 }, ...options })
  const made = await context.newPage()
  made.errors = []
  made.on('pageerror', (error) => made.errors.push(String(error)))
  made.on('console', (message) => message.type() === 'error' && made.errors.push(message.text()))
  made.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => made.errors.push(...faults(descriptionsOf(url), payload))))
  if (init) await made.addInitScript(...init)
  await made.goto(url)
  return made
}

/** What is untrue in a frame of Socket.IO that came: `42` and an id, if it is to be acknowledged, before the event and its payload. */
function faults(descriptions, frame) {
  const [, event] = String(frame).match(/^42\d*(\[.*\])$/s) ?? []
  if (!descriptions || !event) return []
  const [name, payload] = JSON.parse(event)
  const fault = descriptions.event(name, payload)
  return fault ? [`untrue description: ${fault}`] : []
}

/** Video frames that an element has shown. */
export const frames = (made, selector) =>
  made.$eval(selector, (video) => video.getVideoPlaybackQuality().totalVideoFrames)

/** Waits until `read` gives exactly `count` names, and what it counts for each has grown by `more` since it first did. */
export async function advancing(read, count, more, what, within) {
  let first
  await until(async () => {
    const now = new Map(await read())
    if (now.size !== count || !first || [...first.keys()].some((name) => !now.has(name))) {
      first = now.size === count ? now : undefined
      return false
    }
    return [...now].every(([name, value]) => value > first.get(name) + more)
  }, what, within)
}

/** In two tabs of the demo: one rings, the other accepts; `ringing` is called in between. */
export async function videoCall(caller, callee, ringing) {
  await caller.click('#video')
  await callee.locator('#sheet[open]').waitFor()
  await ringing?.()
  await callee.click('#accept')
}

/** Waits until each tab's call is up and shows the other side. */
export async function seeing(tabs, timeout = 20000) {
  for (const tab of tabs) {
    await tab.locator('#call[data-state="connected"]').waitFor({ timeout })
    await until(async () => await frames(tab, '#remote') > 20, 'decoded frames of the other side', timeout)
  }
}
