import type { CommandContext } from './context.ts'
import { NotReadyError } from './errors.ts'

/** Options of `mycelium demo`. */
export interface DemoOptions {
  /** MiB. */
  readonly memory: number
  /** Milliseconds. */
  readonly interval: number
  /** Pages of 4 KiB. */
  readonly load: number
  readonly kills: number
  readonly seed: number
}

/** Runs the demo. Resolves to the exit code. */
export async function runDemo(options: DemoOptions, context: CommandContext): Promise<number> {
  context.signal.throwIfAborted()
  await Promise.resolve()
  throw new NotReadyError(`this build has no demo yet (seed ${options.seed})`)
}
