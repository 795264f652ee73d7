import { InvalidArgumentError } from 'commander'

/** A parser of whole numbers for options. */
export function integer(min: number, max: number = 2 ** 32 - 1): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= min && value <= max) return value
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`)
  }
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 }

/** A parser of times as `30s`, `5m`, `2h`, `7d`, in seconds. */
export function duration(max: number): (text: string) => number {
  return (text) => {
    const [, digits = '', unit = ''] = /^(\d{1,9})([smhd])$/.exec(text) ?? []
    const seconds = Number(digits) * (UNITS[unit] ?? 0)
    if (seconds >= 1 && seconds <= max) return seconds
    throw new InvalidArgumentError('It must be a time as 30s, 5m, 2h or 7d, of at most 30 days.')
  }
}
