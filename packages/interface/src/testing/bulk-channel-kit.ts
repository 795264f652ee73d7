import assert from 'node:assert/strict'
import type { BulkChannel, BulkMessage } from '../bulk-channel.ts'
import type { BulkChannelSetup } from './bulk-channel-setup.ts'

/** Turns of the event loop: more than any channel needs to do something wrong. */
const TURNS_OF_REST = 200

/** A message of `bytes` that says its number in every 4 bytes, so that any mix-up shows. */
export function numbered(number: number, bytes = 64): Uint8Array {
  const message = new Uint8Array(bytes)
  const view = new DataView(message.buffer)
  for (let offset = 0; offset + 4 <= bytes; offset += 4) view.setUint32(offset, number + offset)
  return message
}

/** The number of a message of {@link numbered}, after checking every byte of it. */
export function numberOf(message: Uint8Array): number {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
  const number = view.getUint32(0)
  assert.deepEqual(Buffer.from(message), Buffer.from(numbered(number, message.byteLength)))
  return number
}

/** Pulls `count` messages and leaves the channel open. */
export async function take(
  messages: AsyncGenerator<BulkMessage, void, undefined>,
  count: number,
): Promise<BulkMessage[]> {
  const taken: BulkMessage[] = []
  while (taken.length < count) {
    const next = await messages.next()
    assert.ok(!next.done, `the channel ended after ${taken.length} of ${count} messages`)
    taken.push(next.value)
  }
  return taken
}

export async function takeNumbers(
  messages: AsyncGenerator<BulkMessage, void, undefined>,
  count: number,
): Promise<number[]> {
  return (await take(messages, count)).map(({ bytes }) => numberOf(bytes))
}

/** `first`, `first + 1`, ... */
export function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => first + index)
}

/** Waits until `holds()`, which must come true: the runner's time limit is the deadline. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await turn()
}

/** Gives a channel the chance to do what it must not do. */
export async function rest(): Promise<void> {
  for (let turns = 0; turns < TURNS_OF_REST; turns++) await turn()
}

async function turn(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve)
  })
}

/** Bytes of the longest bulk messages that fit a buffer beside the reserve for control. */
export function fullBytes({ messageBytesMax, bufferBytesMax }: BulkChannel): number {
  const windowBytes = bufferBytesMax - Math.floor(bufferBytesMax / 16)
  return Math.floor(windowBytes / messageBytesMax) * messageBytesMax
}

/** After {@link sendUntilFull}, nobody reading: waits until both buffers are full. */
export async function untilFull(channel: BulkChannel): Promise<void> {
  const bytes = fullBytes(channel)
  await until(() => {
    const { acceptedBytes, acknowledgedBytes } = channel.stats()
    return acknowledgedBytes >= bytes && acceptedBytes >= 2 * bytes
  })
}

/** The longest control message. */
export function controlBytesMax({ messageBytesMax, bufferBytesMax }: BulkChannel): number {
  return Math.min(messageBytesMax, Math.floor(bufferBytesMax / 16))
}

/** Sends until calls wait for room. Returns the promises of all calls, in order. */
export function sendUntilFull(channel: BulkChannel): Promise<void>[] {
  const bytes = channel.messageBytesMax
  const count = Math.ceil((3 * channel.bufferBytesMax) / bytes)
  return range(0, count).map(async (number) => await channel.send(numbered(number, bytes)))
}

export function expectCode(promise: Promise<unknown>, code: string): Promise<void> {
  return assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof Error && 'code' in error, String(error))
    assert.equal(error.code, code)
    return true
  })
}

/** Resolves with the detail of the next event of that type. */
export function nextEvent<Type extends 'suspended' | 'resumed' | 'closed'>(
  channel: BulkChannel,
  type: Type,
): Promise<unknown> {
  return new Promise((resolve) => {
    channel.addEventListener(type, ({ detail }) => resolve(detail), { once: true })
  })
}

/** A case whose body gets the setup, disposed afterwards. */
export function caseOf(
  name: string,
  body: (setup: BulkChannelSetup) => Promise<void>,
): { name: string; run(setup: () => Promise<BulkChannelSetup>): Promise<void> } {
  return {
    name,
    run: async (setup) => {
      await using channels = await setup()
      await body(channels)
    },
  }
}
