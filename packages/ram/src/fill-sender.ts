import type { BulkChannel } from '@mycelium/interface'
import { FILL_CHUNKS_UNDER_WAY_MAX } from './constants.ts'
import { giveBack } from './give-back.ts'

/** Sends chunks of fills, a bounded number at once on each channel, and gives back their memory. */
export class FillSender {
  /** For each message that the channel may still read: settles when it does so no more. */
  readonly #underWay = new WeakMap<BulkChannel, Promise<void>[]>()

  /**
   * Resolves when the next chunk may be made. `message` is empty after it was received. Rejects as
   * {@link BulkChannel.send}.
   */
  async send(channel: BulkChannel, message: Uint8Array): Promise<void> {
    const underWay = this.#underWay.get(channel) ?? []
    this.#underWay.set(channel, underWay)
    const { promise, resolve } = Promise.withResolvers<void>()
    underWay.push(promise)
    await channel.send(message, {
      onReleased: () => {
        giveBack(message)
        resolve()
      },
    })
    if (underWay.length >= FILL_CHUNKS_UNDER_WAY_MAX) await underWay.shift()
  }
}
