/** Lines of a log that wait for a slow reader; above, they are dropped and counted. */
export const WAITING_LOG_BYTES_MAX = 1_048_576

/** What is written to; `process.stderr` fits. */
export interface LineStream {
  /** Bytes that wait. */
  readonly writableLength: number
  write(text: string): unknown
}

/**
 * Writes lines as long as their reader keeps up: Node would keep all that waits in memory.
 *
 * @param onDropped - called before the first line that fits again, with how many did not
 */
export function createLineSink(
  stream: LineStream,
  onDropped: (count: number) => void,
): (line: string) => void {
  let dropped = 0
  return (line) => {
    if (stream.writableLength > WAITING_LOG_BYTES_MAX) {
      dropped++
      return
    }
    const count = dropped
    dropped = 0
    if (count > 0) onDropped(count)
    stream.write(`${line}\n`)
  }
}
