/** A wire between two nodes that a test can cut, in the middle of what goes over it. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export class LinkCable {
  readonly #sockets = new Set<Socket>()
  readonly #server = createServer((near) => {
    if (this.#isCut) near.destroy()
    else this.#join(near)
  })
  readonly #target: string
  #isCut = false
  /** Bytes that may still go to the target. */
  #left = Infinity
  #cutting = Promise.withResolvers<void>()

  /** @param target - path of the socket at its other end */
  constructor(target: string) {
    this.#target = target
  }

  async listen(path: string): Promise<void> {
    this.#server.listen(path)
    await once(this.#server, 'listening')
  }

  /** Resolves when so many bytes have gone to the target, and it is cut. */
  async cutAfter(bytes: number): Promise<void> {
    this.#cutting = Promise.withResolvers()
    this.#left = bytes
    await this.#cutting.promise
  }

  mend(): void {
    this.#isCut = false
  }

  async close(): Promise<void> {
    this.#cut()
    this.#server.close()
    if (this.#server.listening) await once(this.#server, 'close')
  }

  #join(near: Socket): void {
    const far = connect(this.#target)
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(socket)
      socket.on('error', () => {}) // 'close' follows
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
    }
    far.pipe(near)
    near.on('data', (bytes: Buffer) => {
      const passing = bytes.subarray(0, this.#left)
      this.#left -= passing.length
      if (this.#left > 0) far.write(passing)
      // Half of a message arrives, and nothing after it.
      else far.write(passing, () => this.#cut())
    })
  }

  #cut(): void {
    this.#isCut = true
    this.#left = Infinity
    for (const socket of this.#sockets) socket.destroy()
    this.#cutting.resolve()
  }
}
