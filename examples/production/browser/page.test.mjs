// The page in Chromium, through nginx, on two nodes. TestBrowser (browser_test.go) has started them, and does to them what CONTROL is asked for. ANYBODY is one more server,
// which asks for no token.

import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { chromium } from 'playwright-core'

const { CHAT_URL: url, CONTROL_URL: controlURL, ANYBODY_URL: anybodyURL, CHROMIUM: executablePath = '/usr/bin/chromium' } = process.env
const limit = { timeout: 60_000 }
const quiet = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update']

let browser
let windows = []

before(async () => {
  browser = await chromium.launch({ executablePath, args: quiet })
})
after(() => browser?.close())
afterEach(async () => {
  await Promise.all(windows.map((w) => w.context().close()))
  windows = []
})

/** Asks the Go test: a token, or something done to a node. */
async function control(path) {
  const answer = await fetch(controlURL + path, { method: 'POST' })
  assert.equal(answer.status, 200, `${path}: ${answer.status}`)
  return answer.text()
}

async function visit(at, viewport = { width: 1280, height: 800 }) {
  const context = await browser.newContext({ viewport })
  context.setDefaultTimeout(15_000)
  const page = await context.newPage()
  windows.push(page)
  page.on('pageerror', (e) => assert.fail(e))
  await page.goto(at)
  return page
}

async function open(token, viewport) {
  const page = await visit(url, viewport)
  await page.getByLabel('Your token').fill(token)
  await page.getByRole('button', { name: 'Enter the room' }).click()
  return page
}

async function enterAs(name) {
  const page = await visit(anybodyURL)
  await page.getByLabel('Your name').fill(name)
  await page.getByRole('button', { name: 'Enter the room' }).click()
  await phase(page, 'online')
  return page
}

const phase = (page, name) => page.locator(`[data-phase=${name}]`).waitFor()

async function enter(id, viewport) {
  const page = await open(await control(`/token?id=${id}`), viewport)
  await phase(page, 'online')
  return page
}

async function say(page, text) {
  await page.getByLabel('Message', { exact: true }).fill(text)
  await page.getByLabel('Message', { exact: true }).press('Enter')
}

const log = (page) => page.getByRole('log')
const sees = (page, text) => log(page).getByText(text, { exact: true }).waitFor() // fails if there are two of it
const texts = (page) => log(page).locator('.message .text').allInnerTexts()

test('a wrong token is refused in words', limit, async () => {
  const page = await open('not-a-token')
  await page.getByText('This sign-in is not valid.').waitFor()
  await page.getByLabel('Your token').waitFor()
})

test('an empty token goes nowhere', limit, async () => {
  const page = await visit(url)
  const asked = []
  page.on('request', (r) => asked.push(r.url()))
  await page.getByLabel('Your token').fill(' ')
  await page.getByRole('button', { name: 'Enter the room' }).click()
  await page.waitForFunction(() => document.activeElement.id === 'who')
  assert.deepEqual(asked.filter((u) => u.includes('/socket.io/')), [])
})

test('where anybody may come in, who gives no name is anonymous, and somebody of their own', limit, async () => {
  const one = await enterAs('')
  const two = await enterAs('  ')
  await log(one).getByText('anonymous came in').waitFor()
  const people = (page) => page.getByRole('list', { name: 'People here' })
  for (const page of [one, two]) await people(page).getByText('anonymous', { exact: true }).nth(1).waitFor()
  await say(one, 'from the first')
  await sees(two, 'from the first')
  await say(two, 'from the second')
  await sees(one, 'from the second')
  await one.reload()
  await phase(one, 'online')
  await sees(one, 'from the second')
  for (const [page, own, other] of [[one, 'from the first', 'from the second'], [two, 'from the second', 'from the first']]) {
    await sees(page, own)
    const by = (text) => log(page).locator('.message').filter({ hasText: text }).locator('.by span').allInnerTexts()
    assert.deepEqual(await by(own), ['anonymous', 'you'])
    assert.deepEqual(await by(other), ['anonymous'])
  }
  const named = await enterAs('Nia')
  await log(one).getByText('Nia came in').waitFor()
  await people(named).getByText('Nia', { exact: true }).waitFor()
})

test('two people see each other come, write and speak', limit, async () => {
  const ann = await enter('ann')
  const ben = await enter('ben')
  await log(ann).getByText('BEN came in').waitFor()
  await ann.getByRole('list', { name: 'People here' }).getByText('BEN').waitFor()
  await ben.getByLabel('Message', { exact: true }).pressSequentially('Hel')
  await ann.getByText('BEN is writing').waitFor()
  await say(ben, 'Hello Ann, ça va? 👋')
  await sees(ann, 'Hello Ann, ça va? 👋')
  await sees(ben, 'Hello Ann, ça va? 👋')
  await ann.getByText('BEN is writing').waitFor({ state: 'detached' })
  await ben.reload()
  await phase(ben, 'online')
  await sees(ben, 'Hello Ann, ça va? 👋') // from the history
  await ben.getByRole('button', { name: 'Sign out' }).click()
  await log(ann).getByText('BEN left').waitFor()
})

test('an announcement comes from POST /api/broadcast', limit, async () => {
  const ann = await enter('cleo')
  const answer = await fetch(`${url}/api/broadcast?message=Deploy+at+noon`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await control('/token?id=ops')}` },
  })
  assert.deepEqual(await answer.json(), { status: 'broadcast_sent' })
  await log(ann).getByRole('alert').filter({ hasText: 'Deploy at noon' }).waitFor()
})

test('what is written too fast goes out all the same, once and in order', limit, async () => {
  const ann = await enter('dora')
  const ben = await enter('emil')
  const lines = Array.from({ length: 16 }, (_, i) => `fast ${i + 1}`)
  await ann.getByLabel('Message', { exact: true }).evaluate((field, lines) => {
    for (const line of lines) {
      field.value = line
      field.dispatchEvent(new Event('input'))
      field.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' }))
    }
  }, lines)
  await ann.getByText('That was too fast.').first().waitFor()
  await sees(ben, 'fast 16')
  await ann.locator('.draft').first().waitFor({ state: 'detached' })
  for (const page of [ann, ben]) assert.deepEqual((await texts(page)).filter((t) => t.startsWith('fast ')), lines)
})

test('a node that dies is not missed, and a roll-out back is not either', limit, async () => {
  const ann = await enter('fay')
  const ben = await enter('gus')
  await say(ann, 'on the first node')
  await sees(ben, 'on the first node')
  await control('/kill?node=1')
  await say(ann, 'while it was dying')
  await sees(ben, 'while it was dying')
  await Promise.all([phase(ann, 'online'), phase(ben, 'online')])
  await say(ben, 'on the second node')
  await sees(ann, 'on the second node')

  await control('/start?node=1')
  await control('/stop?node=2')
  await say(ann, 'on the first node again')
  await sees(ben, 'on the first node again')
  await sees(ann, 'on the first node again')
  await control('/start?node=2')
  const told = ['on the first node', 'while it was dying', 'on the second node', 'on the first node again']
  for (const page of [ann, ben]) assert.deepEqual((await texts(page)).filter((t) => told.includes(t)), told)
})

test('with nobody there it says so, waits, and sends what was written', limit, async () => {
  const ann = await enter('ida')
  const ben = await enter('joe')
  await control('/kill?node=1')
  await control('/kill?node=2')
  await phase(ann, 'waiting')
  await ann.getByText(/Again in \d+ s/).waitFor()
  await ann.getByText('The server is away.').waitFor()
  await say(ann, 'written while away')
  await ann.getByText('Waiting for a connection').waitFor()
  // Each try in vain makes the next wait longer, so that she is not back by herself before the button is pressed.
  const seconds = async () => Number((await ann.getByText(/Again in \d+ s/).innerText()).match(/Again in (\d+)/)[1])
  while ((await seconds()) < 10) await ann.getByRole('button', { name: 'Try now' }).click()
  await control('/start?node=1')
  await ann.getByRole('button', { name: 'Try now' }).click()
  await ben.evaluate(() => dispatchEvent(new Event('online'))) // his network is back
  await sees(ben, 'written while away')
  await sees(ann, 'written while away')
  assert.equal(await ann.locator('.draft').count(), 0)
  await control('/start?node=2')
})

test('a sign-in that ends is renewed in place', limit, async () => {
  const ann = await open(await control('/token?id=kim&seconds=12'))
  await phase(ann, 'online')
  await ann.getByLabel(/Your sign-in ends at/).fill(await control('/token?id=kim&seconds=3'))
  await ann.getByRole('button', { name: 'Renew' }).click()
  // And the second one runs out.
  await phase(ann, 'ended')
  await ann.getByText('Your sign-in has expired.').waitFor()
  await say(ann, 'said without a sign-in')
  await ann.getByLabel(/New token/).fill(await control('/token?id=kim'))
  await ann.getByRole('button', { name: 'Renew' }).click()
  await phase(ann, 'online')
  await sees(ann, 'said without a sign-in')
})

test('on a phone nothing is wider than the screen, and the keyboard gets everywhere', limit, async () => {
  const ann = await enter('lea', { width: 360, height: 640 })
  await say(ann, 'x'.repeat(300))
  await sees(ann, 'x'.repeat(300))
  assert.equal(await ann.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0)
  const reached = new Set()
  for (let i = 0; i < 6; i++) {
    await ann.keyboard.press('Tab')
    reached.add(await ann.evaluate(() => document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.innerText))
  }
  assert.ok([...reached].some((r) => /here/.test(r)), [...reached].join())
  await ann.getByRole('button', { name: /here/ }).press('Enter')
  await ann.getByRole('list', { name: 'People here' }).getByText('LEA').waitFor()
})
