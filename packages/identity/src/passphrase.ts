/** Keys made from passphrases: scrypt (RFC 7914; r = 8, p = 1). */
import { scrypt } from 'node:crypto'
import type { AbortOptions } from '@mycelium/interface'
import { KEY_BYTES } from './constants.ts'

/** 2^17 x 8 x 128 bytes = 128 MiB for a third of a second: OWASP's advice for scrypt. */
export const COST_LOG2 = 17
/** Below, guessing is cheap. Above, a file from elsewhere could take all memory (1 GiB). */
export const COST_LOG2_MIN = 14
export const COST_LOG2_MAX = 20
const BLOCK_SIZE = 8
const PASSPHRASE_BYTES_MAX = 1024

/**
 * 32 bytes from a passphrase, in a thread of the pool; an abort is seen before and after.
 *
 * @throws {RangeError} the passphrase has not 1..1,024 bytes of UTF-8 after NFKC
 */
export async function deriveKey(
  passphrase: string,
  { salt, costLog2 }: { readonly salt: Uint8Array; readonly costLog2: number },
  { signal }: AbortOptions,
): Promise<Buffer> {
  const typed = Buffer.from(passphrase.normalize('NFKC'))
  if (typed.length < 1 || typed.length > PASSPHRASE_BYTES_MAX) {
    const what = `1..${PASSPHRASE_BYTES_MAX} bytes (got ${typed.length})`
    throw new RangeError(`passphrase: must have ${what}`)
  }
  signal?.throwIfAborted()
  const cost = 2 ** costLog2
  // Node's bound is 32 MiB if it is not told otherwise.
  const maxmem = 2 * 128 * cost * BLOCK_SIZE
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      const parameters = { cost, blockSize: BLOCK_SIZE, parallelization: 1, maxmem }
      scrypt(typed, salt, KEY_BYTES, parameters, (error, key) => {
        if (error !== null) reject(error)
        else resolve(key)
      })
    })
  } finally {
    typed.fill(0)
    signal?.throwIfAborted()
  }
}
