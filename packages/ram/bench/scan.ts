/**
 * Time to find and protect again the pages written: our tracker beside a bare loop over the
 * PAGEMAP_SCAN call of the kernel, in one C++ program, alternating. Target: at most 1.2.
 */
import { runNativeBenchmark } from './kit/native-benchmark.ts'

const SAMPLES = 101
const VARIANTS = [
  { mebibytes: 256, percent: 0.1 },
  { mebibytes: 256, percent: 3 },
  { mebibytes: 256, percent: 100 },
  { mebibytes: 1_024, percent: 1 },
] as const

/** What `native/bench/pagemap_scan.cc` prints. */
interface Report {
  readonly mebibytes: number
  readonly percent: number
  readonly dirtyPages: number
  readonly samples: number
  readonly oursNs: number
  readonly oursSpreadNs: number
  readonly peerNs: number
}

export async function bench(): Promise<readonly object[]> {
  const figures: object[] = []
  for (const { mebibytes, percent } of VARIANTS) {
    const report = await runNativeBenchmark<Report>('pagemap_scan', mebibytes, percent, SAMPLES)
    figures.push({
      name: `scan of ${mebibytes} MiB, ${report.dirtyPages} pages dirty`,
      unit: 'ms',
      samples: report.samples,
      ours: report.oursNs / 1e6,
      oursSpread: report.oursSpreadNs / 1e6,
      peerName: 'bare PAGEMAP_SCAN loop',
      peer: report.peerNs / 1e6,
    })
  }
  return figures
}
