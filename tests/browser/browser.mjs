// Windows of the page, in words a person would use.

import { chromium } from 'playwright-core'

const quiet = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export const desktop = { width: 1280, height: 800 }
export const phone = { width: 360, height: 640 }

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: quiet })
}

/** A window with storage of its own; every wait in it has a deadline. */
export async function openWindow(browser, url, viewport = desktop) {
  const context = await browser.newContext({ viewport, isMobile: viewport === phone, hasTouch: viewport === phone })
  context.setDefaultTimeout(20_000)
  const page = await context.newPage()
  await page.goto(url)
  return new Window(context, page)
}

export class Window {
  constructor(context, page) {
    this.context = context
    this.page = page
    this.log = page.getByRole('log')
    this.status = page.locator('[data-phase]')
    this.composer = page.getByLabel('Message', { exact: true })
    this.people = page.getByRole('list', { name: 'People here' })
  }

  async enter(name) {
    await this.page.getByLabel('Your name').fill(name)
    await this.page.getByRole('button', { name: 'Join' }).click()
    await this.connected()
    return this
  }

  connected(connections = 1) {
    return this.page.locator(`[data-phase=connected][data-connections="${connections}"]`).waitFor()
  }

  transport(name) {
    return this.page.locator(`[data-transport=${name}]`).waitFor()
  }

  async say(text) {
    await this.composer.fill(text)
    await this.composer.press('Enter')
  }

  /** One line of the conversation; fails if there are two of it. */
  sees(text) {
    return this.log.getByText(text, { exact: true }).waitFor()
  }

  notice(text) {
    return this.log.getByRole('listitem').filter({ hasText: text })
  }

  here(name) {
    return this.people.getByRole('listitem').filter({ hasText: name })
  }

  leave() {
    return this.page.getByRole('button', { name: 'Leave' }).click()
  }

  /** How far the page is wider than the window. */
  overflow() {
    return this.page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
  }

  close() {
    return this.context.close()
  }
}
