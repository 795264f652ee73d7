/** Files of an audit log: segments, each named after its first entry, and a head. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { AUDIT_PAYLOAD_BYTES_MAX } from './core/audit-codec.ts'

export const AUDIT_HEAD_NAME = 'head'
/** Bound on what is read of one segment. */
export const AUDIT_SEGMENT_BYTES_MAX: number = 2 ** 26
export const AUDIT_HEAD_BYTES_MAX: number = AUDIT_PAYLOAD_BYTES_MAX

const SEGMENT_NAME = /^audit-(\d{12,16})\.log$/

export function segmentName(first: number): string {
  return `audit-${String(first).padStart(12, '0')}.log`
}

export function segmentPath(folder: string, first: number): string {
  return join(folder, segmentName(first))
}

/** First entries of the segments in a folder, ascending. */
export async function listSegments(folder: string): Promise<readonly number[]> {
  const names = await readdir(folder)
  const firsts = names.flatMap((name) => {
    const first = Number(SEGMENT_NAME.exec(name)?.[1] ?? Number.NaN)
    return Number.isSafeInteger(first) && segmentName(first) === name ? [first] : []
  })
  return firsts.toSorted((one, other) => one - other)
}
