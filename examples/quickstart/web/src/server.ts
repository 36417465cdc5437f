// Where the server is: the page's own origin, except on Vite's port, which
// serves the page alone. ?server=http://127.0.0.1:PORT names another one, for
// development: a loopback page may be pointed at a loopback server and
// nowhere else, so that a link cannot send what people type to a stranger.

const loopback = ['localhost', '127.0.0.1', '[::1]']

export function serverURL(page: URL): string {
  const asked = page.searchParams.get('server')
  if (asked && loopback.includes(page.hostname) && URL.canParse(asked)) {
    const url = new URL(asked)
    if (/^https?:$/.test(url.protocol) && loopback.includes(url.hostname)) return url.origin
  }
  return page.port === '5173' ? 'http://127.0.0.1:8000' : page.origin
}
