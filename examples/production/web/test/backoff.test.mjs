// When the page tries again: the numbers, and that a connection uses them. Vite reads the TypeScript, as it does for the page.

import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { runnerImport } from 'vite'

const load = async (file) => (await runnerImport(fileURLToPath(new URL(`../src/${file}`, import.meta.url)), { configFile: false, logLevel: 'warn' })).module
const { asked, delay, first, most } = await load('backoff.ts')

const lowest = () => 0
const highest = () => 1 - Number.EPSILON
const middle = () => 0.5
const attempts = Array.from({ length: 40 }, (_, n) => n)

test('delays double from the first one up to the most, and stay there', () => {
  assert.deepEqual(attempts.slice(0, 8).map((n) => delay(n, middle)), [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000])
  for (const n of [...attempts.slice(8), 2000]) assert.equal(delay(n, middle), most, `attempt ${n}`) // 2 ** 2000 is Infinity
})

test('they are spread over half of to one and a half times that, and never below', () => {
  for (const n of attempts) {
    const grown = delay(n, middle)
    assert.equal(delay(n, lowest), grown / 2)
    assert.ok(delay(n, highest) > grown * 1.499 && delay(n, highest) <= grown * 1.5, `attempt ${n}`)
  }
  assert.equal(delay(0, lowest), first / 2)
})

test('by themselves they differ', () => {
  const some = new Set(Array.from({ length: 100 }, () => delay(3)))
  assert.ok(some.size > 90, `${some.size} of 100`)
  for (const ms of some) assert.ok(ms >= 4000 && ms <= 12_000, `${ms}`)
})

test('what the server asks for is the least, and spread over a second', () => {
  assert.equal(asked(5000, lowest), 5000)
  assert.equal(asked(5000, middle), 5500)
  assert.equal(asked(-1, lowest), 0)
  const some = new Set(Array.from({ length: 100 }, () => asked(5000)))
  assert.ok(some.size > 90, `${some.size} of 100`)
  for (const ms of some) assert.ok(ms >= 5000 && ms <= 6000, `${ms}`)
})

// A page's connection with its server away: nothing is dialled, since no time passes.
test('a connection waits longer each time, at least as long as it is asked to, and begins anew when it was there', async (t) => {
  Object.assign(globalThis, { window: globalThis, location: new URL('http://127.0.0.1:1'), addEventListener() {}, removeEventListener() {} })
  const { useSocket } = await load('useSocket.ts')
  const { effectScope } = await import('vue')
  t.after(() => mock.reset())
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 })
  mock.method(Math, 'random', middle)
  const scope = effectScope()
  t.after(() => scope.stop())
  const { socket, link } = scope.run(() => useSocket({ auth: () => ({}) }))

  const fails = (data) => {
    socket.emitReserved('connect_error', Object.assign(new Error(), { data }))
    assert.equal(link.value.phase, 'waiting')
    return link.value.until - Date.now()
  }
  const comes = () => {
    socket.io.engine = { transport: { name: 'websocket' }, once() {}, close() {} }
    socket.emitReserved('connect')
    assert.equal(link.value.phase, 'online')
  }
  const lost = () => {
    socket.emitReserved('disconnect', 'transport close')
    return link.value.until - Date.now()
  }
  assert.deepEqual([fails(), fails(), fails()], [1000, 2000, 4000])
  assert.equal(fails({ code: 'UNAVAILABLE', retry_after_ms: 20_000 }), 20_500) // longer than the 8 s that it has come to
  assert.equal(fails({ code: 'UNAVAILABLE', retry_after_ms: 100 }), 16_000)
  comes()
  assert.deepEqual([lost(), fails(), fails()], [1000, 2000, 4000])
  comes()
  assert.equal(lost(), 1000)
})
