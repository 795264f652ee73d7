import { createHash } from 'node:crypto'
import { access, constants, readFile, statfs } from 'node:fs/promises'
import { arch, availableParallelism, freemem, release, totalmem } from 'node:os'
import type { AbortOptions, Clock } from '@mycelium/interface'
import { FabricCapabilitiesError } from './errors.ts'

/** What a machine can do, as found there. Travels as JSON; numbers are integers, 0 or more. */
export interface CapabilityRecord {
  readonly version: 1
  readonly measuredAtUnixMs: number
  /** As Node names it: `x64`, `arm64`. */
  readonly architecture: string
  /** Release of the kernel. */
  readonly kernel: string
  readonly processor: {
    /** Threads that this process may use at once. */
    readonly cores: number
    /** What the control group allows, in thousandths of a core; `cores` x 1,000 without a limit. */
    readonly coresPerMille: number
    /** SHA-256 of one thread, MiB in a second: compares machines, promises nothing. */
    readonly hashMibPerSecond: number
    /** `/dev/kvm` can be opened: virtual machines run at full speed. */
    readonly hasKvm: boolean
  }
  /** In bytes, as far as the control group allows. */
  readonly memory: { readonly totalBytes: number; readonly availableBytes: number }
  /** In bytes, of the file system with the data of the node. */
  readonly disk: { readonly totalBytes: number; readonly availableBytes: number }
}

export interface MeasureInit extends AbortOptions {
  /** On the file system in question. */
  readonly folder: string
  /** How long the processor is measured, in bursts of a few ms. @default 50 */
  readonly processorMs?: number
}

const HASH_BYTES = 2 ** 20
const PROCESSOR_MS_DEFAULT = 50
const CGROUP = '/sys/fs/cgroup'

/**
 * Measures this machine. Takes about `processorMs`, in bursts, so that a daemon goes on.
 *
 * Rejects with the error of the file system when `folder` is not there.
 */
export async function measureCapabilities(
  { clock }: { readonly clock: Clock },
  { folder, processorMs = PROCESSOR_MS_DEFAULT, signal }: MeasureInit,
): Promise<CapabilityRecord> {
  signal?.throwIfAborted()
  const disk = await statfs(folder)
  const cores = availableParallelism()
  const hashMibPerSecond = await measureHash(clock, processorMs, signal)
  const [quotaPerMille, memory, hasKvm] = await Promise.all([cpuQuota(), measureMemory(), kvm()])
  return {
    version: 1,
    measuredAtUnixMs: Math.floor(clock.unixMs()),
    architecture: arch(),
    kernel: release(),
    processor: {
      cores,
      coresPerMille: Math.min(cores * 1_000, quotaPerMille ?? Infinity),
      hashMibPerSecond,
      hasKvm,
    },
    memory,
    disk: { totalBytes: disk.blocks * disk.bsize, availableBytes: disk.bavail * disk.bsize },
  }
}

async function measureHash(
  clock: Clock,
  processorMs: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  const block = new Uint8Array(HASH_BYTES)
  let blocks = 0
  let spentMs = 0
  do {
    signal?.throwIfAborted()
    const startedAt = clock.now()
    createHash('sha256').update(block).digest()
    spentMs += clock.now() - startedAt
    blocks++
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  } while (spentMs < processorMs && blocks < 10 * processorMs)
  return Math.floor((blocks * 1_000) / Math.max(spentMs, 1))
}

async function measureMemory(): Promise<CapabilityRecord['memory']> {
  const limit = await numberIn(`${CGROUP}/memory.max`)
  const used = await numberIn(`${CGROUP}/memory.current`)
  const totalBytes = Math.min(totalmem(), limit ?? Infinity)
  const free = limit === undefined || used === undefined ? Infinity : Math.max(limit - used, 0)
  return { totalBytes, availableBytes: Math.min(await availableMemory(), free, totalBytes) }
}

/** With what the kernel would give back of its caches, as it says itself. */
async function availableMemory(): Promise<number> {
  const text = await textOf('/proc/meminfo')
  const [, kib] = /^MemAvailable:\s+(\d+) kB$/m.exec(text) ?? []
  return kib === undefined ? freemem() : Number(kib) * 1_024
}

/** In thousandths of a core; absent without a limit. */
async function cpuQuota(): Promise<number | undefined> {
  const [, quota, period] = /^(\d+) (\d+)$/m.exec(await textOf(`${CGROUP}/cpu.max`)) ?? []
  if (quota === undefined || period === undefined) return undefined
  return Math.max(1, Math.floor((Number(quota) * 1_000) / Number(period)))
}

async function kvm(): Promise<boolean> {
  try {
    await access('/dev/kvm', constants.R_OK | constants.W_OK)
    return true
  } catch {
    return false
  }
}

async function numberIn(path: string): Promise<number | undefined> {
  const text = (await textOf(path)).trim()
  return /^\d+$/.test(text) ? Number(text) : undefined
}

/** Empty where the machine has no such file: another kernel, no control groups. */
async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch {
    return ''
  }
}

const NAME_CHARS_MAX = 128

/**
 * A record that came from elsewhere, checked: exactly the fields of {@link CapabilityRecord}, each
 * of its type and possible.
 *
 * @throws `ERR_FABRIC_CAPABILITIES` with the field that is wrong
 */
export function parseCapabilities(value: unknown): CapabilityRecord {
  const record = fieldsOf('record', value, [
    'version',
    'measuredAtUnixMs',
    'architecture',
    'kernel',
    'processor',
    'memory',
    'disk',
  ])
  if (record['version'] !== 1) throw new FabricCapabilitiesError('version', 'must be 1')
  const processor = fieldsOf('processor', record['processor'], [
    'cores',
    'coresPerMille',
    'hashMibPerSecond',
    'hasKvm',
  ])
  const cores = integer('processor.cores', processor['cores'], 1)
  const { hasKvm } = processor
  if (typeof hasKvm !== 'boolean') {
    throw new FabricCapabilitiesError('processor.hasKvm', 'must be a boolean')
  }
  return {
    version: 1,
    measuredAtUnixMs: integer('measuredAtUnixMs', record['measuredAtUnixMs']),
    architecture: text('architecture', record['architecture']),
    kernel: text('kernel', record['kernel']),
    processor: {
      cores,
      coresPerMille: integer(
        'processor.coresPerMille',
        processor['coresPerMille'],
        1,
        cores * 1_000,
      ),
      hashMibPerSecond: integer('processor.hashMibPerSecond', processor['hashMibPerSecond']),
      hasKvm,
    },
    memory: room('memory', record['memory']),
    disk: room('disk', record['disk']),
  }
}

function room(
  name: string,
  value: unknown,
): { readonly totalBytes: number; readonly availableBytes: number } {
  const fields = fieldsOf(name, value, ['totalBytes', 'availableBytes'])
  const totalBytes = integer(`${name}.totalBytes`, fields['totalBytes'])
  const availableBytes = integer(`${name}.availableBytes`, fields['availableBytes'], 0, totalBytes)
  return { totalBytes, availableBytes }
}

function fieldsOf(
  name: string,
  value: unknown,
  keys: readonly string[],
): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new FabricCapabilitiesError(name, 'must be an object')
  }
  const strange = Object.keys(value).find((key) => !keys.includes(key))
  if (strange !== undefined) throw new FabricCapabilitiesError(name, 'has an unknown field')
  return value as Readonly<Record<string, unknown>>
}

function integer(
  name: string,
  value: unknown,
  min = 0,
  max: number = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) {
    return value
  }
  throw new FabricCapabilitiesError(name, `must be an integer in ${min}..${max}`)
}

function text(name: string, value: unknown): string {
  if (typeof value === 'string' && value.length >= 1 && value.length <= NAME_CHARS_MAX) return value
  throw new FabricCapabilitiesError(name, `must be 1..${NAME_CHARS_MAX} characters`)
}
