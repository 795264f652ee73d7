/** What the load program in the guest says of itself in one line. */
export interface GuestReport {
  readonly tick: number
  /** Pages that were not what was written last, or a counter that jumped. */
  readonly errors: number
}

/** Reads `tick N err E ...`; nothing if the line is something else. */
export function parseGuestReport(line: string): GuestReport | undefined {
  const match = /^tick (\d{1,15}) err (\d{1,15})\b/.exec(line)
  return match ? { tick: Number(match[1]), errors: Number(match[2]) } : undefined
}
