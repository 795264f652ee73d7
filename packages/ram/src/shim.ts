import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * The shim: a library for `LD_PRELOAD` that makes a program's userfaultfd inside of it and sends it
 * to the unix socket that the program's `MYCELIUM_UFFD_SOCKET` names. For `writer.method: 'shim'`,
 * where the program must not be traced.
 */
export function shimPath(): string {
  // The same step up is right from src/, from dist/, and from a bundle's dist/ when the bundling
  // package ships the prebuilds too.
  const root = fileURLToPath(new URL('..', import.meta.url))
  return join(root, `prebuilds/linux-${process.arch}/uffd_shim.so`)
}
