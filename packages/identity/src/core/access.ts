/** What a trusted node may do: six levels by trust, in integers of 1000. */

export type AccessLevel = 'full' | 'standard' | 'limited' | 'read-only' | 'restricted' | 'none'

/** Levels with the least trust that each needs, highest first. */
export const ACCESS_LEVELS: readonly {
  readonly level: AccessLevel
  readonly trustMin: number
}[] = [
  { level: 'full', trustMin: 900 },
  { level: 'standard', trustMin: 700 },
  { level: 'limited', trustMin: 500 },
  { level: 'read-only', trustMin: 300 },
  { level: 'restricted', trustMin: 100 },
  { level: 'none', trustMin: 0 },
]

/**
 * The level that some trust gives.
 *
 * @param trust - integer from 0 to 1000
 * @throws {RangeError} it is something else
 */
export function accessLevelOf(trust: number): AccessLevel {
  const found = ACCESS_LEVELS.find(({ trustMin }) => trust >= trustMin)
  if (found === undefined || !Number.isInteger(trust) || trust > 1000) {
    throw new RangeError(`trust: must be an integer from 0 to 1000 (got ${trust})`)
  }
  return found.level
}

/** Whether a level allows what needs another. */
export function isAccessAtLeast(level: AccessLevel, needed: AccessLevel): boolean {
  const rank = (name: AccessLevel): number =>
    ACCESS_LEVELS.findIndex((entry) => entry.level === name)
  return rank(level) <= rank(needed)
}
