import type { QemuArchitecture } from '../core/qemu-command.ts'

/** @throws {RangeError} Node runs on neither x86-64 nor arm64 */
export function hostArchitecture(): QemuArchitecture {
  switch (process.arch) {
    case 'x64':
      return 'x86_64'
    case 'arm64':
      return 'aarch64'
    default:
      throw new RangeError(`process.arch must be x64 or arm64, got ${process.arch}`)
  }
}
