/**
 * What the demo found, as one JSON object, and whether that is a success. Pure.
 */
import { median, quantile, round } from './statistics.ts'

export interface KillReport {
  /** From SIGKILL until the backup missed the active. */
  readonly detectMs: number
  /** From then until the lease was its own. */
  readonly leaseMs: number
  /** From then until the device state was loaded. */
  readonly loadMs: number
  /** From then until the guest printed again. */
  readonly firstOutputMs: number
  readonly totalMs: number
  /** Last counter that the dead copy printed minus the first that the new one printed. */
  readonly ticksLost: number
}

export interface EpochSample {
  readonly pauseMs: number
  readonly lagMs: number
  readonly bytes: number
  readonly dirtyPages: number
  /** The whole memory was hashed in its pause: counts as an epoch, not as a pause. */
  readonly isHashed: boolean
}

export interface DemoReport {
  readonly schema: 'mycelium.demo/1'
  readonly ok: boolean
  readonly accel: string
  readonly tracker: string
  readonly guestMemoryBytes: number
  readonly intervalMs: number
  readonly seed: number
  readonly epochs: number
  readonly epochsPerSecond: number
  readonly pauseMsMedian: number
  readonly pauseMsP99: number
  readonly lagMsMedian: number
  readonly dirtyPagesMedian: number
  readonly bytesPerEpochMedian: number
  readonly kills: readonly KillReport[]
  readonly guestErrors: number
  readonly ramMismatchPages: number
  /** Times that the copy declared dead was seen running after the lease had gone to another. */
  readonly secondCopies: number
  /** Why it is not ok. */
  readonly failures: readonly string[]
}

export interface DemoFindings {
  readonly accel: string
  readonly tracker: string
  readonly guestMemoryBytes: number
  readonly intervalMs: number
  readonly seed: number
  /** Time of undisturbed replication, and the epochs acknowledged in it. */
  readonly protectedMs: number
  readonly protectedEpochs: number
  readonly epochs: readonly EpochSample[]
  readonly kills: readonly KillReport[]
  readonly killsWanted: number
  readonly guestErrors: number
  readonly ramMismatchPages: number
  readonly secondCopies: number
  readonly failures: readonly string[]
}

export function makeReport(findings: DemoFindings): DemoReport {
  const { epochs, kills, killsWanted, guestErrors, ramMismatchPages, secondCopies } = findings
  const failures = [...findings.failures]
  if (kills.length < killsWanted) failures.push(`${kills.length} of ${killsWanted} kills survived`)
  if (guestErrors > 0) failures.push(`the guest found ${guestErrors} errors in its memory`)
  if (ramMismatchPages > 0) failures.push(`${ramMismatchPages} pages differed on a backup`)
  if (secondCopies > 0) failures.push('a second copy of the guest was running')
  const pauses = epochs.filter(({ isHashed }) => !isHashed).map(({ pauseMs }) => pauseMs)
  return {
    schema: 'mycelium.demo/1',
    ok: failures.length === 0,
    accel: findings.accel,
    tracker: findings.tracker,
    guestMemoryBytes: findings.guestMemoryBytes,
    intervalMs: findings.intervalMs,
    seed: findings.seed,
    epochs: epochs.length,
    epochsPerSecond: round((findings.protectedEpochs * 1000) / Math.max(findings.protectedMs, 1)),
    pauseMsMedian: round(median(pauses)),
    pauseMsP99: round(quantile(pauses, 0.99)),
    lagMsMedian: round(median(epochs.map(({ lagMs }) => lagMs))),
    dirtyPagesMedian: median(epochs.map(({ dirtyPages }) => dirtyPages)),
    bytesPerEpochMedian: median(epochs.map(({ bytes }) => bytes)),
    kills,
    guestErrors,
    ramMismatchPages,
    secondCopies,
    failures,
  }
}

/** The report for a person. */
export function describeReport(report: DemoReport): readonly string[] {
  const { epochs, kills, pauseMsMedian, pauseMsP99, lagMsMedian } = report
  const totals = kills.map(({ totalMs }) => totalMs)
  const deaths = kills.length === 1 ? '1 death' : `${kills.length} deaths`
  return [
    `${epochs} epochs acknowledged, ${report.epochsPerSecond} per second; ` +
      `pause median ${pauseMsMedian} ms, 99 % below ${pauseMsP99} ms; ` +
      `lag until backups hold it ${lagMsMedian} ms; ` +
      `${Math.round(report.bytesPerEpochMedian / 1024)} KiB each`,
    ...(kills.length > 0
      ? [
          `${deaths} survived, guest silent for ${Math.round(median(totals))} ms (median), ` +
            `longest ${Math.round(Math.max(...totals))} ms`,
        ]
      : []),
    `guest errors ${report.guestErrors}, pages that differed ${report.ramMismatchPages}, second ` +
      `copies ${report.secondCopies}`,
    verdict(report),
  ]
}

function verdict({ ok, kills, failures }: DemoReport): string {
  if (!ok) return `FAILED: ${failures.join('; ')}`
  return kills.length > 0
    ? 'ok: the guest outlived its hosts'
    : 'ok: replicated; no host was killed'
}
