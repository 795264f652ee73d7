/**
 * The backup of a benchmark, in a process of its own as on a real host: an image beside a QEMU that
 * waits. Started by {@link startBackup}; ends when the channel to its parent closes.
 */
import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { NodeId } from '@mycelium/interface'
import {
  createBackup,
  createBoottimeClock,
  createSystemRandom,
  createUnixChannels,
  type Region,
} from '@mycelium/ram'
import { type GuestHost, type GuestInit, startGuest } from './guest.ts'

/** What the backup is told at its start. */
interface BackupInit {
  readonly host: GuestHost
  readonly guest: GuestInit
  /** Of the channels' sockets. */
  readonly folder: string
  readonly id: NodeId
}

type Question = 'cpu' | 'hash'

/** Answers of the backup, in this order: `ready`, then one to each question. */
type Answer = 'ready' | { readonly cpuSeconds: number } | { readonly hash: string }

export interface BenchBackup extends AsyncDisposable {
  readonly id: NodeId
  /** Of the process so far, user and system; the waiting QEMU is idle and does not count. */
  cpuSeconds(): Promise<number>
  /** See {@link hashOf}. */
  hash(): Promise<string>
}

/** One hash of all page hashes of a region. */
export async function hashOf(region: Region): Promise<string> {
  return createHash('sha256')
    .update(await region.hashPages())
    .digest('hex')
}

/** Of this process so far, user and system. */
export function ownCpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

export async function startBackup(init: BackupInit): Promise<BenchBackup> {
  const child = fork(fileURLToPath(import.meta.url), { serialization: 'advanced' })
  const gone = once(child, 'exit').then(([code]): never => {
    throw new Error(`the backup of the benchmark ended with ${String(code)}`)
  })
  gone.catch(() => {})
  const answer = async (): Promise<Answer> => {
    const [message] = await Promise.race([once(child, 'message'), gone])
    return message as Answer
  }
  const ask = async (question: Question): Promise<Answer> => {
    const answered = answer()
    child.send(question)
    return await answered
  }
  const ready = answer()
  child.send(init)
  await ready
  return {
    id: init.id,
    cpuSeconds: async () => ((await ask('cpu')) as { cpuSeconds: number }).cpuSeconds,
    hash: async () => ((await ask('hash')) as { hash: string }).hash,
    async [Symbol.asyncDispose]() {
      child.disconnect()
      await gone.catch(() => {})
    },
  }
}

/** In the child process. */
async function serve({ host, guest, folder, id }: BackupInit): Promise<void> {
  const tell = (answer: Answer): void => void process.send?.(answer)
  await using waiting = await startGuest(host, guest)
  const { region } = waiting
  const deps = { clock: createBoottimeClock(), random: createSystemRandom() }
  await using channels = createUnixChannels(deps, { local: id, folder })
  await using backup = createBackup({ region })
  await channels.start()
  process.on('message', (question: Question) => {
    if (question === 'cpu') tell({ cpuSeconds: ownCpuSeconds() })
    else void hashOf(region).then((hash) => tell({ hash }))
  })
  const disconnected = once(process, 'disconnect')
  tell('ready')
  const accepting = new AbortController()
  void disconnected.then(() => accepting.abort())
  try {
    for await (const channel of channels.accept('bench', { signal: accepting.signal })) {
      await backup.attach(channel)
    }
  } catch (error) {
    if (!accepting.signal.aborted) throw error
  }
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) {
  const [init] = (await once(process, 'message')) as [BackupInit]
  await serve(init)
}
