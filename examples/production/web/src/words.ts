// Error codes as a person would say them.

const words: Record<string, string> = {
  INVALID_PAYLOAD: 'The server could not read this.',
  UNAUTHORIZED: 'This sign-in is not valid.',
  TOKEN_EXPIRED: 'Your sign-in has expired.',
  FORBIDDEN: 'You may not do this.',
  NOT_FOUND: 'This is not there any more.',
  NOT_MEMBER: 'You are not in this room.',
  RATE_LIMITED: 'That was too fast. It goes out in a moment.',
  TOO_LARGE: 'This message is too long.',
  SLOW_CONSUMER: 'This connection is too slow for all that is said.',
  UNAVAILABLE: 'The server cannot save messages at the moment.',
  INTERNAL: 'Something went wrong on the server.',
}

/** `said` is the server's own text: for codes without words of ours, and REJECTED, where the text is the reason. */
export function inWords(code: string, said: string): string {
  return words[code] ?? (said || 'The server refused this.')
}
