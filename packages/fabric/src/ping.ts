import type { Connection, Stream } from '@libp2p/interface'
import type { Clock, Random } from '@mycelium/interface'
import { Deadline } from './deadline.ts'

/** Of libp2p's ping service, which every peer offers. */
const PING_PROTOCOL = '/ipfs/ping/1.0.0'
const PING_BYTES = 32

/** What a ping needs, and how long it may take in all. */
export interface PingDeps {
  readonly clock: Clock
  readonly random: Random
}

/**
 * Round trip of 32 bytes over this very connection, in milliseconds, without the opening of its
 * stream. (libp2p's own call takes any connection of the peer, and whole milliseconds.)
 *
 * Rejects with whatever went wrong, a `TimeoutError` after `timeoutMs`.
 */
export async function pingConnection(
  connection: Connection,
  { clock, random }: PingDeps,
  timeoutMs: number,
): Promise<number> {
  using deadline = new Deadline(clock, timeoutMs)
  const { signal } = deadline
  const stream = await connection.newStream(PING_PROTOCOL, {
    signal,
    runOnLimitedConnection: true,
  })
  try {
    const question = random.bytes(PING_BYTES)
    const sentAt = clock.now()
    const answer = await exchange(stream, question, signal)
    const roundTripMs = clock.now() - sentAt
    if (!question.every((byte, index) => byte === answer[index])) throw new Error('wrong answer')
    // The peer closes its half when it sees ours closed: nothing is left of the stream.
    await stream.close({ signal })
    return roundTripMs
  } catch (error) {
    stream.abort(error instanceof Error ? error : new Error('ping failed', { cause: error }))
    throw error
  }
}

async function exchange(
  stream: Stream,
  question: Uint8Array,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
  promise.catch(() => {}) // it may fail before somebody waits
  const answer = new Uint8Array(PING_BYTES)
  let filled = 0
  stream.addEventListener('message', ({ data }) => {
    const bytes = data.subarray(0, PING_BYTES - filled)
    answer.set(bytes, filled)
    filled += bytes.length
    if (filled === PING_BYTES) resolve(answer)
  })
  stream.addEventListener('close', () => reject(new Error('the stream was closed')))
  const onAbort = (): void => reject(signal.reason as Error)
  signal.addEventListener('abort', onAbort)
  try {
    signal.throwIfAborted()
    stream.send(question)
    return await promise
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
