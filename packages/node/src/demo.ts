import { accessSync, constants, statSync } from 'node:fs'
import { freemem } from 'node:os'
import { dirname } from 'node:path'
import {
  type GuestImage,
  prepareGuestImage,
  probeAccelerator,
  probeQemu,
  probeTiers,
  type QemuProbe,
} from '@mycelium/endophyte'
import { createBoottimeClock, type TrackerTierName } from '@mycelium/ram'
import type { CommandContext } from './context.ts'
import { Demo } from './demo/demo.ts'
import { createDemoFolder, sweepDemoFolders } from './demo/folder.ts'
import type { DemoOptions } from './demo/options.ts'
import { describeReport } from './demo/report.ts'
import { NotReadyError, UsageError } from './errors.ts'

/** Runs the demo. Resolves to the exit code: 0 if the guest outlived every kill unharmed. */
export async function runDemo(options: DemoOptions, context: CommandContext): Promise<number> {
  const { signal, progress, result } = context
  signal.throwIfAborted()
  checkOptions(options)
  if (options.log !== undefined) checkLog(options.log)
  await sweepDemoFolders()
  await using folder = await createDemoFolder()
  const clock = createBoottimeClock()
  const qemu = await probeQemu({ signal })
  const image = await prepareGuestImage({ signal, onProgress: progress })
  if (options.tier !== undefined) await checkTier(options.tier, { qemu, guest: image, signal })
  const { accelerator, reason } = await probeAccelerator({ qemu, image, signal })
  progress(`${qemu.binary}, ${accelerator}: ${reason}`)
  await using demo = new Demo(
    { clock, context, qemu, accelerator, guest: image, folder: folder.path },
    options,
  )
  const report = await demo.run()
  for (const line of describeReport(report)) progress(line)
  result(report.schema, report, () => [])
  return report.ok ? 0 : 1
}

/** Of the guest's memory: the guest, what was last sent of it, and the image of its backup. */
const COPIES = 3

/** MiB that the guest's kernel and its file system need beside the load. */
export const GUEST_OVERHEAD_MIB = 64

const PAGES_PER_MIB = 256

/**
 * 4 GiB a second. An emulated guest was measured to write 1.2 million pages a second (x86-64 server
 * under TCG); one with KVM writes more, which no link would carry.
 */
const PAGES_PER_SECOND_MAX = 1_000_000

function checkOptions({ memory, workingSet, load, interval }: DemoOptions): void {
  if (workingSet > memory - GUEST_OVERHEAD_MIB) {
    throw new UsageError(
      `--working-set must be at most ${memory - GUEST_OVERHEAD_MIB} MiB with --memory ${memory}, ` +
        `got ${workingSet}`,
    )
  }
  const byInterval = (PAGES_PER_SECOND_MAX / 1_000) * interval
  const byWorkingSet = workingSet * PAGES_PER_MIB
  const loadMax = Math.min(byInterval, byWorkingSet)
  if (load > loadMax) {
    const why = byInterval < byWorkingSet ? `interval ${interval}` : `working-set ${workingSet}`
    throw new UsageError(`--load must be at most ${loadMax} pages with --${why}, got ${load}`)
  }
  const availableMib = Math.floor(freemem() / 2 ** 20)
  if (memory > availableMib / COPIES) {
    throw new NotReadyError(
      `--memory ${memory} needs ${memory * COPIES} MiB for ${COPIES} copies, but only ` +
        `${availableMib} MiB are available`,
    )
  }
}

/** Said before anything starts, because no host could go on. */
async function checkTier(
  tier: TrackerTierName,
  { signal, ...guests }: { qemu: QemuProbe; guest: GuestImage; signal: AbortSignal },
): Promise<void> {
  const { works, rejected } = await probeTiers({ guests, signal })
  if (works.includes(tier)) return
  const reason = rejected.find((one) => one.tier === tier)?.reason ?? 'unknown'
  throw new NotReadyError(
    `--tier ${tier} does not work here (${reason}); these do: ${works.join(', ') || 'none'}`,
  )
}

/** A log that can surely not be opened is a mistake in the command; a disk may fill up later. */
function checkLog(path: string): void {
  try {
    accessSync(dirname(path), constants.W_OK | constants.X_OK)
    const status = statSync(path, { throwIfNoEntry: false })
    if (status?.isDirectory() === true) throw new UsageError(`--log ${path} is a folder`)
    // Whoever reads it may be slow, or nobody: the end of the demo would wait for that.
    if (status?.isFIFO() === true || status?.isSocket() === true) {
      throw new UsageError(`--log ${path} is a pipe; give a file`)
    }
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError(`--log ${path}: ${error instanceof Error ? error.message : String(error)}`)
  }
}
