/** The README's tables say what the code does. */
import { readFileSync } from 'node:fs'
import { CodedError } from '@mycelium/interface'
import { describe, expect, it } from 'vitest'
import * as constants from '../src/constants.ts'
import * as errors from '../src/errors.ts'
import * as identity from '../src/index.ts'

const read = (file: string): string => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8')
const readme = read('README.md')

function chapter(name: string): string {
  const [, text = ''] = readme.split(`\n## ${name}\n`)
  const [body = ''] = text.split('\n## ')
  return body
}

/** Cells of the tables of a chapter, without their heads. */
function tableOf(name: string): string[][] {
  return chapter(name)
    .split('\n')
    .filter((line) => line.startsWith('| ') && !/^\| -+/.test(line))
    .slice(1)
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
}
const bare = (cell = ''): string => cell.replaceAll('`', '')

describe('the errors', () => {
  it('are all exported, named as their classes, and in the table with their codes', () => {
    const source = `${read('src/errors.ts')}${read('src/disk-errors.ts')}`
    const codes = [...source.matchAll(/class (\w+) extends CodedError<'(\w+)'>/g)].map(
      ([, name = '', code]) => {
        const ErrorClass: unknown = Object.entries(identity).find(([key]) => key === name)?.[1]
        expect(ErrorClass, name).toBeTypeOf('function')
        expect((ErrorClass as { readonly prototype: object }).prototype).toBeInstanceOf(CodedError)
        return `${code} ${name}`
      },
    )
    const rows = tableOf('Errors').map(([code, name]) => `${bare(code)} ${bare(name)}`)
    expect(rows.toSorted()).toEqual(codes.toSorted())
    expect(Object.keys(errors).length).toBeGreaterThan(0)
  })
})

describe('the exports', () => {
  it('that can be called are in the tables', () => {
    const api = chapter('API')
    const functions = Object.entries(identity)
      .filter(([name, value]) => typeof value === 'function' && !name.endsWith('Error'))
      .map(([name]) => name)
    for (const name of functions) expect(api, name).toContain(`\`${name}(`)
  })
})

describe('the limits', () => {
  it('are the constants', () => {
    const limits = tableOf('Limits').map((cells) => cells.join(' '))
    const count = (value: number): string => value.toLocaleString('en')
    const expected = [
      `rotation ${constants.ENVELOPE_BYTES_MAX / 1024} KiB, ${constants.SIGNATURES_MAX} signatures`,
      `${constants.GENESIS_BYTES_MAX / 1024} KiB, ${constants.GENESIS_NODES_MAX} genesis nodes`,
      `in each other ${constants.CBOR_DEPTH_MAX}`,
      `${count(constants.TOKEN_CHARS_MAX)} characters, ${constants.TOKEN_ISSUERS_MAX} issuers`,
      `with ${constants.ISSUER_ADDRESSES_MAX} addresses`,
      `network ${constants.NAME_CHARS_MAX} characters`,
      `${constants.LABELS_MAX} of ${constants.LABEL_CHARS_MAX} characters`,
      `${constants.CERTIFICATE_LIFETIME_S / 86_400} days by default`,
      `${constants.CERTIFICATE_LIFETIME_S_MAX / 86_400} at most; renewed`,
      `from 1/${constants.RENEWAL_DIVISOR} of it`,
      `${constants.CLOCK_SKEW_S} s of difference`,
      `${constants.ROTATION_OVERLAP_S / 3_600} hours by default`,
      `${constants.ROTATION_OVERLAP_S_MAX / 86_400} days at most`,
      `network key ${count(constants.ROTATIONS_MAX)}`,
      `count ${count(constants.FACTS_MAX)}, of one issuer ${count(constants.FACTS_PER_ISSUER_MAX)}`,
      `authorities ${count(constants.AUTHORITY_FACTS_MAX)}`,
      `until they count ${count(constants.FACTS_HELD_MAX)}`,
      `under one number ${constants.FACT_VARIANTS_MAX}`,
      `of a vector ${count(constants.VECTOR_ENTRIES_MAX)}`,
    ]
    for (const text of expected) {
      expect(
        limits.some((limit) => limit.includes(text)),
        text,
      ).toBe(true)
    }
  })
})
