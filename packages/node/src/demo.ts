import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { prepareGuestImage, probeAccelerator, probeQemu } from '@mycelium/endophyte'
import { createBoottimeClock } from '@mycelium/ram'
import type { CommandContext } from './context.ts'
import { Demo } from './demo/demo.ts'
import type { DemoOptions } from './demo/options.ts'
import { describeReport } from './demo/report.ts'
import { UsageError } from './errors.ts'

/** Runs the demo. Resolves to the exit code: 0 if the guest outlived every kill unharmed. */
export async function runDemo(options: DemoOptions, context: CommandContext): Promise<number> {
  const { signal, progress, print, format } = context
  signal.throwIfAborted()
  checkOptions(options)
  const clock = createBoottimeClock()
  const qemu = await probeQemu({ signal })
  const image = await prepareGuestImage({ signal, onProgress: progress })
  const { accelerator, reason } = await probeAccelerator({ qemu, image, signal })
  progress(`${qemu.binary}, ${accelerator}: ${reason}`)
  const folder = await mkdtemp(join(tmpdir(), 'mycelium-demo-'))
  await using demo = new Demo({ clock, context, qemu, accelerator, guest: image, folder }, options)
  try {
    const report = await demo.run()
    for (const line of describeReport(report)) progress(line)
    if (format === 'json') print(JSON.stringify(report))
    return report.ok ? 0 : 1
  } finally {
    await demo.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

/** MiB that the guest's kernel and its file system need beside the load. */
const GUEST_OVERHEAD_MIB = 64

function checkOptions({ memory, workingSet, interval }: DemoOptions): void {
  if (memory < MEMORY_MIB_MIN) {
    throw new UsageError(`--memory must be at least ${MEMORY_MIB_MIN} MiB, got ${memory}`)
  }
  if (workingSet > memory - GUEST_OVERHEAD_MIB) {
    throw new UsageError(
      `--working-set must be at most --memory less ${GUEST_OVERHEAD_MIB} MiB, ` +
        `got ${workingSet} of ${memory}`,
    )
  }
  if (interval < INTERVAL_MS_MIN || interval > INTERVAL_MS_MAX) {
    throw new UsageError(
      `--interval must be ${INTERVAL_MS_MIN} to ${INTERVAL_MS_MAX} ms, ` + `got ${interval}`,
    )
  }
}

/** Under it the guest's kernel does not boot with any working set. */
const MEMORY_MIB_MIN = 64

/** Eight pauses of about a millisecond and a half, and the longest that anybody would wait. */
const INTERVAL_MS_MIN = 10
const INTERVAL_MS_MAX = 60_000
