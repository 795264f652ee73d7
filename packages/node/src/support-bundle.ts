import { arch, cpus, platform, release, totalmem } from 'node:os'
import type { AbortOptions } from '@mycelium/interface'
import { ask } from './admin/client.ts'
import { carryOut } from './carry-out.ts'
import { packTar, type TarFile } from './core/tar.ts'
import { doctor } from './doctor.ts'
import { codeOf } from './exit-codes.ts'
import { LOG_LINES_KEPT } from './logger.ts'
import type { Paths } from './paths.ts'
import { withoutTokens } from './redact.ts'
import { version } from './version.ts'

/** Newest entries of the audit log. */
export const AUDIT_ENTRIES_MAX = 1_000

export interface BundleInit extends AbortOptions {
  readonly paths: Paths
  readonly unixMs: number
  readonly onProgress: (line: string) => void
}

/** What is in a bundle, by name of the file, and how it is got. */
type Parts = Readonly<Record<string, () => Promise<unknown>>>

/**
 * Collects what somebody needs to know who is asked for help: an archive of small files. What
 * cannot be had (no daemon runs) says why in its place. Nothing in it is secret: what is collected
 * never held a key, token or passphrase; names, ids and addresses of nodes are in it.
 */
export async function supportBundle(init: BundleInit): Promise<Uint8Array> {
  const files: TarFile[] = []
  for (const [name, collect] of Object.entries(partsOf(init))) {
    init.signal?.throwIfAborted()
    const content = await collect().catch((error: unknown) => {
      init.signal?.throwIfAborted()
      const message = error instanceof Error ? error.message : String(error)
      return { error: { code: codeOf(error), message } }
    })
    const text = typeof content === 'string' ? content : `${JSON.stringify(content, null, 2)}\n`
    files.push({ name: `mycelium-support/${name}`, bytes: Buffer.from(withoutTokens(text)) })
  }
  return packTar(files, Math.floor(init.unixMs / 1_000))
}

function partsOf({ paths, unixMs, onProgress, signal }: BundleInit): Parts {
  const init = { paths, ...(signal && { signal }) }
  const get = async (path: string): Promise<string> =>
    (await ask(paths.socket, { method: 'GET', path }, signal && { signal })).text
  return {
    'about.json': () => Promise.resolve(aboutThisMachine(unixMs)),
    'status.json': () => carryOut('status', {}, init),
    'config.json': () => carryOut('config.show', {}, init),
    'readyz.txt': () => get('/readyz?verbose'),
    'metrics.txt': () => get('/metrics'),
    'log.txt': async () => {
      const { lines } = await carryOut('log.show', { last: LOG_LINES_KEPT }, init)
      return lines.map((line) => `${line}\n`).join('')
    },
    'audit.json': () => carryOut('audit.show', { last: AUDIT_ENTRIES_MAX }, init),
    'audit-verify.json': () => carryOut('audit.verify', {}, init),
    'doctor.json': () => doctor({ onProgress, ...(signal && { signal }) }),
  }
}

function aboutThisMachine(unixMs: number): object {
  return {
    mycelium: version(),
    at: new Date(unixMs).toISOString(),
    versions: process.versions,
    machine: {
      platform: platform(),
      kernel: release(),
      architecture: arch(),
      processors: cpus().map(({ model }) => model),
      memoryBytes: totalmem(),
      isRoot: process.geteuid?.() === 0,
    },
  }
}
