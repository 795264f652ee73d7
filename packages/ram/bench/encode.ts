/**
 * Speed of each part of encoding and applying on one core, in GB/s of pages, beside memcpy of the
 * same pages, in one C++ program, alternating.
 */
import { runNativeBenchmark } from './kit/native-benchmark.ts'

const SAMPLES = 9

export async function bench(): Promise<readonly object[]> {
  const { figures } = await runNativeBenchmark<{ readonly figures: readonly object[] }>(
    'page_codec',
    SAMPLES,
  )
  return figures
}
