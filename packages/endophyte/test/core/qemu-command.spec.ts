import { expect, test } from 'vitest'
import {
  buildQemuArguments,
  KERNEL_ARGUMENTS_BYTES_MAX,
  MEMORY_BYTES_MAX,
  MEMORY_BYTES_MIN,
  MEMORY_BYTES_STEP,
  VCPUS_MAX,
  type QemuMachine,
} from '../../src/core/qemu-command.ts'

const machine: QemuMachine = {
  architecture: 'x86_64',
  accelerator: 'tcg',
  machineType: 'pc-q35-7.2',
  cpuModel: 'qemu64-v1',
  memoryBytes: 256 * MEMORY_BYTES_STEP,
  vcpus: 1,
  kernelArguments: 'console=ttyS0 quiet',
  deviceArguments: [],
}

const GOLDEN = `
-nodefaults -no-user-config
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-display none -vga none
-machine pc-q35-7.2,memory-backend=mem,suppress-vmdesc=on
-accel tcg -cpu qemu64-v1,enforce -m 256M -smp 1
-object memory-backend-file,id=mem,size=256M,share=on,mem-path=/proc/self/fd/6
-kernel /proc/self/fd/8 -initrd /proc/self/fd/9 -append console=ttyS0|quiet
-chardev socket,id=qmp,fd=3 -mon chardev=qmp,mode=control
-chardev socket,id=console,fd=4 -serial chardev:console
-action shutdown=pause,panic=pause -S`

/** The golden text is cut at blanks; the one blank inside an argument stands as a bar. */
function words(text: string): string[] {
  return text
    .trim()
    .split(/\s+/)
    .map((word) => word.replaceAll('|', ' '))
}

test('the command line of a VM that runs', () => {
  expect(buildQemuArguments(machine, 'run')).toEqual(words(GOLDEN))
})

test('the command line of a backup differs only by what makes it wait', () => {
  expect(buildQemuArguments(machine, 'wait')).toEqual([...words(GOLDEN), '-incoming', 'defer'])
})

test('arm64 has no VGA to switch off and no check of CPU features', () => {
  const args = buildQemuArguments(
    { ...machine, architecture: 'aarch64', machineType: 'virt-7.2', cpuModel: 'cortex-a72' },
    'run',
  )
  expect(args).not.toContain('-vga')
  expect(args[args.indexOf('-cpu') + 1]).toBe('cortex-a72')
})

test('devices stand before the pause, in order', () => {
  const deviceArguments = ['-netdev', 'stream,id=n0', '-device', 'virtio-net-pci,netdev=n0']
  const args = buildQemuArguments({ ...machine, deviceArguments }, 'run')
  const at = args.indexOf('-netdev')
  expect(args.slice(at, at + 4)).toEqual(deviceArguments)
})

test.each([MEMORY_BYTES_MIN, MEMORY_BYTES_MAX])('takes %i bytes of memory', (memoryBytes) => {
  expect(buildQemuArguments({ ...machine, memoryBytes }, 'run')).toContain(
    `${memoryBytes / MEMORY_BYTES_STEP}M`,
  )
})

test.each([
  MEMORY_BYTES_MIN - MEMORY_BYTES_STEP,
  MEMORY_BYTES_MAX + MEMORY_BYTES_STEP,
  256 * MEMORY_BYTES_STEP + 4_096,
  256 * MEMORY_BYTES_STEP + 1,
  Number.NaN,
  0,
])('refuses %d bytes of memory', (memoryBytes) => {
  expect(() => buildQemuArguments({ ...machine, memoryBytes }, 'run')).toThrow(
    new RangeError(
      'memoryBytes must be a multiple of 1048576 from 67108864 to 1099511627776, ' +
        `got ${memoryBytes}`,
    ),
  )
})

test('processors: at the bounds and past them', () => {
  expect(buildQemuArguments({ ...machine, vcpus: VCPUS_MAX }, 'run')).toContain('255')
  for (const vcpus of [0, VCPUS_MAX + 1, 1.5]) {
    expect(() => buildQemuArguments({ ...machine, vcpus }, 'run')).toThrow(/^vcpus must be/)
  }
})

test.each(['machineType', 'cpuModel'] as const)('%s cannot smuggle in an option', (name) => {
  expect(() => buildQemuArguments({ ...machine, [name]: 'a,b=c' }, 'run')).toThrow(
    new RangeError(`${name} must be letters, digits, '.', '_' or '-', got "a,b=c"`),
  )
})

test('kernel arguments: at the bound and past it, one line', () => {
  const kernelArguments = 'x'.repeat(KERNEL_ARGUMENTS_BYTES_MAX)
  expect(buildQemuArguments({ ...machine, kernelArguments }, 'run')).toContain(kernelArguments)
  for (const bad of [`${kernelArguments}x`, 'a\nb', 'a\0b']) {
    expect(() => buildQemuArguments({ ...machine, kernelArguments: bad }, 'run')).toThrow(
      /^kernelArguments must be/,
    )
  }
})
