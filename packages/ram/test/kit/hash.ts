/**
 * A hash of 64 bits for tests that do without the addon. Any change of one byte changes it: the
 * first half is FNV-1a, whose every step can be undone.
 */
export function testHash(bytes: Uint8Array): bigint {
  let high = 0x811c9dc5
  let low = 0x9e3779b9
  for (const byte of bytes) {
    high = Math.imul(high ^ byte, 0x01000193)
    low = Math.imul((low ^ (low >>> 15)) + byte, 0x2c1b3c6d)
  }
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
}
