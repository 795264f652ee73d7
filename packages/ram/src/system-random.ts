import { randomBytes, randomInt } from 'node:crypto'
import type { Random } from '@mycelium/interface'

const BOUND_MAX: number = 2 ** 32

/** Random numbers of the system's CSPRNG. All streams are independent, so `fork` names nothing. */
export function createSystemRandom(): Random {
  const random: Random = {
    bytes: (length) => new Uint8Array(randomBytes(length)),
    below: (bound) => {
      if (!Number.isInteger(bound) || bound < 1 || bound > BOUND_MAX) {
        throw new RangeError(`bound must be an integer in 1..2^32, got ${bound}`)
      }
      return randomInt(bound)
    },
    fork: () => random,
  }
  return random
}
