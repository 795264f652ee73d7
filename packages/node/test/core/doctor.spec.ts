import { expect, test } from 'vitest'
import {
  examine,
  MEMORY_LEAST_BYTES,
  MEMORY_NEEDED_BYTES,
  renderReport,
  type CheckStatus,
  type DoctorCheck,
  type DoctorFacts,
} from '../../src/core/doctor.ts'

const good: DoctorFacts = {
  kernelRelease: '6.12.0-1-amd64',
  architecture: 'x86_64',
  pageBytes: 4_096,
  clockSource: 'tsc',
  tiers: { value: { works: ['async', 'sync', 'hash', 'shadow'], rejected: [] } },
  ptraceScope: 1,
  mayTraceAll: false,
  isRoot: false,
  qemu: { value: '/usr/bin/qemu-system-x86_64 7.2.22' },
  guestImage: { value: 'linux-image-6.1.0-9-cloud-amd64' },
  accelerator: { name: 'kvm', reason: 'a guest boots with it' },
  memoryAvailableBytes: 8 * 2 ** 30,
  memoryFile: { value: true },
  temporaryFolder: { value: '/tmp' },
}

function check(name: string, facts: Partial<DoctorFacts>): DoctorCheck {
  const found = examine({ ...good, ...facts }).checks.find((one) => one.name === name)
  if (!found) throw new RangeError(`name must be that of a check, got ${name}`)
  return found
}

test('a good machine: all ok, nothing to do', () => {
  const report = examine(good)
  expect(report.ok).toBe(true)
  expect(report.checks.filter(({ status, fix }) => status !== 'ok' || fix !== undefined)).toEqual(
    [],
  )
  expect(renderReport(report)).toEqual([
    'ok    kernel       Linux 6.12.0-1-amd64, x86_64',
    'ok    dirty pages  found by --tier async, sync, hash, shadow, each passed its self-test',
    'ok    ptrace       ptrace_scope 1: QEMU may be asked for its page tracking',
    'ok    QEMU         /usr/bin/qemu-system-x86_64 7.2.22',
    'ok    guest image  linux-image-6.1.0-9-cloud-amd64, busybox, load program',
    'ok    KVM          a guest boots with it',
    'ok    memory       8192 MiB available',
    'ok    /dev/shm     takes files without a name',
    "ok    TMPDIR       /tmp takes the demo's folder",
    'ok    user         not root: QEMU runs as you, in a sandbox',
    'ok    page size    4096 bytes',
    'ok    clock        clock source tsc',
    'the demo can run here',
  ])
})

test.each<[string, Partial<DoctorFacts>, CheckStatus]>([
  ['kernel', { kernelRelease: '6.7.0' }, 'ok'],
  ['kernel', { kernelRelease: '6.6.99' }, 'warn'],
  ['kernel', { kernelRelease: '5.15.0-91-generic' }, 'warn'],
  ['kernel', { kernelRelease: '7.0.0' }, 'ok'],
  ['kernel', { architecture: 'aarch64', kernelRelease: '6.9.0' }, 'warn'],
  ['kernel', { architecture: 'aarch64', kernelRelease: '6.10.0' }, 'ok'],
  ['kernel', { architecture: 'riscv64' }, 'fail'],
  ['dirty pages', { tiers: { problem: 'no addon' } }, 'fail'],
  ['dirty pages', { tiers: { value: { works: [], rejected: [] } } }, 'fail'],
  ['ptrace', { ptraceScope: undefined }, 'ok'],
  ['ptrace', { ptraceScope: 2 }, 'warn'],
  ['ptrace', { ptraceScope: 2, mayTraceAll: true }, 'ok'],
  ['ptrace', { ptraceScope: 3, mayTraceAll: true }, 'warn'],
  ['QEMU', { qemu: { problem: 'missing', fix: 'install it' } }, 'fail'],
  ['guest image', { guestImage: { problem: 'no apt' } }, 'fail'],
  ['KVM', { accelerator: { name: 'tcg', reason: 'no device' } }, 'warn'],
  ['KVM', { accelerator: undefined }, 'warn'],
  ['memory', { memoryAvailableBytes: MEMORY_NEEDED_BYTES }, 'ok'],
  ['memory', { memoryAvailableBytes: MEMORY_NEEDED_BYTES - 1 }, 'warn'],
  ['memory', { memoryAvailableBytes: MEMORY_LEAST_BYTES }, 'warn'],
  ['memory', { memoryAvailableBytes: MEMORY_LEAST_BYTES - 1 }, 'fail'],
  ['memory', { memoryAvailableBytes: undefined }, 'warn'],
  ['/dev/shm', { memoryFile: { problem: 'ENOENT' } }, 'fail'],
  ['TMPDIR', { temporaryFolder: { problem: 'it is full', fix: 'free some' } }, 'fail'],
  ['user', { isRoot: true }, 'ok'],
  ['page size', { pageBytes: 65_536 }, 'warn'],
  ['page size', { pageBytes: undefined }, 'warn'],
  ['clock', { clockSource: 'hpet' }, 'warn'],
  ['clock', { clockSource: undefined }, 'ok'],
])('%s with %j: %s', (name, facts, status) => {
  expect(check(name, facts).status).toBe(status)
  expect(examine({ ...good, ...facts }).ok).toBe(status !== 'fail')
})

test('says which tiers work, and why the others do not', () => {
  const noScan = { tier: 'async', reason: 'no PAGEMAP_SCAN' }
  const noRight = { tier: 'sync', reason: 'EPERM' }
  const slow = { works: ['hash'], rejected: [noScan, noRight] }
  expect(check('dirty pages', { tiers: { value: slow } })).toEqual({
    name: 'dirty pages',
    status: 'warn',
    detail:
      'found by --tier hash, which passed its self-test; not by async: no PAGEMAP_SCAN; ' +
      'not by sync: EPERM',
    fix: 'see kernel',
  })
  const best = { works: ['async', 'hash', 'shadow'], rejected: [noRight] }
  expect(check('dirty pages', { tiers: { value: best } })).toEqual({
    name: 'dirty pages',
    status: 'ok',
    detail: 'found by --tier async, hash, shadow, each passed its self-test; not by sync: EPERM',
  })
})

test('about KVM there is one hint: what lets this user in, or another machine', () => {
  const accelerator = { name: 'tcg', reason: '/dev/kvm may not be opened by this user' } as const
  const fix = 'sudo usermod -aG kvm $USER, then log in again'
  expect(check('KVM', { accelerator: { ...accelerator, fix } })).toMatchObject({
    detail: expect.not.stringContaining('sudo') as string,
    fix,
  })
  expect(check('KVM', { accelerator }).fix).toMatch(/^use a machine with hardware virtualisation/)
})

test('a failure is rendered with what to do, and the verdict', () => {
  const report = examine({
    ...good,
    qemu: { problem: 'qemu-system-x86_64 is not installed', fix: 'sudo apt-get install x' },
  })
  expect(renderReport(report)).toContain(
    'fail  QEMU         qemu-system-x86_64 is not installed  -> sudo apt-get install x',
  )
  expect(renderReport(report).at(-1)).toBe('the demo cannot run here')
})
