import {
  HANDLERS_DEFAULT,
  MESSAGE_BYTES_DEFAULT,
  MESSAGE_BYTES_LIMIT,
  QUEUE_MAX,
  QUEUE_MESSAGES_OF_LONGEST,
  STREAM_RETRY_MS,
} from './constants.ts'
import type { LaneConfig } from './lane.ts'
import { FRAME_OVERHEAD_BYTES } from './wire.ts'

export interface TransportInit {
  /**
   * Versions `<major>.<minor>` that this node speaks, newest first, 1..4: the newest that both
   * speak is used. @default ['1.0']
   */
  readonly versions?: readonly string[]
  /** Longest message, 1..4_194_304 bytes; the same at all nodes. @default 262_144 */
  readonly messageBytesMax?: number
  /** Requests of one peer handled at once, 1..1_024; more are refused. @default 32 */
  readonly handlersMax?: number
  /**
   * Messages and questions that wait for one peer, in bytes; at least one of the longest. More
   * bears longer stalls, at the cost of memory and of older messages. @default 4 of the longest
   */
  readonly queueBytesMax?: number
}

const NAME = /^[a-z][a-z0-9-]{0,31}$/
const VERSION = /^(?:0|[1-9]\d{0,3})\.(?:0|[1-9]\d{0,3})$/
const VERSIONS_MAX = 4
const HANDLERS_MAX = 1_024
const QUEUE_BYTES_MAX = 2 ** 26

/** @throws {TypeError} a name or version that is none. @throws {RangeError} out of bounds */
export function resolveTransport(
  name: string,
  init: TransportInit,
): { readonly protocols: readonly string[]; readonly lanes: LaneConfig } {
  const { versions = ['1.0'] } = init
  if (!NAME.test(name)) throw new TypeError(`name must match ${NAME}, got ${name}`)
  if (versions.length < 1 || versions.length > VERSIONS_MAX) {
    throw new RangeError(`versions must be 1..${VERSIONS_MAX}, got ${versions.length}`)
  }
  for (const version of versions) {
    if (!VERSION.test(version)) {
      throw new TypeError(`versions must be <major>.<minor>, got ${version}`)
    }
  }
  if (new Set(versions).size < versions.length) {
    throw new TypeError(`versions must differ, got ${versions.join()}`)
  }
  const messageBytesMax = init.messageBytesMax ?? MESSAGE_BYTES_DEFAULT
  const handlersMax = init.handlersMax ?? HANDLERS_DEFAULT
  const longest = messageBytesMax + FRAME_OVERHEAD_BYTES
  const queueBytesMax = init.queueBytesMax ?? QUEUE_MESSAGES_OF_LONGEST * longest
  checkRange('messageBytesMax', messageBytesMax, 1, MESSAGE_BYTES_LIMIT)
  checkRange('handlersMax', handlersMax, 1, HANDLERS_MAX)
  checkRange('queueBytesMax', queueBytesMax, longest, QUEUE_BYTES_MAX)
  return {
    protocols: versions.map((version) => `/mycelium/${name}/${version}`),
    lanes: {
      messageBytesMax,
      handlersMax,
      queueBytesMax,
      queueMax: QUEUE_MAX,
      retryMs: STREAM_RETRY_MS,
    },
  }
}

function checkRange(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return
  throw new RangeError(`${name} must be an integer in ${min}..${max}, got ${value}`)
}
