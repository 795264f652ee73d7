import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Random } from '@mycelium/interface'
import { createSeededRandom } from '@mycelium/simulator'
import { describe, test } from 'vitest'
import { createSigner } from '../src/ed25519.ts'
import { describeKeyFile, openKeyFile, sealKeyFile } from '../src/key-file.ts'

const random: Random = createSeededRandom(1)
const seed = Uint8Array.from(randomBytes(32))
const { publicKey } = createSigner(seed)
const kind = 'node-key'
/** The cheapest that is allowed: 16 MiB and 40 ms. */
const costLog2 = 14
const passphrase = 'correct horse'
const plain = await sealKeyFile({ random }, { kind, seed })
const sealed = await sealKeyFile({ random }, { kind, seed, passphrase, costLog2 })

const has = (bytes: Uint8Array, part: Uint8Array): boolean =>
  Buffer.from(bytes).includes(Buffer.from(part))

async function codeOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
    return 'opened'
  } catch (error) {
    return (error as { code?: unknown }).code
  }
}

describe('a key file', () => {
  test('gives back its key, with and without a passphrase', async () => {
    assert.deepEqual(await openKeyFile(plain, { kind }), {
      kind,
      publicKey,
      isSealed: false,
      seed,
    })
    const opened = await openKeyFile(sealed, { kind, passphrase })
    assert.deepEqual(opened, { kind, publicKey, isSealed: true, seed })
  })

  test('says what it is without its passphrase, which hides the seed', () => {
    assert.deepEqual(describeKeyFile(plain), { kind, publicKey, isSealed: false })
    assert.deepEqual(describeKeyFile(sealed), { kind, publicKey, isSealed: true })
    assert.ok(has(plain, seed))
    assert.ok(!has(sealed, seed) && !has(sealed, new TextEncoder().encode(passphrase)))
  })

  test('is another one each time: salt and nonce are never used twice', async () => {
    const again = await sealKeyFile({ random }, { kind, seed, passphrase, costLog2 })
    assert.notDeepEqual(again, sealed)
    assert.deepEqual((await openKeyFile(again, { kind, passphrase })).seed, seed)
  })

  test('tells a missing and a wrong passphrase', async () => {
    assert.equal(await codeOf(openKeyFile(sealed, { kind })), 'ERR_IDENTITY_PASSPHRASE_MISSING')
    for (const wrong of ['Correct horse', 'correct horse ', 'x']) {
      const opening = openKeyFile(sealed, { kind, passphrase: wrong })
      assert.equal(await codeOf(opening), 'ERR_IDENTITY_PASSPHRASE_WRONG')
    }
  })

  test('opens whichever way its passphrase was typed', async () => {
    const composed = 'Gr\u00fc\u00dfe'
    const file = await sealKeyFile({ random }, { kind, seed, passphrase: composed, costLog2 })
    const opened = await openKeyFile(file, { kind, passphrase: 'Gru\u0308\u00dfe' })
    assert.deepEqual(opened.seed, seed)
  })

  test('refuses every single changed byte, and every cut', async () => {
    for (const file of [plain, sealed]) {
      for (let offset = 0; offset < file.length; offset++) {
        const changed = Uint8Array.from(file)
        changed[offset] = (changed[offset] ?? 0) ^ (1 << (offset % 8))
        const code = await codeOf(openKeyFile(changed, { kind, passphrase }))
        assert.equal(code, offset < 8 ? 'ERR_IDENTITY_KEY_FOREIGN' : 'ERR_IDENTITY_KEY_DAMAGED')
        const cut = await codeOf(openKeyFile(file.subarray(0, offset), { kind, passphrase }))
        assert.match(String(cut), /^ERR_IDENTITY_KEY_(FOREIGN|DAMAGED)$/)
      }
      const longer = await codeOf(openKeyFile(Buffer.concat([file, file]), { kind, passphrase }))
      assert.equal(longer, 'ERR_IDENTITY_KEY_DAMAGED')
    }
  })

  test('refuses other files and keys of another kind', async () => {
    const foreign = [new Uint8Array(0), new Uint8Array(300), new TextEncoder().encode('-----BEGIN')]
    for (const file of foreign) {
      assert.equal(await codeOf(openKeyFile(file, { kind })), 'ERR_IDENTITY_KEY_FOREIGN')
    }
    const other = openKeyFile(plain, { kind: 'network-key' })
    assert.equal(await codeOf(other), 'ERR_IDENTITY_KEY_FOREIGN')
  })

  test('refuses misuse by name', async () => {
    const bad = [
      { kind, seed: new Uint8Array(31) },
      { kind, seed, passphrase: '' },
      { kind, seed, passphrase: 'x'.repeat(1025) },
      { kind, seed, passphrase, costLog2: 13 },
      { kind, seed, passphrase, costLog2: 21 },
      { kind, seed, passphrase, costLog2: 14.5 },
    ] as const
    for (const init of bad) {
      await assert.rejects(sealKeyFile({ random }, init), RangeError, JSON.stringify(init))
    }
    await sealKeyFile({ random }, { kind, seed, passphrase: 'x'.repeat(1024), costLog2 })
  })

  test('takes the cost of the advice if none is given', async () => {
    const file = await sealKeyFile({ random }, { kind, seed, passphrase })
    // The text "costLog2" and then 17 in CBOR.
    assert.ok(has(file, Uint8Array.of(...new TextEncoder().encode('costLog2'), 17)))
    assert.deepEqual((await openKeyFile(file, { kind, passphrase })).seed, seed)
  })

  test('is not made after an abort', async () => {
    const reason = new Error('enough')
    const signal = AbortSignal.abort(reason)
    const init = { kind, seed, passphrase, costLog2 } as const
    await assert.rejects(sealKeyFile({ random }, init, { signal }), (error) => error === reason)
    const opening = openKeyFile(sealed, { kind, passphrase }, { signal })
    await assert.rejects(opening, (error) => error === reason)
  })
})
