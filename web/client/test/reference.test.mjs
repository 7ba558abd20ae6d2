// The reference of the client (`/docs/client`), which the build makes from its types.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { reference } from '../../docs/reference.mjs'
import * as client from '../dist/index.js'

const html = reference()

test('the reference has everything that the client exports, with its comment', () => {
  for (const name of ['createClient', ...Object.keys(client), 'Options', 'ServerEvents', 'ClientEvents', 'Message']) assert.ok(html.includes(`id="${name}"`), name)
  const has = (pattern, what) => assert.ok(pattern.test(html), what ?? String(pattern))
  has(/createClient\(options: <a href="#Options">Options<\/a>\): <a href="#Client">Client<\/a>/)
  has(/Makes a client\. Nothing is sent or received before <code>connect\(\)<\/code>/)
  has(/<td>message:received<\/td><td><code><a href="#Message">Message<\/a>/)
  has(/<td>on<\/td>.*Calls <code>handler<\/code> with every such event/, 'what a class inherits')
})

test('what is private is not in it, and every link leads somewhere', () => {
  assert.equal(html.match(/<td>(#\w*|failed|attached|listens|rejoin)</)?.[1], undefined)
  const ids = [...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id)
  assert.equal(new Set(ids).size, ids.length, 'each name once')
  for (const [, to] of html.matchAll(/href="#([^"]+)"/g)) assert.ok(ids.includes(to), to)
})

test('it needs no script, which the policy of the page would have to allow', () => {
  assert.equal(html.match(/<script|<style| on\w+=| style=/)?.[0], undefined)
})
