// The quickstart in a real browser: two windows, from the server's own origin
// and from Vite's.

import assert from 'node:assert/strict'
import { after, afterEach, before, describe, test } from 'node:test'
import { launch, openWindow, phone } from './browser.mjs'
import { startPage, startQuickstart, startWire } from './server.mjs'

// A test's people have names of their own: those of the test before may still
// be here, within their grace.
const limit = { timeout: 60_000 }

let browser
let windows = []

before(async () => {
  browser = await launch()
})
after(() => browser?.close())
afterEach(async () => {
  await Promise.all(windows.map((w) => w.close()))
  windows = []
})

async function open(url, viewport) {
  const w = await openWindow(browser, url, viewport)
  windows.push(w)
  return w
}

const origins = [
  { title: 'from the same origin', serve: async () => null },
  { title: 'from another origin, 127.0.0.1:5173', serve: () => startPage(5173) },
]

for (const { title, serve } of origins) {
  describe(title, () => {
    let server, page, url

    before(async () => {
      server = await startQuickstart()
      page = await serve()
      url = page ? `${page.origin}/?server=${server.origin}` : server.origin
    })
    after(async () => {
      await page?.stop()
      await server?.stop()
    })

    const enter = async (name) => (await open(url)).enter(name)

    test('two people chat, and see each other come, type and go', limit, async () => {
      const ann = await enter('Ann')
      const ben = await enter('Ben')
      await ann.notice('Ben joined').waitFor()
      await ann.here('Ben').waitFor()
      await ben.here('Ann').waitFor()

      await ann.say('Hello Ben, ça va? 👋')
      await ben.sees('Hello Ben, ça va? 👋')
      await ann.sees('Hello Ben, ça va? 👋')
      await ben.log.getByRole('listitem').filter({ hasText: 'Ann' }).filter({ hasText: 'Hello' }).waitFor()

      await ben.composer.pressSequentially('Fi')
      await ann.page.getByText('Ben is typing').waitFor()
      await ben.say('Fine')
      await ann.sees('Fine')
      await ann.page.getByText('Ben is typing').waitFor({ state: 'detached' })

      await ben.leave()
      await ann.notice('Ben left').waitFor()
      await ann.here('Ben').waitFor({ state: 'detached' })
    })

    test('a reload is neither a leave nor a join', limit, async () => {
      const ann = await enter('Cleo')
      const ben = await enter('Dan')
      await ann.notice('Dan joined').waitFor()
      await ben.page.reload()
      await ben.connected()
      await ben.say('Still me')
      await ann.sees('Still me')
      assert.equal(await ann.notice('Dan left').count(), 0)
      assert.equal(await ann.notice('Dan joined').count(), 1)
    })

    test('the transport in use is shown, and its upgrade', limit, async () => {
      const ann = await enter('Eve')
      await ann.transport('websocket')
      const transports = ann.page.getByRole('complementary').locator('.transports')
      assert.match(await transports.innerText(), /polling.*websocket/s)
    })

    test('an alert reaches everybody', limit, async () => {
      const ann = await enter('Fay')
      const ben = await enter('Gus')
      const answer = await ann.page.evaluate(async (to) => {
        const response = await fetch(`${to}/api/broadcast?message=Deploy+at+noon`, { method: 'POST' })
        return response.json()
      }, server.origin)
      assert.deepEqual(answer, { status: 'broadcast_sent' })
      for (const w of [ann, ben]) await w.log.getByRole('alert').filter({ hasText: 'Deploy at noon' }).waitFor()
    })

    test('the server goes away and comes back', limit, async () => {
      const ann = await enter('Ida')
      const ben = await enter('Joe')
      await ann.say('before')
      await ben.sees('before')

      await server.kill()
      await ann.page.getByText('Connection lost').waitFor()
      await ann.page.getByText(/Attempt \d/).waitFor()
      await ann.say('written while away')
      await ann.page.getByText('Waiting for the connection').waitFor()

      server = await startQuickstart(server.port)
      await Promise.all([ann.connected(2), ben.connected(2)])
      await ann.sees('written while away')
      assert.equal(await ann.page.getByText('Connection lost').count(), 0)

      await Promise.all([ann.here('Joe').waitFor(), ben.here('Ida').waitFor()])
      await ann.say('after')
      await ben.sees('after')
      await ben.say('indeed')
      await ann.sees('indeed')
    })
  })
}

describe('the server', () => {
  let server
  before(async () => {
    server = await startQuickstart()
  })
  after(() => server?.stop())

  test('gives back what was missed while the wire was cut', limit, async (t) => {
    const wire = await startWire(server.port)
    t.after(() => wire.stop())
    const ann = await (await open(wire.origin)).enter('Ann')
    const ben = await (await open(server.origin)).enter('Ben')
    await ann.transport('websocket')
    await ben.say('one')
    await ann.sees('one')

    wire.cut()
    await ann.page.getByText('Connection lost').waitFor()
    await ben.say('two')
    await ben.sees('two')
    wire.mend()

    await ann.connected(2)
    await ann.notice('Nothing was missed').waitFor()
    await ben.say('three')
    await ann.sees('three')
    await ann.sees('two')
    const texts = await ann.log.locator('.bubble').allInnerTexts()
    assert.deepEqual(texts, ['one', 'two', 'three'])
  })

  test('refuses the page of an origin that is not listed', limit, async (t) => {
    const stranger = await startPage(0)
    t.after(() => stranger.stop())
    const w = await open(`${stranger.origin}/?server=${server.origin}`)
    const blocked = w.page.waitForEvent('requestfailed', (r) => r.url().startsWith(`${server.origin}/socket.io/`))
    await w.page.getByLabel('Your name').fill('Mallory')
    await w.page.getByRole('button', { name: 'Join' }).click()
    await blocked
    await w.page.getByText('No answer from').waitFor()

    const opened = await w.page.evaluate((to) => {
      const socket = new WebSocket(`${to.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`)
      return new Promise((resolve) => {
        socket.onopen = () => resolve(true)
        socket.onerror = () => resolve(false)
      })
    }, server.origin)
    assert.equal(opened, false)

    const answer = await fetch(`${server.origin}/socket.io/?EIO=4&transport=polling`, { headers: { origin: stranger.origin } })
    assert.equal(answer.status, 403)
    await answer.body?.cancel()
  })

  test('answers a message it will not take, and the page shows why', limit, async () => {
    const ann = await (await open(server.origin)).enter('Ann')
    await ann.composer.evaluate((field) => field.removeAttribute('maxlength'))
    await ann.say('x'.repeat(2001))
    await ann.page.getByText('A message has at most 2000 characters.').waitFor()
    await ann.page.getByRole('button', { name: 'Discard' }).click()
    await ann.say('short')
    await ann.sees('short')
  })

  test('prints who connects and disconnects', limit, async () => {
    const ann = await (await open(server.origin)).enter('Ann')
    const sid = await ann.page.getByRole('complementary').locator('dd.mono[title]').getAttribute('title')
    await server.output.find(new RegExp(`^connect ${sid}`))
    await ann.leave()
    await server.output.find(new RegExp(`^disconnect ${sid}`))
  })

  test('shuts down with people in the room', limit, async () => {
    const other = await startQuickstart()
    const ann = await (await open(other.origin)).enter('Ann')
    assert.equal(await other.stop(), 0)
    await ann.page.getByText('Connection lost').waitFor()
  })
})

describe('on a phone', () => {
  let server
  before(async () => {
    server = await startQuickstart()
  })
  after(() => server?.stop())

  test('nothing is wider than the screen, and all is in reach', limit, async () => {
    const ann = await open(server.origin, phone)
    assert.ok((await ann.overflow()) <= 0, 'join screen')
    await ann.enter('A name as long as names may be 32')
    await ann.transport('websocket')
    const ben = await (await open(server.origin)).enter('Ben')
    await ben.say('wide'.repeat(60))
    await ann.sees('wide'.repeat(60))
    assert.ok((await ann.overflow()) <= 0, 'conversation')

    await ann.page.getByRole('button', { name: 'people here' }).tap()
    await ann.here('Ben').waitFor()
    assert.ok((await ann.overflow()) <= 0, 'drawer')
    await ann.page.keyboard.press('Escape')
    await ann.here('Ben').waitFor({ state: 'hidden' })

    await ann.composer.fill('Hello from a phone')
    await ann.page.getByRole('button', { name: 'Send' }).tap()
    await ben.sees('Hello from a phone')

    await server.kill()
    await ann.page.getByText(/Attempt \d/).waitFor()
    assert.ok((await ann.overflow()) <= 0, 'offline')
  })

  test('somebody who reads further up is left there', limit, async () => {
    server = await startQuickstart()
    const ann = await (await open(server.origin, phone)).enter('Ann')
    const ben = await (await open(server.origin)).enter('Ben')
    for (let i = 1; i <= 30; i++) await ben.say(`line ${i}`)
    await ann.sees('line 30')
    const scroller = ann.page.getByRole('region', { name: 'Messages' })
    await ann.page.waitForFunction(atEnd, await scroller.elementHandle())

    const count = await scroller.evaluate((el) => {
      el.scrollTop = 100
      return new Promise((resolve) => requestAnimationFrame(() => resolve(el.scrollTop)))
    })
    await ben.say('news')
    await ann.sees('news')
    assert.equal(await scroller.evaluate((el) => el.scrollTop), count)
    await ann.page.getByRole('button', { name: '1 new message' }).tap()
    await ann.page.waitForFunction(atEnd, await scroller.elementHandle())
  })
})

function atEnd(el) {
  return el.scrollHeight - el.scrollTop - el.clientHeight < 2
}
