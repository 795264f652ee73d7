import type { FillChunk, NativeImage } from './addon.ts'
import { FILLS_WAITING_MAX } from './constants.ts'

/** One message of a fill. */
export interface Fill extends FillChunk {
  /** Called once, when `payload` is not read any more. */
  readonly onRead: () => void
}

/**
 * Gives fills to an image, all that wait with one call. One by one, the image would wait after each
 * for the event loop, which reads a socket for milliseconds before it looks at anything else.
 */
export class ImageFiller {
  readonly #image: NativeImage
  #waiting: Fill[] = []
  #running: Promise<void> | undefined
  /** Those that wait were taken. */
  #taken = Promise.withResolvers<void>()

  constructor(image: NativeImage) {
    this.#image = image
  }

  /**
   * Resolves when another may be added.
   *
   * @param onFailed - the image refused one of those that were not done yet; it has none of what
   *   came after it
   */
  async add(fill: Fill, onFailed: (error: unknown) => void): Promise<void> {
    this.#waiting.push(fill)
    const { promise: taken } = this.#taken
    this.#running ??= this.#run(onFailed)
    if (this.#waiting.length >= FILLS_WAITING_MAX) await taken
  }

  /** Resolves when the image is not at work for a fill. */
  async idle(): Promise<void> {
    await this.#running
  }

  async #run(onFailed: (error: unknown) => void): Promise<void> {
    for (let fills = this.#take(); fills.length > 0; fills = this.#take()) {
      try {
        await this.#image.fill(fills)
      } catch (error) {
        fills.push(...this.#take())
        onFailed(error)
      }
      for (const { onRead } of fills) onRead()
    }
    this.#running = undefined
  }

  #take(): Fill[] {
    const taken = this.#waiting
    this.#waiting = []
    this.#taken.resolve()
    this.#taken = Promise.withResolvers<void>()
    return taken
  }
}
