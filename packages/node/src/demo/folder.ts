import { constants, opendirSync, readFileSync, readlinkSync, type Stats } from 'node:fs'
import { lstat, mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { NotReadyError } from '../errors.ts'

const PREFIX = 'mycelium-demo-'
/** In the folder: which process it belongs to. */
const OWNER_FILE = 'owner'
const OWNER_BYTES_MAX = 256

/** The log of leases stays far below; a disk with less is full for whatever comes next. */
const ROOM_BYTES = 1_048_576

/** `sun_path` has 108 bytes with its end; below the temporary folder come our folder and this. */
const SOCKET_PATH_BYTES_MAX = 107
const LONGEST_SOCKET = `${PREFIX}XXXXXX/channels/node-1002.sock`

/** Folders that one demo removes; more killed demos than this are left for the next. */
export const SWEPT_MAX = 32
/** Entries of the temporary folder that one demo looks at. */
const SEEN_MAX = 100_000

export interface DemoFolder extends AsyncDisposable {
  /** Absolute; 0700. */
  readonly path: string
}

/**
 * Makes the folder of a demo, having proven that there is room. Disposing removes it.
 *
 * @param parent - @default the temporary folder
 * @throws {NotReadyError} as a rejection, with what to do
 */
export async function createDemoFolder(parent: string = tmpdir()): Promise<DemoFolder> {
  const within = resolve(parent)
  const bytes = Buffer.byteLength(join(within, LONGEST_SOCKET))
  if (bytes > SOCKET_PATH_BYTES_MAX) {
    throw notReady(
      within,
      `has a path that is ${bytes - SOCKET_PATH_BYTES_MAX} bytes too long for sockets in it`,
      'set TMPDIR to a folder with a shorter path',
    )
  }
  let path: string | undefined
  try {
    path = await mkdtemp(join(within, PREFIX))
    await writeFile(join(path, OWNER_FILE), markOf('self') ?? '', { mode: 0o600 })
    await writeFile(join(path, 'room'), new Uint8Array(ROOM_BYTES))
    await rm(join(path, 'room'))
  } catch (cause) {
    if (path !== undefined) await rm(path, { recursive: true, force: true })
    throw explain(within, cause as NodeJS.ErrnoException)
  }
  const made = path
  return {
    path: made,
    [Symbol.asyncDispose]: () => rm(made, { recursive: true, force: true }),
  }
}

function explain(folder: string, cause: NodeJS.ErrnoException): NotReadyError {
  const { code = cause.message } = cause
  if (['ENOENT', 'ENOTDIR'].includes(code)) {
    return notReady(folder, 'does not exist', `mkdir -p ${folder}, or set TMPDIR`, cause)
  }
  if (['ENOSPC', 'EDQUOT'].includes(code)) {
    const fix = 'free some, or set TMPDIR to a folder with room'
    return notReady(folder, `has no room for ${ROOM_BYTES / 1_048_576} MiB`, fix, cause)
  }
  const fix = 'set TMPDIR to a folder that you may write'
  return notReady(folder, `cannot be written (${code})`, fix, cause)
}

function notReady(folder: string, problem: string, fix: string, cause?: Error): NotReadyError {
  return new NotReadyError(`the temporary folder ${folder} ${problem}`, { fix, cause })
}

/**
 * Removes folders that demos of this user left which were killed: at most {@link SWEPT_MAX}. Never
 * one whose owner may live: it stays if that is not certain, as from within another container.
 * Never rejects.
 */
export async function sweepDemoFolders(parent: string = tmpdir()): Promise<void> {
  const within = resolve(parent)
  try {
    if (!isOurPlace(await stat(within))) return
    let left = SWEPT_MAX
    for (const name of namesIn(within)) {
      const path = join(within, name)
      if (!(await isAbandoned(path))) continue
      // Its last children may just be ending in it; whatever fails stays for the next demo.
      await rm(path, { recursive: true, force: true }).catch(() => {})
      if (--left === 0) return
    }
  } catch {
    // A folder that cannot be read is told of by `createDemoFolder`.
  }
}

/** Nobody else may move our folders away and put something else in their place. */
function isOurPlace({ uid, mode }: Stats): boolean {
  const isOfSomebodyElse = uid !== 0 && uid !== process.getuid?.()
  const isOpen = (mode & 0o022) !== 0 && (mode & 0o1000) === 0
  return !isOfSomebodyElse && !isOpen
}

function namesIn(folder: string): readonly string[] {
  const names: string[] = []
  const entries = opendirSync(folder)
  try {
    for (let seen = 0; seen < SEEN_MAX; seen++) {
      const entry = entries.readSync()
      if (entry === null) break
      if (entry.name.startsWith(PREFIX)) names.push(entry.name)
    }
  } finally {
    entries.closeSync()
  }
  return names
}

/** Ours alone, no link, and its owner is gone. */
async function isAbandoned(path: string): Promise<boolean> {
  try {
    const status = await lstat(path)
    if (!status.isDirectory() || status.uid !== process.getuid?.()) return false
    if ((status.mode & 0o777) !== 0o700) return false
    return isGone(await readOwner(join(path, OWNER_FILE)))
  } catch {
    return false
  }
}

async function readOwner(path: string): Promise<string> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  await using file = await open(path, flags)
  const { buffer, bytesRead } = await file.read(Buffer.alloc(OWNER_BYTES_MAX), 0)
  return buffer.toString('latin1', 0, bytesRead)
}

/**
 * One process: its number, its time of start in clock ticks, and where numbers mean the same: boot
 * and PID namespace. Nothing: there is none, or it is dead and only waits to be noticed.
 */
function markOf(pid: string): string | undefined {
  const line = readStat(pid)
  if (line === undefined) return undefined
  // The name, in brackets, may hold anything; the state is field 3, the time of start field 22.
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
  if (fields[0] === 'Z') return undefined
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  const space = readlinkSync('/proc/self/ns/pid')
  return [line.slice(0, line.indexOf(' ')), fields[19], boot, space].join(' ')
}

function readStat(pid: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch (error) {
    // Read while it dies, it is ESRCH.
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}

/** False where a mark cannot be judged: of another boot (a shared disk) or PID namespace. */
function isGone(mark: string): boolean {
  const [own, other] = [markOf('self')?.split(' ') ?? [], mark.split(' ')]
  const [pid = ''] = other
  const isComparable = own.length === other.length && own.slice(2).join() === other.slice(2).join()
  // A /proc of another namespace does not know us by our number.
  if (!isComparable || own[0] !== String(process.pid) || !/^\d+$/.test(pid)) return false
  return markOf(pid) !== mark
}
