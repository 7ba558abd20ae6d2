// The demo page as people use it: two tabs of Chromium chat and call each other. Screenshots go to test-results/.
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { frames, launch, page, seeing, videoCall } from './support/browser.mjs'
import { Server, root, until } from './support/server.mjs'

const shots = `${root}/test-results`
let server
let browser
before(async () => {
  mkdirSync(shots, { recursive: true })
  server = await Server.start({ args: ['--dev'] })
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await server?.stop()
})

const contact = (tab, user) => tab.locator(`.contact[data-user="${user}"]`)
const say = async (tab, text) => {
  await tab.fill('#text', text)
  await tab.press('#text', 'Enter')
}

test('two tabs chat, with states, typing and offline delivery', async () => {
  const ada = await page(browser, `${server.url}/demo?u=101&with=102`)
  const ben = await page(browser, `${server.url}/demo?u=102&with=101`, { colorScheme: 'dark' })
  await contact(ada, 102).locator('.dot.online').waitFor()
  await ben.locator('#peer', { hasText: 'Ada' }).waitFor()

  await ada.fill('#text', 'Are you there?')
  await ben.locator('#typing:has-text("Ada is typing")').waitFor()
  await ada.press('#text', 'Enter')
  await ben.locator('#messages li', { hasText: 'Are you there?' }).waitFor()
  await ada.locator('#messages li.mine', { hasText: 'read' }).waitFor()

  await ben.click('#cut')
  await ben.locator('#link', { hasText: 'not connected' }).waitFor()
  for (const n of [1, 2, 3]) await say(ada, `while you were away ${n}`)
  await ada.locator('#messages li.mine', { hasText: 'sent' }).first().waitFor()
  assert.equal(await ben.locator('#messages li', { hasText: 'while you were away' }).count(), 0)
  await ben.click('#cut')
  await ben.locator('#messages li', { hasText: 'while you were away 3' }).waitFor()
  assert.equal(await ben.locator('#messages li', { hasText: 'while you were away' }).count(), 3)

  await ben.click('#cut')
  await say(ben, 'written without a line')
  await ben.locator('#messages li.mine', { hasText: 'sending' }).waitFor()
  await ben.click('#cut')
  await ada.locator('#messages li', { hasText: 'written without a line' }).waitFor()
  // What comes later is there, and the message of before not twice.
  await say(ben, 'after it')
  await ada.locator('#messages li', { hasText: 'after it' }).waitFor()
  assert.equal(await ada.locator('#messages li', { hasText: 'written without a line' }).count(), 1)

  await ada.click('#drawer-toggle')
  assert.ok(await ada.locator('#traffic li', { hasText: 'message:send' }).count() > 0)
  await ada.screenshot({ path: `${shots}/chat-light.png` })
  await ben.screenshot({ path: `${shots}/chat-dark.png` })
  assert.deepEqual([ada.errors, ben.errors], [[], []])
  await ada.context().close(); await ben.context().close()
})

test('two tabs complete a video call and see each other', async () => {
  const ada = await page(browser, `${server.url}/demo?u=101&with=102`)
  const ben = await page(browser, `${server.url}/demo?u=102&with=101&media=test`, { colorScheme: 'dark' })
  await videoCall(ada, ben, () => ben.screenshot({ path: `${shots}/incoming.png` }))
  await seeing([ada, ben])
  await ada.screenshot({ path: `${shots}/call-light.png` })
  await ben.screenshot({ path: `${shots}/call-dark.png` })

  await ada.click('#hold')
  await ben.locator('#call-state', { hasText: 'On hold' }).waitFor()
  await ada.click('#hold')
  await ben.locator('#call[data-state="connected"]').waitFor()

  // The line to the server is cut for a moment; the call itself goes on.
  await ben.click('#cut')
  await ada.locator('#call-state', { hasText: 'reconnects' }).waitFor()
  await ben.click('#cut')
  await ada.locator('#call[data-state="connected"]').waitFor()
  const seen = await frames(ada, '#remote')
  await until(async () => await frames(ada, '#remote') > seen + 10, 'the picture goes on')

  await ben.click('#hangup')
  for (const tab of [ada, ben]) await tab.locator('#call').waitFor({ state: 'hidden' })
  await ada.locator('#messages li.note', { hasText: 'Finished video call' }).waitFor()
  assert.deepEqual([ada.errors, ben.errors], [[], []])
  await ada.context().close(); await ben.context().close()
})

test('every page shows itself, light and dark and on a phone, and works by keyboard', async () => {
  for (const [path, name] of [['/', 'home'], ['/docs', 'docs'], ['/docs/client', 'client']]) {
    const tab = await page(browser, server.url + path, { colorScheme: name === 'home' ? 'dark' : 'light' })
    await tab.waitForLoadState('networkidle')
    await tab.screenshot({ path: `${shots}/${name}.png` })
    assert.deepEqual(tab.errors, [])
    await tab.context().close()
  }
  const docs = await page(browser, `${server.url}/docs`)
  await docs.locator('details', { hasText: 'message:send' }).first().waitFor()
  await docs.fill('#filter', 'webrtc-config')
  assert.equal(await docs.locator('details:not([hidden])').count(), 1)
  await docs.context().close()

  const phone = await page(browser, `${server.url}/demo?u=103`, { viewport: { width: 390, height: 780 }, colorScheme: 'dark' })
  await contact(phone, 101).waitFor()
  await phone.screenshot({ path: `${shots}/phone-people.png` })
  await contact(phone, 101).focus()
  await phone.keyboard.press('Enter')
  await phone.locator('#text:focus').waitFor()
  await phone.keyboard.type('by keyboard')
  await phone.keyboard.press('Enter')
  await phone.locator('#messages li.mine', { hasText: 'by keyboard' }).waitFor()
  await phone.screenshot({ path: `${shots}/phone-chat.png` })
  assert.equal(await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, 'nothing sticks out')
  assert.deepEqual(phone.errors, [])
  await phone.context().close()
})
