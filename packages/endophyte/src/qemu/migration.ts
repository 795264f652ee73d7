import { once } from 'node:events'
import { constants } from 'node:fs'
import { access, chown, mkdtemp, realpath, rm, stat } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { AbortOptions } from '@mycelium/interface'
import { HEAD_BYTES_MAX } from '../core/migration-stream.ts'
import { MachineStateError } from '../errors.ts'
import type { QmpClient } from '../qmp/client.ts'
import type { QemuUser } from './spawner.ts'

export interface ReceiveMigrationOptions extends AbortOptions {
  /** Where the private folder is made. */
  readonly folder?: string | undefined
  /** Who QEMU is, if not the user of this process. */
  readonly user?: QemuUser | undefined
}

/**
 * Has QEMU migrate into this process; QEMU needs the capabilities `events` and `x-ignore-shared`.
 * QEMU 7.2 takes no inherited descriptor here (only names given over SCM_RIGHTS, which Node cannot
 * send), so there is a unix socket in a private folder for as long as QEMU needs to connect.
 *
 * Rejects with `ERR_ENDOPHYTE_MACHINE_STATE` if QEMU cannot migrate or sends more than
 * {@link HEAD_BYTES_MAX}.
 */
export async function receiveMigration(
  qmp: QmpClient,
  options: ReceiveMigrationOptions = {},
): Promise<Uint8Array> {
  options.signal?.throwIfAborted()
  const folder = await mkdtemp(join(await findFolder(options), 'mycelium-'))
  const path = join(folder, 'migration')
  const server = createServer()
  let socket: Socket | undefined
  const abort = (): void => {
    socket?.destroy()
  }
  options.signal?.addEventListener('abort', abort, { once: true })
  try {
    const bytes = new Promise<Uint8Array>((resolve, reject) => {
      server.once('connection', (connected) => {
        socket = connected
        server.close()
        collect(connected).then(resolve, reject)
      })
    })
    bytes.catch(() => {})
    server.listen(path)
    await once(server, 'listening')
    for (const owned of options.user ? [folder, path] : []) {
      await chown(owned, options.user?.uid ?? 0, options.user?.gid ?? 0)
    }
    const ended = migrationEnd(qmp)
    await qmp.execute('migrate', { uri: `unix:${path}` })
    const status = await ended
    if (status !== 'completed') {
      const { 'error-desc': reason = status } = await qmp.execute('query-migrate')
      throw new MachineStateError({ doing: 'save', reason })
    }
    return await bytes
  } catch (error) {
    if (options.signal?.aborted) throw options.signal.reason
    throw error
  } finally {
    options.signal?.removeEventListener('abort', abort)
    socket?.destroy()
    server.close()
    await rm(folder, { recursive: true, force: true })
  }
}

/** Where a socket may lie that QEMU has to reach. The ones behind the first are on every Linux. */
async function findFolder({ folder, user }: ReceiveMigrationOptions): Promise<string> {
  const candidates = [folder ?? tmpdir(), '/tmp', '/dev/shm', '/run']
  for (const candidate of candidates) {
    if (await isReachable(candidate, user !== undefined)) return candidate
  }
  throw new MachineStateError({
    doing: 'save',
    reason: `no folder that QEMU's user may enter among ${candidates.join(', ')}`,
  })
}

/** May we write here, and (with `byOthers`) may everybody pass through each folder above? */
async function isReachable(folder: string, byOthers: boolean): Promise<boolean> {
  try {
    await access(folder, constants.W_OK | constants.X_OK)
    for (let path = await realpath(folder); byOthers; path = dirname(path)) {
      const { mode } = await stat(path)
      if ((mode & constants.S_IXOTH) === 0) return false
      if (path === dirname(path)) break
    }
    return true
  } catch {
    return false
  }
}

/** How the migration that begins next ends: `completed`, `failed` or `cancelled`. Rejects with
 * `ERR_ENDOPHYTE_QMP_LOST` if QEMU ends before. */
export function migrationEnd(qmp: QmpClient): Promise<string> {
  const finished = new AbortController()
  const status = new Promise<string>((resolve, reject) => {
    qmp.addEventListener(
      'MIGRATION',
      ({ detail }) => {
        if (['completed', 'failed', 'cancelled'].includes(detail.status)) resolve(detail.status)
      },
      { signal: finished.signal },
    )
    void qmp.closed.then(reject)
  }).finally(() => {
    finished.abort()
  })
  status.catch(() => {}) // the caller may fail before it looks
  return status
}

async function collect(socket: Socket): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let length = 0
  for await (const part of socket as AsyncIterable<Uint8Array>) {
    length += part.length
    if (length > HEAD_BYTES_MAX) {
      socket.destroy()
      throw new MachineStateError({
        doing: 'save',
        reason: `more than ${HEAD_BYTES_MAX} bytes: guest memory must be in it`,
      })
    }
    parts.push(part)
  }
  return Buffer.concat(parts)
}
