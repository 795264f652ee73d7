import { describe, expect, it } from 'vitest'
import { TOKEN_CHARS_MAX } from '../../src/constants.ts'
import { nodeIdOf } from '../../src/core/ids.ts'
import type { JoinToken } from '../../src/core/model.ts'
import { decodeToken, encodeToken, isTokenExpired, tokenKeyOf } from '../../src/core/token.ts'
import { DocumentError, TokenError } from '../../src/errors.ts'
import { bytesOf, crypto, NOW, paperNetwork, signerOf } from '../kit/documents.ts'

const token: JoinToken = {
  network: paperNetwork().id,
  tokenId: bytesOf(16, 1),
  secret: bytesOf(32, 0xab),
  expiresAt: NOW,
  issuers: [{ node: nodeIdOf(signerOf(1).publicKey), addresses: ['/ip4/192.0.2.1/tcp/4001'] }],
}
const text = encodeToken(token)

describe('a token', () => {
  it('comes back, also from a mail that broke its line', () => {
    expect(text).toMatch(/^myc1_[A-Za-z0-9_-]+$/)
    expect(decodeToken(text)).toEqual(token)
    expect(decodeToken(`\n  ${text.slice(0, 70)}\r\n${text.slice(70)} `)).toEqual(token)
  })

  it.each([
    ['', 'there is no token'],
    ['   ', 'there is no token'],
    ['hello', 'it is something else, or cut'],
    [text.slice(1), 'it is something else, or cut'],
    [text.slice(0, -1), 'truncated or damaged'],
    [text.slice(0, 30), 'truncated or damaged'],
    ['myc1_', 'truncated or damaged'],
    [`${text}A`, 'truncated or damaged'],
    [`${text}=`, 'has characters that no token has'],
    [text.replace('myc1_', 'myc1_.'), 'has characters that no token has'],
    ['myc2_abc', 'does not begin with myc1_'],
    [`myc1_${'A'.repeat(TOKEN_CHARS_MAX)}`, 'too long'],
    [' '.repeat(3 * TOKEN_CHARS_MAX), 'too long'],
  ])('is not %j', (bad, why) => {
    expect(() => decodeToken(bad)).toThrow(TokenError)
    expect(() => decodeToken(bad)).toThrow(why)
  })

  it('is cut nowhere without notice, and no error tells any of it', () => {
    for (let length = 0; length < text.length; length++) {
      try {
        decodeToken(text.slice(0, length))
        expect.unreachable()
      } catch (error) {
        expect(error).toBeInstanceOf(TokenError)
        expect((error as Error).cause).toBeUndefined()
        expect(text.slice(5)).not.toContain((error as Error).message)
        expect((error as Error).message).not.toContain(text.slice(5, 25))
      }
    }
  })

  it.each([
    ['no issuers', { issuers: [] }],
    ['9 issuers', { issuers: new Array<JoinToken['issuers'][number]>(9).fill(token.issuers[0]!) }],
    ['an issuer that is none', { issuers: [{ node: 'x' as never, addresses: [] }] }],
    [
      '17 addresses',
      { issuers: [{ ...token.issuers[0]!, addresses: new Array<string>(17).fill('/x') }] },
    ],
    ['a long address', { issuers: [{ ...token.issuers[0]!, addresses: ['x'.repeat(257)] }] }],
    ['an empty address', { issuers: [{ ...token.issuers[0]!, addresses: [''] }] }],
    ['a short secret', { secret: bytesOf(31, 1) }],
    ['a short id', { tokenId: bytesOf(15, 1) }],
  ] satisfies readonly (readonly [string, Partial<JoinToken>])[])('has not %s', (_, changes) => {
    expect(() => encodeToken({ ...token, ...changes })).toThrow(DocumentError)
  })

  it('is not made longer than can be read', () => {
    const [issuer] = token.issuers
    if (issuer === undefined) throw new Error('no issuer')
    const addresses = (count: number): readonly string[] => new Array(count).fill('x'.repeat(256))
    const long = (counts: readonly number[]): JoinToken => ({
      ...token,
      issuers: counts.map((count) => ({ ...issuer, addresses: addresses(count) })),
    })
    expect(decodeToken(encodeToken(long([11])))).toEqual(long([11]))
    expect(() => encodeToken(long([12]))).toThrow(RangeError)
    expect(() => encodeToken(long([16]))).toThrow(/token: /)
  })

  it('expires at its second', () => {
    expect([NOW - 1, NOW].map((now) => isTokenExpired(token, now))).toEqual([false, true])
  })

  it('is kept by its issuer as a hash', () => {
    const expected = crypto.sha256(
      Uint8Array.from([...new TextEncoder().encode('mycelium/token/1'), ...token.secret]),
    )
    expect(tokenKeyOf(crypto, token.secret)).toEqual(expected)
  })
})
