import type { MessageStream } from '@libp2p/interface'
import type { Clock } from '@mycelium/interface'
import { addFrameHeader, createFrameReader } from './core/frames.ts'
import type {
  Handshake,
  HandshakeEffect,
  HandshakeInput,
  HandshakeTime,
  ProvenPeer,
} from './core/handshake.ts'
import type { Certificate, RefusalReason } from './core/model.ts'
import type { CheckedWelcome, Welcome } from './core/welcome.ts'
import { HandshakeRefusedError } from './errors.ts'

/** What a handshake asks of whoever keeps the membership. */
export interface HandshakeAnswers {
  /** Resolves once the use of the token is durable. */
  admit(tokenId: Uint8Array): Promise<Welcome | RefusalReason>
  renew(certificate: Certificate): Promise<Welcome | RefusalReason>
  /** Resolves once what was given is durable. */
  store(welcome: CheckedWelcome): Promise<void>
  /** Facts that count from now on; they need not be durable before the handshake goes on. */
  learned(envelopes: readonly Uint8Array[]): void
}

export interface HandshakeRunDeps {
  readonly clock: Clock
  readonly answers: HandshakeAnswers
}

export interface HandshakeRunInit {
  readonly handshake: Handshake
  /** Begins with the first message instead of waiting for it. */
  readonly isInitiator: boolean
  readonly signal?: AbortSignal | undefined
}

/** Seconds since 1970 of a clock. */
export const unixSecondsOf = (clock: Clock): number => Math.floor(clock.unixMs() / 1000)

/**
 * Carries a handshake out on a stream. Bytes behind its last message stay on the stream for whoever
 * reads next. The caller closes the stream after a failure.
 *
 * @throws {HandshakeRefusedError} `ERR_IDENTITY_REFUSED`
 */
export function runHandshake(
  deps: HandshakeRunDeps,
  stream: MessageStream,
  init: HandshakeRunInit,
): Promise<ProvenPeer> {
  return new HandshakeRun(deps, stream, init).run()
}

class HandshakeRun {
  readonly #deps: HandshakeRunDeps
  readonly #stream: MessageStream
  readonly #init: HandshakeRunInit
  readonly #reader = createFrameReader()
  readonly #result = Promise.withResolvers<ProvenPeer>()
  #isOver = false
  #cancelTimer: () => void = () => undefined
  #detach: () => void = () => undefined

  constructor(deps: HandshakeRunDeps, stream: MessageStream, init: HandshakeRunInit) {
    this.#deps = deps
    this.#stream = stream
    this.#init = init
  }

  async run(): Promise<ProvenPeer> {
    const { signal, isInitiator } = this.#init
    signal?.throwIfAborted()
    const onMessage = ({ data }: { data: Uint8Array | { subarray(): Uint8Array } }): void => {
      this.#reader.push(data.subarray())
      this.#readFrames()
    }
    // Also a peer that ends in the middle: what came is not a handshake.
    const onClose = (): void => this.#input({ kind: 'malformed' })
    const onAbort = (): void => this.#fail(signal?.reason as Error)
    this.#stream.addEventListener('message', onMessage)
    this.#stream.addEventListener('close', onClose)
    this.#stream.addEventListener('remoteCloseWrite', onClose)
    signal?.addEventListener('abort', onAbort)
    this.#detach = () => {
      this.#cancelTimer()
      this.#stream.removeEventListener('message', onMessage)
      this.#stream.removeEventListener('close', onClose)
      this.#stream.removeEventListener('remoteCloseWrite', onClose)
      signal?.removeEventListener('abort', onAbort)
    }
    this.#arm()
    if (isInitiator) this.#input({ kind: 'start' })
    return await this.#result.promise
  }

  #readFrames(): void {
    while (!this.#isOver) {
      const frame = this.#reader.next()
      if (frame === undefined) return
      this.#input(frame === 'malformed' ? { kind: 'malformed' } : { kind: 'frame', frame })
    }
  }

  #input(input: HandshakeInput): void {
    if (this.#isOver) return
    try {
      const effects = this.#init.handshake.step(input, this.#time())
      for (const effect of effects) this.#carryOut(effect)
      if (!this.#isOver) this.#arm()
    } catch (error) {
      this.#fail(error as Error)
    }
  }

  #carryOut(effect: HandshakeEffect): void {
    switch (effect.kind) {
      case 'send':
        this.#send(effect.frame)
        return
      case 'admit':
        this.#answer(this.#deps.answers.admit(effect.tokenId))
        return
      case 'renew':
        this.#answer(this.#deps.answers.renew(effect.certificate))
        return
      case 'store':
        void this.#deps.answers.store(effect.welcome).then(
          () => this.#input({ kind: 'stored' }),
          (error: unknown) => this.#fail(error as Error),
        )
        return
      case 'facts':
        this.#deps.answers.learned(effect.envelopes)
        return
      case 'proven':
        this.#end(effect.peer)
        return
      case 'refused':
        this.#fail(new HandshakeRefusedError(effect.reason, effect.isByPeer))
    }
  }

  /** A peer that hung up hears nothing: it is judged by what it sent. */
  #send(frame: Uint8Array): void {
    if (this.#stream.status === 'open') this.#stream.send(addFrameHeader(frame))
  }

  #answer(answer: Promise<Welcome | RefusalReason>): void {
    void answer.then(
      (given) =>
        this.#input(
          typeof given === 'string'
            ? { kind: 'denied', reason: given }
            : { kind: 'admitted', welcome: given },
        ),
      // The disk failed, say: the peer may come again.
      (error: unknown) => {
        this.#input({ kind: 'denied', reason: 'busy' })
        this.#fail(error as Error)
      },
    )
  }

  #end(peer: ProvenPeer): void {
    this.#isOver = true
    // At once: the next bytes may come before a promise settles, and are not ours.
    this.#detach()
    const rest = this.#reader.rest()
    if (rest.byteLength > 0) this.#stream.unshift(rest)
    this.#result.resolve(peer)
  }

  #fail(error: Error): void {
    this.#isOver = true
    this.#detach()
    this.#result.reject(error)
  }

  #arm(): void {
    this.#cancelTimer()
    this.#cancelTimer = () => undefined
    const deadline = this.#init.handshake.nextDeadline()
    if (deadline === undefined) return
    this.#cancelTimer = this.#deps.clock.schedule(deadline, () => this.#input({ kind: 'tick' }))
  }

  #time(): HandshakeTime {
    const { clock } = this.#deps
    return { now: clock.now(), unix: unixSecondsOf(clock) }
  }
}
