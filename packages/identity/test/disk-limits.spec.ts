/** The README's table of limits says what the code does: rows about disk, audit and the monitor. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'vitest'
import { AUDIT_WAITING_MAX } from '../src/audit-log.ts'
import { AUDIT_DETAILS_MAX, AUDIT_TEXT_CHARS_MAX } from '../src/core/audit-codec.ts'
import { AUDIT_UNSIGNED_MAX, AUDIT_UNSIGNED_MS } from '../src/core/audit.ts'
import { RULES, SOURCES_MAX } from '../src/core/security-monitor.ts'
import {
  STRANGER_BURST,
  STRANGER_REFILL,
  STRANGER_WINDOW_MS,
} from '../src/core/stranger-windows.ts'
import { RECORD_BYTES_MAX, STORE_CALLS_MAX } from '../src/store.ts'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8').replaceAll(/ +/g, ' ')
const seconds = STRANGER_WINDOW_MS / 1000

test.each([
  `| a record of the store | ${RECORD_BYTES_MAX / 2 ** 20} MiB |`,
  `| calls of a store at once | ${STORE_CALLS_MAX} |`,
  `texts of ${AUDIT_TEXT_CHARS_MAX} characters, ${AUDIT_DETAILS_MAX} details`,
  `a signature after them | ${AUDIT_UNSIGNED_MAX}, or those of ${AUDIT_UNSIGNED_MS / 1000} s |`,
  `wait for the disk | ${AUDIT_WAITING_MAX.toLocaleString('en')};`,
  `${STRANGER_BURST} at once and ${STRANGER_REFILL} each ${seconds} s`,
  `counts apart | ${SOURCES_MAX.toLocaleString('en')} |`,
  ...RULES.map(({ perSource, inAll }) => `(${perSource}, ${inAll})`),
])('%s', (text) => {
  assert.ok(readme.includes(text))
})
