import { chmod, chown, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { prepareGuestImage, type GuestImage } from '../../src/guest/image.ts'
import { accessFix, probeAccelerator, probeQemu, type QemuProbe } from '../../src/qemu/probe.ts'

/** A folder with a program called qemu-system-x86_64 that is a shell script. */
async function withFakeQemu<Value>(
  script: string,
  use: (folder: string) => Promise<Value>,
): Promise<Value> {
  const folder = await mkdtemp(join(tmpdir(), 'mycelium-test-'))
  try {
    const path = join(folder, 'qemu-system-x86_64')
    await writeFile(path, `#!/bin/sh\n${script}\n`)
    await chmod(path, 0o755)
    return await use(folder)
  } finally {
    await rm(folder, { recursive: true })
  }
}

test('the installed QEMU passes', async () => {
  const probe = await probeQemu()
  expect(probe.binary).toMatch(/^\/.*\/qemu-system-/)
  expect(probe.machineType).toMatch(new RegExp(`-${probe.version.major}\\.${probe.version.minor}$`))
})

test('QEMU missing: says how to install it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'mycelium-test-'))
  try {
    await expect(
      probeQemu({ architecture: 'x86_64', searchPath: `relative:${folder}` }),
    ).rejects.toMatchObject({
      code: 'ERR_ENDOPHYTE_NO_QEMU',
      message:
        'qemu-system-x86_64 is not installed. ' +
        'To install it: sudo apt-get install qemu-system-x86',
    })
    await expect(probeQemu({ architecture: 'aarch64', searchPath: folder })).rejects.toMatchObject({
      fix: 'sudo apt-get install qemu-system-arm',
    })
  } finally {
    await rm(folder, { recursive: true })
  }
})

test.each([
  ['QEMU emulator version 7.1.0 (Debian)', '7.1.0'],
  ['something else', 'unknown'],
])('QEMU too old: %s', async (text, found) => {
  await withFakeQemu(`echo '${text}'`, async (searchPath) => {
    await expect(probeQemu({ architecture: 'x86_64', searchPath })).rejects.toMatchObject({
      code: 'ERR_ENDOPHYTE_QEMU_VERSION',
      found,
      needed: '7.2.0',
    })
  })
})

test('a QEMU that does not run, or does not answer', async () => {
  await withFakeQemu('echo broken library >&2; exit 127', async (searchPath) => {
    await expect(probeQemu({ architecture: 'x86_64', searchPath })).rejects.toMatchObject({
      code: 'ERR_ENDOPHYTE_QEMU_START',
      output: 'broken library',
    })
  })
  await withFakeQemu("echo 'QEMU emulator version 9.0.0'", async (searchPath) => {
    await expect(probeQemu({ architecture: 'x86_64', searchPath })).rejects.toMatchObject({
      code: 'ERR_ENDOPHYTE_QEMU_START',
    })
  })
})

test('a QEMU without what is needed', async () => {
  // Answers as QEMU does, with empty lists.
  const answer = [
    "case $1 in --version) echo 'QEMU emulator version 9.0.0'; exit;; esac",
    'greeting=\'{"QMP": {"version": {"qemu": {"major": 9, "minor": 0, "micro": 0}}}}\'',
    'echo "$greeting" >&3',
    'while read -r line <&3; do',
    '  id=${line##*\\"id\\":}; echo "{\\"return\\": [], \\"id\\": ${id%\\}}}" >&3',
    'done',
  ].join('\n')
  await withFakeQemu(answer, async (searchPath) => {
    await expect(probeQemu({ architecture: 'x86_64', searchPath })).rejects.toMatchObject({
      code: 'ERR_ENDOPHYTE_QEMU_FEATURE',
      missing: expect.arrayContaining([
        'QMP command xen-save-devices-state',
        'migration capability x-ignore-shared',
        'machine type pc-q35-9.0',
      ]) as string[],
    })
  })
})

test('an abort gives its reason', async () => {
  const reason = new Error('enough')
  await expect(probeQemu({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
})

let qemu: QemuProbe
let image: GuestImage
beforeAll(async () => {
  qemu = await probeQemu()
  image = await prepareGuestImage()
})

test('without a KVM device: emulation, and why', async () => {
  expect(await probeAccelerator({ qemu, image, kvmDevice: '/dev/no-kvm' })).toEqual({
    accelerator: 'tcg',
    reason: '/dev/no-kvm does not exist: no hardware virtualisation here',
  })
})

test('a KVM device of others: the reason does not say what to do, the fix does', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'mycelium-test-'))
  try {
    const device = join(folder, 'kvm')
    const groups = join(folder, 'group')
    await writeFile(device, '')
    await chmod(device, 0o660)
    const { gid } = await stat(device)
    await writeFile(groups, `one:x:1${gid}:\nvirtual:x:${gid}:somebody\n`)
    // The group of root opens more than this device.
    const ofGroup = gid === 0 ? `sudo chown $USER ${device}` : 'sudo usermod -aG virtual $USER'
    expect(await accessFix(device, groups)).toMatch(ofGroup)
    if (gid === 0) {
      await chown(device, 0, 4_321)
      await writeFile(groups, 'virtual:x:4321:somebody\n')
      expect(await accessFix(device, groups)).toBe(
        'sudo usermod -aG virtual $USER, then log in again',
      )
    }
    await chmod(device, 0o600)
    expect(await accessFix(device, groups)).toBe(`sudo chown $USER ${device}`)
    if (process.getuid?.() === 0) return // root may open everything
    await chmod(device, 0)
    expect(await probeAccelerator({ qemu, image, kvmDevice: device })).toEqual({
      accelerator: 'tcg',
      reason: `${device} may not be opened by this user`,
      fix: `sudo chown $USER ${device}`,
    })
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('a KVM that runs no guest is not chosen, whatever the device says', async () => {
  // QEMU itself opens /dev/kvm; the kernel that is no kernel ends it on every machine.
  const bad = { ...image, kernelPath: image.initrdPath }
  const probe = await probeAccelerator({ qemu, image: bad, kvmDevice: '/dev/null' })
  expect(probe.accelerator).toBe('tcg')
  expect(probe.reason).toMatch(/^\/dev\/null exists but does not run a guest: ./)
})

test('the accelerator of this machine, with its reason', async () => {
  const probe = await probeAccelerator({ qemu, image })
  expect(['kvm', 'tcg']).toContain(probe.accelerator)
  expect(probe.reason).not.toBe('')
})

test('another architecture is always emulated', async () => {
  const architecture = qemu.architecture === 'aarch64' ? 'x86_64' : 'aarch64'
  expect(await probeAccelerator({ qemu: { ...qemu, architecture }, image })).toEqual({
    accelerator: 'tcg',
    reason: 'the guest has another architecture',
  })
})
