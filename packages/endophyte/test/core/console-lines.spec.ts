import { expect, test } from 'vitest'
import { CONSOLE_LINE_BYTES_MAX, ConsoleLines } from '../../src/core/console-lines.ts'

function push(lines: ConsoleLines, text: string): string[] {
  return lines.push(new TextEncoder().encode(text))
}

test('gives complete lines without their ends, however they are cut', () => {
  const lines = new ConsoleLines()
  expect(push(lines, 'REA')).toEqual([])
  expect(push(lines, 'DY\r\ntick 1\r\r\n\r\nti')).toEqual(['READY', 'tick 1', ''])
  expect(push(lines, 'ck 2\n')).toEqual(['tick 2'])
})

test('a character may be cut in the middle', () => {
  const lines = new ConsoleLines()
  const bytes = new TextEncoder().encode('é\n')
  expect(lines.push(bytes.subarray(0, 1))).toEqual([])
  expect(lines.push(bytes.subarray(1))).toEqual(['é'])
})

test('bytes that are no text do not stop it', () => {
  expect(new ConsoleLines().push(Uint8Array.of(0xff, 0x61, 0x0a))).toEqual(['\ufffda'])
})

test('a line at the bound is whole, a longer one comes in pieces', () => {
  const long = 'x'.repeat(CONSOLE_LINE_BYTES_MAX - 1)
  expect(push(new ConsoleLines(), `${long}\n`)).toEqual([long])
  expect(push(new ConsoleLines(), `${long}yz\n`)).toEqual([`${long}y`, 'z'])
})
