import assert from 'node:assert/strict'
import type { ComplianceCase, NodeId } from '../base.ts'
import type { MessageTransport, MessageTransportEvents } from '../message-transport.ts'
import type { MessageTransportSetup } from './message-transport-setup.ts'

/** Turns of the event loop: more than any transport needs to do something wrong. */
const TURNS_OF_REST = 200

/** What most cases work with: the setup and its three members. */
export interface TransportCast {
  readonly setup: MessageTransportSetup
  readonly a: MessageTransport
  readonly b: MessageTransport
  readonly c: MessageTransport
}

export function transportCase(
  name: string,
  body: (cast: TransportCast) => Promise<void>,
): ComplianceCase<MessageTransportSetup> {
  return {
    name,
    run: async (make) => {
      await using setup = await make()
      const [a, b, c] = setup.transports
      assert.ok(a !== undefined && b !== undefined && c !== undefined, 'three members are needed')
      await body({ setup, a, b, c })
    },
  }
}

/** Collects what a member hears, from now on. */
export class Inbox {
  readonly messages: { from: NodeId; message: Uint8Array }[] = []
  readonly #waiting = new Set<() => void>()

  constructor(transport: MessageTransport) {
    transport.addEventListener('message', ({ detail }) => {
      this.messages.push(detail)
      for (const wake of this.#waiting) wake()
    })
  }

  get texts(): string[] {
    return this.messages.map(({ message }) => textOf(message))
  }

  /** Waits until `count` messages came; the runner's time limit is the deadline. */
  async until(count: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const wake = (): void => {
      if (this.messages.length >= count) resolve()
    }
    this.#waiting.add(wake)
    wake()
    await promise
    this.#waiting.delete(wake)
  }
}

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

export function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}

/** A message whose bytes all depend on `seed`, so that any mix-up shows. */
export function patterned(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8) + seed) & 0xff)
}

/** Compares without a dump of the bytes. */
export function assertBytes(got: Uint8Array, wanted: Uint8Array): void {
  assert.equal(got.length, wanted.length)
  assert.ok(Buffer.from(got).equals(wanted), 'other bytes than those sent')
}

export async function rejectsWith(
  promise: Promise<unknown>,
  wanted: { readonly code: string; readonly remoteCode?: string },
): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof Error && 'code' in error, String(error))
    assert.equal(error.code, wanted.code, String(error))
    if (wanted.remoteCode !== undefined) {
      assert.ok('remoteCode' in error)
      assert.equal(error.remoteCode, wanted.remoteCode)
    }
    return true
  })
}

/** Resolves with the detail of the next event of that type. */
export function nextEvent<Type extends keyof MessageTransportEvents>(
  transport: MessageTransport,
  type: Type,
): Promise<MessageTransportEvents[Type]> {
  return new Promise((resolve) => {
    transport.addEventListener(type, ({ detail }) => resolve(detail), { once: true })
  })
}

/** A handler whose every question waits for `answer`; tells how many are with it. */
export class SlowHandler {
  readonly questions: { from: NodeId; text: string; signal: AbortSignal }[] = []
  readonly #answers: ((text: string) => void)[] = []
  readonly #waiting = new Set<() => void>()
  readonly remove: () => void

  constructor(transport: MessageTransport) {
    this.remove = transport.handle(async (from, message, { signal }) => {
      const { promise, resolve } = Promise.withResolvers<string>()
      this.questions.push({ from, text: textOf(message), signal })
      this.#answers.push(resolve)
      for (const wake of this.#waiting) wake()
      return bytesOf(await promise)
    })
  }

  async until(count: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const wake = (): void => {
      if (this.questions.length >= count) resolve()
    }
    this.#waiting.add(wake)
    wake()
    await promise
    this.#waiting.delete(wake)
  }

  answer(index: number): void {
    const { text } = this.questions[index] ?? { text: 'nothing was asked' }
    this.#answers[index]?.(`answer to ${text}`)
  }

  answerAll(): void {
    for (const index of this.#answers.keys()) this.answer(index)
  }
}

/** Resolves when the signal aborts. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise((resolve) => {
    signal.addEventListener('abort', resolve, { once: true })
  })
}

/** Whether a promise is still open after a rest. */
export async function isOpen(promise: Promise<unknown>): Promise<boolean> {
  let open = true
  const close = (): void => {
    open = false
  }
  promise.then(close, close)
  await rest()
  return open
}

/** Gives a transport the chance to do what it must not do. */
export async function rest(): Promise<void> {
  for (let turns = 0; turns < TURNS_OF_REST; turns++) {
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
}
