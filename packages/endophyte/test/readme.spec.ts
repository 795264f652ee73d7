/** The README's table of limits says what the code does. */
import { readFileSync } from 'node:fs'
import type { NodeId } from '@mycelium/interface'
import { BACKUPS_MAX } from '@mycelium/ram'
import { expect, it } from 'vitest'
import { INTERVAL_MS_MAX, INTERVAL_MS_MIN, RELEASE_MS_MAX } from '../src/constants.ts'
import {
  LEASE_RECORD_BYTES_MAX,
  LEASE_TTL_MS_MAX,
  LEASE_TTL_MS_MIN,
} from '../src/core/lease-messages.ts'
import { LEASE_NAMES_MAX, LEASE_WAITERS_MAX } from '../src/core/lease-table.ts'
import { HELD_BYTES_MAX } from '../src/core/output-gate.ts'
import {
  MEMORY_BYTES_MAX,
  MEMORY_BYTES_MIN,
  MEMORY_BYTES_STEP,
  VCPUS_MAX,
} from '../src/core/qemu-command.ts'
import { STATE_BYTES_MAX } from '../src/core/state-difference.ts'
import { IN_SYNC_MAX } from '../src/core/vm-record.ts'
import { createEndophyteHost, type EndophyteHostDeps } from '../src/index.ts'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
const mebibyte = 2 ** 20
const grouped = (value: number): string => value.toLocaleString('en')

it('the limits are the constants', () => {
  const [, chapter = ''] = readme.split('\n## Limits\n')
  const [table = ''] = chapter.split('\n## ')
  const rows = [...table.matchAll(/^\| (.+) \| (.+) \|$/gm)].slice(2).map(([, ...row]) => row)
  expect(MEMORY_BYTES_STEP).toBe(mebibyte)
  expect(IN_SYNC_MAX).toBe(BACKUPS_MAX)
  expect(rows).toEqual([
    [
      'memory of a guest',
      `${MEMORY_BYTES_MIN / mebibyte} MiB to ${MEMORY_BYTES_MAX / 2 ** 40} TiB, in whole MiB; ` +
        `1 to ${VCPUS_MAX} vCPUs`,
    ],
    ['backups', `${BACKUPS_MAX}`],
    [
      '`intervalMs`, `ttlMs`',
      `${INTERVAL_MS_MIN} to ${grouped(INTERVAL_MS_MAX)} and ` +
        `${LEASE_TTL_MS_MIN} to ${grouped(LEASE_TTL_MS_MAX)}`,
    ],
    ['device state', `${STATE_BYTES_MAX / mebibyte} MiB with its head`],
    [
      'output that waits for backups',
      `${HELD_BYTES_MAX / mebibyte} MiB; what comes on top is dropped, and a line says so`,
    ],
    [
      'lease names, requests that wait for one',
      `${grouped(LEASE_NAMES_MAX)} and ${LEASE_WAITERS_MAX}`,
    ],
    ['record of a lease', `${LEASE_RECORD_BYTES_MAX / 1024} KiB`],
    ['giving a lease back when a host stops', `${RELEASE_MS_MAX / 1000} s, then it runs out`],
  ])
})

it.each([
  ['intervalMs', { intervalMs: INTERVAL_MS_MIN - 1, ttlMs: LEASE_TTL_MS_MIN }],
  ['intervalMs', { intervalMs: INTERVAL_MS_MAX + 1, ttlMs: LEASE_TTL_MS_MIN }],
  ['ttlMs', { intervalMs: INTERVAL_MS_MIN, ttlMs: LEASE_TTL_MS_MIN - 1 }],
  ['ttlMs', { intervalMs: INTERVAL_MS_MAX, ttlMs: LEASE_TTL_MS_MAX + 1 }],
])('%s just beyond is refused: %j', (name, times) => {
  const config = { vm: 'tested', self: 'a' as NodeId, peers: [] }
  const create = () => createEndophyteHost({} as EndophyteHostDeps, { ...config, ...times })
  expect(create).toThrow(RangeError)
  expect(create).toThrow(new RegExp(`^${name} must be `))
})

it('times at the bounds are taken', () => {
  for (const [intervalMs, ttlMs] of [
    [INTERVAL_MS_MIN, LEASE_TTL_MS_MIN],
    [INTERVAL_MS_MAX, LEASE_TTL_MS_MAX],
  ] as const) {
    const config = { vm: 'tested', self: 'a' as NodeId, peers: [], intervalMs, ttlMs }
    expect(createEndophyteHost({} as EndophyteHostDeps, config)).toBeDefined()
  }
})
