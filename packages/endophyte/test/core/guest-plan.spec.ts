import { expect, test } from 'vitest'
import {
  buildInitramfs,
  guestKernelArguments,
  isGuestReady,
  KERNELS_TRIED_MAX,
  kernelPackages,
  parseGuestTick,
  planGuest,
} from '../../src/core/guest-plan.ts'

test('packages by distribution and architecture', () => {
  expect(planGuest('x86_64', 'debian', false)).toEqual({
    debianArchitecture: 'amd64',
    kernelMetaPackage: 'linux-image-cloud-amd64',
    busyboxPackage: 'busybox-static',
    compiler: 'cc',
    compilerPackage: 'gcc libc6-dev',
  })
  expect(planGuest('x86_64', 'ubuntu', false).kernelMetaPackage).toBe('linux-image-virtual')
  expect(planGuest('aarch64', 'debian', true)).toEqual({
    debianArchitecture: 'arm64',
    kernelMetaPackage: 'linux-image-cloud-arm64',
    busyboxPackage: 'busybox-static',
    compiler: 'aarch64-linux-gnu-gcc',
    compilerPackage: 'gcc-aarch64-linux-gnu',
  })
  expect(planGuest('x86_64', 'debian', true).compilerPackage).toBe('gcc-x86-64-linux-gnu')
})

test('kernels that a meta package depends on', () => {
  const debian = `Package: linux-image-cloud-amd64
Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)
Description-en: Linux for x86-64 cloud (meta-package)

Package: linux-image-cloud-amd64
Depends: linux-image-6.1.0-50-cloud-amd64 (= 6.1.176-1), libc6
`
  expect(kernelPackages(debian)).toEqual([
    'linux-image-6.1.0-56-cloud-amd64',
    'linux-image-6.1.0-50-cloud-amd64',
  ])
  expect(
    kernelPackages('Depends: linux-modules-6.8.0-31-generic, linux-image-6.8.0-31-generic\n'),
  ).toEqual(['linux-image-6.8.0-31-generic'])
  expect(kernelPackages('')).toEqual([])
  const many = Array.from(
    { length: 9 },
    (_unused, index) => `Depends: linux-image-6.1.0-${index}-x`,
  )
  expect(kernelPackages(many.join('\n'))).toHaveLength(KERNELS_TRIED_MAX)
})

test('the kernel command line', () => {
  expect(guestKernelArguments('x86_64')).toBe(
    'console=ttyS0 quiet loglevel=1 panic=-1 nokaslr ' +
      'load.mib=64 load.pages=400 load.tick=20 load.seed=1',
  )
  expect(
    guestKernelArguments('aarch64', {
      memoryMebibytes: 128,
      pagesPerTick: 2_000,
      tickMs: 100,
      seed: 7,
      corruptAtTick: 9,
      exit: { how: 'panic', atTick: 11 },
    }),
  ).toBe(
    'console=ttyAMA0 quiet loglevel=1 panic=-1 nokaslr load.mib=128 load.pages=2000 ' +
      'load.tick=100 load.seed=7 load.corrupt=9 load.exit=panic@11',
  )
})

test.each(['memoryMebibytes', 'pagesPerTick', 'tickMs', 'seed', 'corruptAtTick'])(
  '%s must be a whole number',
  (name) => {
    for (const value of [-1, 0.5, Number.NaN]) {
      expect(() => guestKernelArguments('x86_64', { [name]: value })).toThrow(
        new RegExp(`^${name} must be a whole number of at least [01], got ${value}$`),
      )
    }
  },
)

test('lines of the guest', () => {
  expect(parseGuestTick('tick 12 err 3 pages 4800')).toEqual({ tick: 12, errors: 3, pages: 4_800 })
  for (const line of ['tick 12 err 3', 'xtick 1 err 0 pages 1', 'tick 1 err 0 pages 1 ', '']) {
    expect(parseGuestTick(line)).toBeUndefined()
  }
  expect(isGuestReady('READY mib 64')).toBe(true)
  expect(isGuestReady('tick 1 err 0 pages 1')).toBe(false)
})

test('the initramfs is the same for the same parts', () => {
  const parts = { busybox: Buffer.from('busy'), load: Buffer.from('load') }
  expect(buildInitramfs(parts)).toEqual(buildInitramfs(parts))
  expect(buildInitramfs(parts)).not.toEqual(buildInitramfs({ ...parts, load: Buffer.from('l') }))
})
