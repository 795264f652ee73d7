import type { QemuArchitecture } from '../core/qemu-command.ts'

const NAMES: Readonly<Record<string, QemuArchitecture>> = { x64: 'x86_64', arm64: 'aarch64' }

/** @throws {RangeError} Node runs on neither x86-64 nor arm64 */
export function hostArchitecture(): QemuArchitecture {
  const name = NAMES[process.arch]
  if (!name) throw new RangeError(`process.arch must be x64 or arm64, got ${process.arch}`)
  return name
}
