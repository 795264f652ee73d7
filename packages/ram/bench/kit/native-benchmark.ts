import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { buildNativeBenchmark } from '../../../../scripts/native-build.ts'

/** Compiles `native/bench/<program>.cc`, runs it, and reads the JSON object that it prints. */
export async function runNativeBenchmark<Report>(
  program: string,
  ...args: readonly (string | number)[]
): Promise<Report> {
  const file = await buildNativeBenchmark(program)
  const { stdout } = await promisify(execFile)(file, args.map(String))
  return JSON.parse(stdout) as Report
}
