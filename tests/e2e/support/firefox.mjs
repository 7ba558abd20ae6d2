// Firefox from the system, over WebDriver BiDi, with made-up devices; each page belongs to a profile of its own.
import { existsSync } from 'node:fs'
import puppeteer from 'puppeteer-core'

const executablePath = process.env.FIREFOX ?? ['/usr/bin/firefox-esr', '/usr/bin/firefox'].find((path) => existsSync(path))

/** A browser with one tab at `url`. */
export async function firefox(url, viewport = { width: 1100, height: 760 }) {
  if (!executablePath) throw new Error('no Firefox found: install the package firefox-esr, or name one in FIREFOX')
  const browser = await puppeteer.launch({
    browser: 'firefox', executablePath, headless: true,
    extraPrefsFirefox: {
      'media.navigator.streams.fake': true, 'media.navigator.permission.disabled': true, 'media.autoplay.default': 0,
      'media.peerconnection.ice.loopback': true, 'media.peerconnection.ice.obfuscate_host_addresses': false,
    },
  })
  const made = await browser.newPage()
  await made.setViewport(viewport)
  made.errors = []
  made.on('pageerror', (error) => made.errors.push(String(error)))
  await made.goto(url)
  return { browser, made }
}
