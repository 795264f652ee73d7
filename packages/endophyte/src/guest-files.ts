import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { QemuArchitecture } from './core/qemu-command.ts'

/**
 * The source of the guest's load program. The same step up is right from src/, from dist/, and from
 * a bundle's dist/ when the bundling package ships the folder `guest` too.
 */
export const LOAD_SOURCE_PATH: string = fileURLToPath(new URL('../guest/load.c', import.meta.url))

/** Of this package, or of the one that bundles it. */
export const PREBUILDS_FOLDER: string = fileURLToPath(new URL('../prebuilds', import.meta.url))

/** The load program compiled, for a guest of this architecture. */
export function loadProgramPath(prebuildsFolder: string, architecture: QemuArchitecture): string {
  const name = architecture === 'x86_64' ? 'x64' : 'arm64'
  return join(prebuildsFolder, `linux-${name}`, 'mycelium-load')
}
