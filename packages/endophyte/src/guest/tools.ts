import { execFile } from 'node:child_process'
import type { AbortOptions } from '@mycelium/interface'

/** What a tool may print; more ends it with an error. `apt-cache show` prints some 20 KB. */
const TOOL_OUTPUT_BYTES_MAX = 4_194_304

export interface ToolResult {
  /** Absent: the tool is not there. */
  readonly exitCode?: number
  readonly output: string
  /** The last line of the error output that says something. */
  readonly complaint: string
}

export interface ToolOptions extends AbortOptions {
  readonly cwd?: string
  /** As in $PATH. @default $PATH */
  readonly searchPath?: string
}

/** Runs a tool and waits for it. Rejects only on abort, with `signal.reason`. */
export async function runTool(
  command: string,
  args: readonly string[],
  options: ToolOptions = {},
): Promise<ToolResult> {
  options.signal?.throwIfAborted()
  const { signal, cwd, searchPath } = options
  const settings = {
    ...(signal && { signal }),
    ...(cwd !== undefined && { cwd }),
    maxBuffer: TOOL_OUTPUT_BYTES_MAX,
    env: { ...process.env, ...(searchPath !== undefined && { PATH: searchPath }), LC_ALL: 'C' },
  }
  return await new Promise((resolve, reject) => {
    execFile(command, args, settings, (error, stdout, stderr) => {
      if (options.signal?.aborted) {
        reject(options.signal.reason as Error)
        return
      }
      const complaint = lastWord(stderr) ?? lastWord(stdout) ?? error?.message ?? ''
      if (error?.code === 'ENOENT') resolve({ output: '', complaint: `${command} is missing` })
      else if (typeof error?.code === 'number') {
        resolve({ exitCode: error.code, output: stdout, complaint })
      } else {
        resolve({ exitCode: error ? 1 : 0, output: stdout, complaint })
      }
    })
  })
}

/** Errors of apt begin with `E: `; what comes after them is advice. */
function lastWord(text: string): string | undefined {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
  return lines.findLast((line) => line.startsWith('E: '))?.slice(3) ?? lines.at(-1)
}
