// When to try again: delays grow, so that a server that is down is left alone, and are spread out, so that its clients do not all come back at once.

export const first = 1000 // ms
export const most = 30_000 // ms

/** The delay before attempt n, counted from 0: between half of and one and a half times what it has grown to. */
export function delay(attempt: number, random = Math.random): number {
  return Math.min(most, first * 2 ** attempt) * (0.5 + random())
}

/** At least what the server asked for, and up to a second more: it may have told many the same. */
export function asked(ms: number, random = Math.random): number {
  return Math.max(0, ms) + 1000 * random()
}
