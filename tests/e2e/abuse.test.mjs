// THE SHORT VERSION of tests/abuse: some seconds, some hundreds a second and some addresses of what the scripts there do for minutes. The
// bounds of descriptors, of questions under way and of connections that are cut are the same; the rest is printed and not judged: it needs a quiet machine and an
// optimised build. docs/security.md says which of their bounds are kept.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { roomData } from '../abuse/room-data.mjs'
import { strangers } from '../abuse/strangers.mjs'

/** Prints the table; its faults are the test's. */
function judge(context, table) {
  for (const { what, value, bound } of table.rows) context.diagnostic(`${what}: ${value} ${bound}`)
  assert.deepEqual(table.faults, [], table.title)
}

const short = { seconds: 6, rate: 400, judged: false, patience: 5 }

test('strangers from one address take no more than an address may', { timeout: 240_000 }, async (context) => {
  judge(context, await strangers({ ...short, kind: 'mix', from: 1 }))
})

test('strangers from forty addresses leave memory and descriptors within their bounds', { timeout: 240_000 }, async (context) => {
  judge(context, await strangers({ ...short, kind: 'mix', from: 40 }))
})

test('the backend is asked about few of the tokens that are none, and about few at a time', { timeout: 240_000 }, async (context) => {
  judge(context, await strangers({ ...short, kind: 'tokens', from: 4, introspect: true }))
})

test('twenty guests who flood a room of fifty cut nobody else and fill no memory', { timeout: 240_000 }, async (context) => {
  judge(context, await roomData({ seconds: 6, judged: false }))
})
