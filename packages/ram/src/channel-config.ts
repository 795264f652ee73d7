import { windowBytes } from './core/session-lanes.ts'
import { BUFFER_BYTES_MIN } from './core/session-constants.ts'

/** Bounds and times of a channel. Both ends use the smaller of their sizes. */
export interface ChannelInit {
  /**
   * Longest message in bytes; at most 15/16 of the buffer. The receiver holds one in memory while
   * it comes in.
   *
   * @default 16_777_216
   */
  readonly messageBytesMax?: number
  /**
   * Accepted and unacknowledged bytes at the sender, and unread bytes at the receiver. About
   * bandwidth x round trip keeps a link busy; more only delays the moment when `send` waits.
   *
   * @default 67_108_864
   */
  readonly bufferBytesMax?: number
  /** A ping goes so often, in milliseconds. @default 1_000 */
  readonly keepAliveMs?: number
  /**
   * A link that is silent for so long is given up. Shorter finds a dead link sooner, longer bears a
   * stall of the peer; at least 2 x `keepAliveMs`.
   *
   * @default 5_000
   */
  readonly silenceMs?: number
  /**
   * Without a link for so long the session is lost. Longer keeps its memory for longer.
   *
   * @default 30_000
   */
  readonly graceMs?: number
  /** Time for one connection with its greeting. @default 5_000 */
  readonly connectMs?: number
  /** Wait before the second attempt of a row, half of it random; doubles each time. @default 10 */
  readonly backoffMs?: number
  /** Bound on that wait: how late a healed network is noticed. @default 1_000 */
  readonly backoffMsMax?: number
}

export type ChannelConfig = Required<ChannelInit>

const DEFAULTS: ChannelConfig = Object.freeze({
  messageBytesMax: 16 * 1024 * 1024,
  bufferBytesMax: 64 * 1024 * 1024,
  keepAliveMs: 1_000,
  silenceMs: 5_000,
  graceMs: 30_000,
  connectMs: 5_000,
  backoffMs: 10,
  backoffMsMax: 1_000,
})

/** Longest message and buffer: lengths have 32 bits on the wire. */
const BYTES_MAX: number = 2 ** 32 - 1

/**
 * The configuration that `init` means.
 *
 * @throws {RangeError} a value is out of bounds
 */
export function resolveChannelConfig(init: ChannelInit): ChannelConfig {
  const config = Object.freeze({ ...DEFAULTS, ...init })
  const { messageBytesMax, bufferBytesMax, keepAliveMs, silenceMs } = config
  const check = (name: string, value: number, min: number, max: number): void => {
    if (!(value >= min && value <= max)) {
      throw new RangeError(`${name} must be ${min}..${max}, got ${value}`)
    }
  }
  check('bufferBytesMax', bufferBytesMax, BUFFER_BYTES_MIN, BYTES_MAX)
  check('messageBytesMax', messageBytesMax, 1, windowBytes('bulk', bufferBytesMax))
  for (const name of ['keepAliveMs', 'graceMs', 'connectMs', 'backoffMs'] as const) {
    check(name, config[name], 1, 2 ** 31 - 1)
  }
  check('silenceMs', silenceMs, 2 * keepAliveMs, 2 ** 31 - 1)
  check('backoffMsMax', config.backoffMsMax, config.backoffMs, 2 ** 31 - 1)
  return config
}
