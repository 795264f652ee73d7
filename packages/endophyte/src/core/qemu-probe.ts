/** What an installed QEMU must be able to do, and how that is read from its answers. */

import type { QemuAccelerator, QemuArchitecture } from './qemu-command.ts'

export interface QemuVersion {
  readonly major: number
  readonly minor: number
  readonly micro: number
}

/** The version of Debian 12; the oldest on which everything here was tried. */
export const QEMU_VERSION_MIN: QemuVersion = { major: 7, minor: 2, micro: 0 }

const PACKAGES = { x86_64: 'qemu-system-x86', aarch64: 'qemu-system-arm' } as const

/** Debian's and Ubuntu's package with the program. */
export function qemuPackage(architecture: QemuArchitecture): string {
  return PACKAGES[architecture]
}

export function qemuBinary(architecture: QemuArchitecture): string {
  return `qemu-system-${architecture}`
}

/** @param text - what `--version` prints. @returns undefined: no QEMU prints that */
export function parseQemuVersion(text: string): QemuVersion | undefined {
  const match = /^QEMU emulator version (\d+)\.(\d+)\.(\d+)/m.exec(text)
  if (!match) return undefined
  return { major: Number(match[1]), minor: Number(match[2]), micro: Number(match[3]) }
}

export function isOlder(left: QemuVersion, right: QemuVersion): boolean {
  if (left.major !== right.major) return left.major < right.major
  if (left.minor !== right.minor) return left.minor < right.minor
  return left.micro < right.micro
}

export function formatVersion({ major, minor, micro }: QemuVersion): string {
  return `${major}.${minor}.${micro}`
}

/** The machine type of this very version: it exists in all later ones too. */
export function machineTypeOf(
  architecture: QemuArchitecture,
  { major, minor }: QemuVersion,
): string {
  return `${architecture === 'x86_64' ? 'pc-q35' : 'virt'}-${major}.${minor}`
}

/**
 * A CPU that every host with this accelerator can give its guest.
 * - tcg on x86-64: boots 0.8 s faster than with Nehalem-v1, whose features nothing here needs
 * - kvm on x86-64: all that the 64-bit processors of AMD and Intel since 2011 have in common
 * - kvm on arm64 knows only `host`: active and backup must be equal machines there
 */
export function cpuModelOf(architecture: QemuArchitecture, accelerator: QemuAccelerator): string {
  if (architecture === 'x86_64') return accelerator === 'kvm' ? 'Nehalem-v1' : 'qemu64-v1'
  return accelerator === 'kvm' ? 'host' : 'cortex-a72'
}

const COMMANDS: readonly string[] = [
  'xen-save-devices-state',
  'migrate',
  'migrate-incoming',
  'query-cpus-fast',
  'stop',
  'cont',
]
const CAPABILITIES: readonly string[] = ['x-ignore-shared', 'events']

export interface QemuAnswers {
  readonly commands: readonly string[]
  readonly capabilities: readonly string[]
  readonly machineTypes: readonly string[]
}

/** What is needed and not there, each as words for people. */
export function missingFeatures(answers: QemuAnswers, machineType: string): string[] {
  return [
    ...missing(COMMANDS, answers.commands).map((name) => `QMP command ${name}`),
    ...missing(CAPABILITIES, answers.capabilities).map((name) => `migration capability ${name}`),
    ...missing([machineType], answers.machineTypes).map((name) => `machine type ${name}`),
  ]
}

function missing(needed: readonly string[], found: readonly string[]): string[] {
  const set = new Set(found)
  return needed.filter((name) => !set.has(name))
}
