import type { MessageStream } from '@libp2p/interface'
import { createSeededRandom, createVirtualClock } from '@mycelium/simulator'
import { describe, expect, test } from 'vitest'
import { HANDSHAKE_TIMEOUT_MS } from '../src/constants.ts'
import { addFrameHeader } from '../src/core/frames.ts'
import { runHandshake } from '../src/handshake-run.ts'
import type { HandshakeAnswers } from '../src/handshake-run.ts'
import { newInitiator, newResponder } from './kit/handshake-pair.ts'
import type { PairInit } from './kit/handshake-pair.ts'
import { createTestMember, createTestNetwork, NOW } from './kit/network.ts'

const random = createSeededRandom(10, 'run')
const network = createTestNetwork(random.fork('network'))

const answers: HandshakeAnswers = {
  admit: () => Promise.resolve('busy'),
  renew: () => Promise.resolve('busy'),
  store: () => Promise.resolve(),
  learned: () => undefined,
}

/** One end of a stream as libp2p has them, as far as a handshake uses it. */
class End extends EventTarget {
  status = 'open'
  readonly rest: number[] = []
  other: End | undefined
  /** What is sent together arrives together. */
  #held: number[] | undefined

  send(data: Uint8Array): boolean {
    if (this.#held !== undefined) this.#held.push(...data)
    else this.other?.receive(data)
    return true
  }

  hold(): void {
    this.#held = []
  }

  flush(): void {
    const bytes = Uint8Array.from(this.#held ?? [])
    this.#held = undefined
    this.other?.receive(bytes)
  }

  receive(data: Uint8Array): void {
    const message = Object.assign(new Event('message'), { data })
    queueMicrotask(() => this.dispatchEvent(message))
  }

  unshift(data: Uint8Array): void {
    this.rest.push(...data)
  }
}

function ends(): readonly [End, End] {
  const [one, other] = [new End(), new End()]
  one.other = other
  other.other = one
  return [one, other]
}

const streamOf = (end: End): MessageStream => end as unknown as MessageStream

const pair = (): PairInit => ({
  random: random.fork('nonces'),
  initiator: createTestMember(network),
  responder: createTestMember(network),
})

const newClock = (): ReturnType<typeof createVirtualClock> =>
  createVirtualClock({ startUnixMs: NOW * 1000 })

describe('a handshake on a stream', () => {
  test('leaves what comes behind its last message to whoever reads next', async () => {
    const [near, far] = ends()
    const clock = newClock()
    const init = pair()
    const deps = { clock, answers }
    const responding = runHandshake(deps, streamOf(far), {
      handshake: newResponder(init),
      isInitiator: false,
    })
    const original = near.send.bind(near)
    let sent = 0
    near.send = (data) => {
      // The fourth message is the last: the muxer's first bytes come in the same packet.
      if (++sent === 4) near.hold()
      return original(data)
    }
    await runHandshake(deps, streamOf(near), { handshake: newInitiator(init), isInitiator: true })
    near.send(Uint8Array.of(1, 2, 3))
    near.flush()
    await responding
    expect(far.rest).toEqual([1, 2, 3])
    expect(near.rest).toEqual([])
    expect(clock.pendingCount).toBe(0)
  })

  test('ends at its deadline, at an abort and when the peer hangs up', async () => {
    const run = (act: (end: End, abort: AbortController) => void): Promise<unknown> => {
      const [near] = ends()
      const abort = new AbortController()
      const result = runHandshake({ clock, answers }, streamOf(near), {
        handshake: newResponder(pair()),
        isInitiator: false,
        signal: abort.signal,
      })
      act(near, abort)
      return result
    }
    const clock = newClock()
    await expect(run((_, abort) => abort.abort(new Error('stop')))).rejects.toThrow('stop')
    await expect(
      run((end) => {
        end.receive(addFrameHeader(Uint8Array.of(1)).subarray(0, 2))
        queueMicrotask(() => end.dispatchEvent(new Event('close')))
      }),
    ).rejects.toMatchObject({ reason: 'malformed', isByPeer: false })
    const late = expect(run(() => undefined)).rejects.toMatchObject({ reason: 'timeout' })
    await clock.advance(HANDSHAKE_TIMEOUT_MS)
    await late
    expect(clock.pendingCount).toBe(0)
  })
})
