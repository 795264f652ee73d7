import { constants, mkdtempSync, openSync, closeSync, rmdirSync, unlinkSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { shimPath } from '@mycelium/ram'

/** open(2): a descriptor that only names the file. Equal on x86-64 and arm64; Node has no name. */
const O_PATH = 0o10_000_000

/**
 * What a program is given so that it hands out the tracking of its memory by itself, for hosts that
 * may not trace it: a library to load first, and a socket on which that sends a userfaultfd.
 *
 * Both are descriptors of the program, so that it needs no access to any folder, and nothing is
 * left in one if this process is killed.
 */
export class Preload {
  /** For the program, in this order. */
  readonly descriptors: readonly [library: number, socket: number]
  readonly #server: Server
  #connection: Socket | undefined
  #isHandedOn = false

  /** Nothing if the system refuses any of it: the program then runs without. */
  static open(): Preload | undefined {
    try {
      return new Preload()
    } catch {
      return undefined
    }
  }

  private constructor() {
    // The message stays in the socket: it is for the tracker to receive.
    const server = createServer({ pauseOnConnect: true }, (connection) => {
      connection.on('error', () => {}) // the program is gone, which others notice
      connection.unref()
      this.#connection = connection
    })
    server.maxConnections = 1
    server.on('error', () => {}) // there is no socket then, which the next step notices
    this.#server = server
    const folder = mkdtempSync(join(tmpdir(), 'mycelium-preload-'))
    const path = join(folder, 's')
    try {
      // Bound at once. The program may run as somebody else.
      server.listen({ path, readableAll: true, writableAll: true }).unref()
      const socket = openSync(path, O_PATH)
      unlinkSync(path)
      this.descriptors = [openLibrary(socket), socket]
    } catch (error) {
      server.close()
      throw error
    } finally {
      rmdirSync(folder)
    }
  }

  /** For the program's environment, where its descriptors have these numbers. */
  environment([library, socket]: readonly [library: number, socket: number]): NodeJS.ProcessEnv {
    const others = process.env['LD_PRELOAD']
    return {
      LD_PRELOAD: [`/proc/self/fd/${library}`, ...(others ? [others] : [])].join(':'),
      MYCELIUM_UFFD_SOCKET: `/proc/self/fd/${socket}`,
    }
  }

  /** Of the connection on which the library sent, or will have sent, its one message. */
  get socketFd(): number | undefined {
    // Node has no public way to it.
    const handle = (this.#connection as { readonly _handle?: { readonly fd: number } } | undefined)
      ?._handle
    return handle?.fd
  }

  /** The program has them: closes ours. Idempotent. */
  handedOn(): void {
    if (this.#isHandedOn) return
    this.#isHandedOn = true
    for (const fd of this.descriptors) closeSync(fd)
  }

  /** Idempotent. */
  close(): void {
    this.handedOn()
    this.#server.close()
    this.#connection?.destroy()
    this.#connection = undefined
  }
}

function openLibrary(socket: number): number {
  try {
    return openSync(shimPath(), constants.O_RDONLY)
  } catch (error) {
    closeSync(socket)
    throw error
  }
}
