import { expect, test } from 'vitest'
import {
  cpuModelOf,
  isOlder,
  machineTypeOf,
  missingFeatures,
  parseQemuVersion,
  QEMU_VERSION_MIN,
} from '../../src/core/qemu-probe.ts'

test.each([
  ['QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright', 7, 2, 22],
  ['QEMU emulator version 8.2.2 (Debian 1:8.2.2+ds-0ubuntu1.4)', 8, 2, 2],
  ['QEMU emulator version 10.0.0', 10, 0, 0],
])('reads the version of %s', (text, major, minor, micro) => {
  expect(parseQemuVersion(text)).toEqual({ major, minor, micro })
})

test.each(['', 'QEMU emulator version 7', 'qemu-img version 7.2.1'])('%j is no version', (text) => {
  expect(parseQemuVersion(text)).toBeUndefined()
})

test('older and newer', () => {
  const at = (major: number, minor: number, micro: number): boolean =>
    isOlder({ major, minor, micro }, QEMU_VERSION_MIN)
  expect([at(7, 1, 99), at(6, 9, 0), at(7, 2, 0), at(7, 2, 1), at(8, 0, 0)]).toEqual([
    true,
    true,
    false,
    false,
    false,
  ])
  expect(isOlder({ major: 1, minor: 1, micro: 1 }, { major: 1, minor: 1, micro: 2 })).toBe(true)
})

test('machine type and CPU', () => {
  expect(machineTypeOf('x86_64', { major: 8, minor: 2, micro: 2 })).toBe('pc-q35-8.2')
  expect(machineTypeOf('aarch64', { major: 7, minor: 2, micro: 2 })).toBe('virt-7.2')
  expect(cpuModelOf('x86_64', 'tcg')).toBe('qemu64-v1')
  expect(cpuModelOf('x86_64', 'kvm')).toBe('Nehalem-v1')
  expect(cpuModelOf('aarch64', 'tcg')).toBe('cortex-a72')
  expect(cpuModelOf('aarch64', 'kvm')).toBe('host')
})

test('what is missing, in words', () => {
  const answers = {
    commands: ['migrate', 'migrate-incoming', 'query-cpus-fast', 'stop', 'cont'],
    capabilities: ['events'],
    machineTypes: ['pc-q35-7.1'],
  }
  expect(missingFeatures(answers, 'pc-q35-7.2')).toEqual([
    'QMP command xen-save-devices-state',
    'migration capability x-ignore-shared',
    'machine type pc-q35-7.2',
  ])
  expect(
    missingFeatures(
      {
        commands: [...answers.commands, 'xen-save-devices-state'],
        capabilities: ['events', 'x-ignore-shared'],
        machineTypes: ['pc-q35-7.2'],
      },
      'pc-q35-7.2',
    ),
  ).toEqual([])
})
