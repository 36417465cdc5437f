// The servers of the test: the quickstart itself, a plain one that serves the
// built page from another origin, and a wire between them that can be cut.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import http from 'node:http'
import net from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const top = fileURLToPath(new URL('../..', import.meta.url))
export const dist = path.join(top, 'examples/quickstart/web/dist')

const deadline = 15_000 // ms, for whatever ought to happen at once

/** The quickstart on `port`, 0 for a free one; with its printed lines. */
export async function startQuickstart(port = 0) {
  const binary = process.env.QUICKSTART_BIN
  if (!binary) throw new Error('QUICKSTART_BIN names the built quickstart; ./run sets it')
  const child = spawn(binary, ['-addr', `127.0.0.1:${port}`, '-web', dist], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const output = lines(child.stdout)
  const first = await output.find(/^http:\/\//)
  return {
    origin: first.trim(),
    port: Number(new URL(first.trim()).port),
    output,
    /** Ends it as a crash would. */
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
    /** Asks it to shut down; answers its exit code. */
    async stop() {
      child.kill('SIGTERM')
      const [code] = await exited
      return code
    },
  }
}

// lines keeps what a stream prints; find answers the first line that matches,
// printed already or yet to come.
function lines(stream) {
  const seen = []
  const waiting = new Set()
  createInterface({ input: stream }).on('line', (line) => {
    seen.push(line)
    for (const look of waiting) look(line)
  })
  const find = (pattern) => {
    const old = seen.find((l) => pattern.test(l))
    if (old !== undefined) return old
    return new Promise((resolve, reject) => {
      const look = (line) => {
        if (!pattern.test(line)) return
        clearTimeout(timer)
        waiting.delete(look)
        resolve(line)
      }
      const timer = setTimeout(() => {
        waiting.delete(look)
        reject(new Error(`the server did not print ${pattern}; it printed:\n${seen.join('\n')}`))
      }, deadline)
      waiting.add(look)
    })
  }
  return { seen, find: async (pattern) => find(pattern) }
}

const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' }

/** The built page alone, from 127.0.0.1:port (0: a free one). */
export async function startPage(port) {
  const server = http.createServer(async (req, res) => {
    const { pathname } = new URL(req.url, 'http://page')
    const file = path.join(dist, path.normalize(pathname === '/' ? '/index.html' : pathname))
    try {
      const body = await readFile(file)
      res.writeHead(200, { 'content-type': types[path.extname(file)] ?? 'application/octet-stream' }).end(body)
    } catch {
      res.writeHead(404).end()
    }
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening').catch((err) => {
    throw new Error(`the page cannot be served from port ${port}: ${err.message}`)
  })
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** A wire to `target` on a port of its own. While it is cut nothing gets through. */
export async function startWire(target) {
  let whole = true
  const open = new Set()
  const server = net.createServer((near) => {
    if (!whole) return near.destroy()
    const far = net.connect(target, '127.0.0.1')
    for (const [one, other] of [[near, far], [far, near]]) {
      open.add(one)
      one.on('error', () => other.destroy())
      one.on('close', () => {
        open.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => {
    whole = false
    for (const socket of open) socket.destroy()
  }
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    cut,
    mend: () => (whole = true),
    async stop() {
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}
