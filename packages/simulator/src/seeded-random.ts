import type { Random } from '@mycelium/interface'

const WORDS = 4
const BOUND_MAX: number = 2 ** 32

/**
 * Random numbers that depend on `seed` and `name` only.
 *
 * Generator: xoshiro128**, version 1.1 (David Blackman and Sebastiano Vigna, "Scrambled Linear
 * Pseudorandom Number Generators", ACM TOMS 47, 2021). Its 128 bits of state come from the hash of
 * seed and name, so that streams of neighbouring seeds share nothing. Not for secrets.
 *
 * @throws {RangeError} `seed` is no integer in 0..2^53 - 1
 */
export function createSeededRandom(seed: number, name = ''): Random {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(`seed must be an integer in 0..2^53 - 1, got ${seed}`)
  }
  return new Xoshiro(`${seed}/${name}`)
}

class Xoshiro implements Random {
  readonly #path: string
  readonly #state: Uint32Array

  constructor(path: string) {
    this.#path = path
    this.#state = Uint32Array.from({ length: WORDS }, (_, word) => hashText(path, word))
    // The one state that never changes; reached by no path we know of.
    if (this.#state.every((word) => word === 0)) this.#state[0] = 1
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    for (let index = 0; index < length; index++) bytes[index] = this.#next() >>> 24
    return bytes
  }

  below(bound: number): number {
    if (!Number.isInteger(bound) || bound < 1 || bound > BOUND_MAX) {
      throw new RangeError(`bound must be an integer in 1..2^32, got ${bound}`)
    }
    // Numbers of the last, incomplete round are thrown away: else small results came more often.
    const limit = BOUND_MAX - (BOUND_MAX % bound)
    for (;;) {
      const value = this.#next()
      if (value < limit) return value % bound
    }
  }

  fork(name: string): Random {
    return new Xoshiro(`${this.#path}/${name}`)
  }

  #next(): number {
    const [s0 = 0, s1 = 0, s2 = 0, s3 = 0] = this.#state
    const result = Math.imul(rotateLeft(Math.imul(s1, 5), 7), 9) >>> 0
    const t2 = s2 ^ s0
    const t3 = s3 ^ s1
    this.#state[1] = s1 ^ t2
    this.#state[0] = s0 ^ t3
    this.#state[2] = t2 ^ (s1 << 9)
    this.#state[3] = rotateLeft(t3, 11)
    return result
  }
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits))
}

/**
 * FNV-1a (Fowler, Noll, Vo) over the code units, begun with `salt`, then the finaliser of
 * MurmurHash3 (Austin Appleby) so that all bits depend on all.
 */
function hashText(text: string, salt: number): number {
  let hash = Math.imul(0x811c9dc5 ^ salt, 0x01000193)
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
