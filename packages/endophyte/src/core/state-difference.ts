/**
 * Difference between two device states. From epoch to epoch 0.1 to 0.4 KiB of 80 to 170 KiB differ,
 * so blocks that differ are sent whole.
 *
 * Layout, little-endian: u32 length of the new state, then for each run of differing blocks u32
 * offset, u32 length, bytes.
 */
import { StateError } from '../errors.ts'

/** Smaller blocks carry fewer equal bytes, more heads of 8 bytes; 64 suits scattered counters. */
const BLOCK_BYTES = 64

/** Bound on a device state: 170 KiB were seen, hot-plugged devices add to it. */
export const STATE_BYTES_MAX: number = 8 * 1024 * 1024

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** What turns `base` into `next`. */
export function encodeStateDifference(base: Uint8Array, next: Uint8Array): Uint8Array {
  const runs: { start: number; end: number }[] = []
  for (let start = 0; start < next.byteLength; start += BLOCK_BYTES) {
    const end = Math.min(start + BLOCK_BYTES, next.byteLength)
    if (isEqual(base, next, start, end)) continue
    const last = runs.at(-1)
    if (last?.end === start) last.end = end
    else runs.push({ start, end })
  }
  const bytes = runs.reduce((sum, { start, end }) => sum + 8 + end - start, 4)
  const difference = new Uint8Array(bytes)
  const view = viewOf(difference)
  view.setUint32(0, next.byteLength, true)
  let offset = 4
  for (const { start, end } of runs) {
    view.setUint32(offset, start, true)
    view.setUint32(offset + 4, end - start, true)
    difference.set(next.subarray(start, end), offset + 8)
    offset += 8 + end - start
  }
  return difference
}

function isEqual(base: Uint8Array, next: Uint8Array, start: number, end: number): boolean {
  if (end > base.byteLength) return false
  for (let index = start; index < end; index++) {
    if (base[index] !== next[index]) return false
  }
  return true
}

/** @throws {StateError} `ERR_ENDOPHYTE_STATE`: the difference does not fit together */
export function applyStateDifference(base: Uint8Array, difference: Uint8Array): Uint8Array {
  if (difference.byteLength < 4) throw new StateError('device state: difference too short')
  const view = viewOf(difference)
  const length = view.getUint32(0, true)
  if (length > STATE_BYTES_MAX) throw new StateError(`device state of ${length} bytes`)
  const next = new Uint8Array(length)
  next.set(base.subarray(0, length))
  let offset = 4
  while (offset < difference.byteLength) {
    if (offset + 8 > difference.byteLength) {
      throw new StateError('device state: difference cut off')
    }
    const start = view.getUint32(offset, true)
    const bytes = view.getUint32(offset + 4, true)
    offset += 8
    if (bytes === 0 || start + bytes > length || offset + bytes > difference.byteLength) {
      throw new StateError(`device state: run of ${bytes} bytes at ${start}`)
    }
    next.set(difference.subarray(offset, offset + bytes), start)
    offset += bytes
  }
  return next
}

/** Device state of a VM: `head` (once) and `tail` (each epoch); see VM replication in docs. */
export interface DeviceState {
  readonly head: Uint8Array
  readonly tail: Uint8Array
}

/** u32 length of the head, head, tail. */
export function encodeDeviceState({ head, tail }: DeviceState): Uint8Array {
  const bytes = new Uint8Array(4 + head.byteLength + tail.byteLength)
  viewOf(bytes).setUint32(0, head.byteLength, true)
  bytes.set(head, 4)
  bytes.set(tail, 4 + head.byteLength)
  return bytes
}

/** Copies: the message that it came in need not be kept. @throws {StateError} */
export function decodeDeviceState(bytes: Uint8Array): DeviceState {
  if (bytes.byteLength < 4) throw new StateError('device state too short')
  const headBytes = viewOf(bytes).getUint32(0, true)
  if (headBytes > bytes.byteLength - 4 || bytes.byteLength > STATE_BYTES_MAX) {
    throw new StateError(`device state of ${bytes.byteLength} bytes with a head of ${headBytes}`)
  }
  const head = bytes.slice(4, 4 + headBytes)
  return { head, tail: bytes.slice(4 + headBytes) }
}
