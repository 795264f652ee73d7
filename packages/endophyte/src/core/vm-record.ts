/**
 * The record that stands with a VM's lease: who may take the VM over.
 */
import type { NodeId } from '@mycelium/interface'
import { RecordError } from '../errors.ts'

/** `stopped`: the guest shut itself down, nobody restarts it from a checkpoint. */
export type VmState = 'running' | 'stopped'

export interface VmRecord {
  readonly state: VmState
  /** Backups that hold every epoch whose output was released, in ascending order. */
  readonly inSync: readonly NodeId[]
}

/** Bound on the in-sync set: sixteen node ids of 64 bytes fit well into a record of 4 KiB. */
export const IN_SYNC_MAX = 16

const NODE_ID_CHARS_MAX = 128

/** JSON: people read it in `status`. */
export function encodeVmRecord({ state, inSync }: VmRecord): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ version: 1, state, inSync }))
}

/** @throws {RecordError} `ERR_ENDOPHYTE_RECORD` */
export function decodeVmRecord(bytes: Uint8Array): VmRecord {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new RecordError('the record of the VM is not readable', { cause })
  }
  if (!isVmRecord(value)) throw new RecordError('the record of the VM has another form')
  return { state: value.state, inSync: value.inSync }
}

function isVmRecord(value: unknown): value is VmRecord {
  if (typeof value !== 'object' || value === null) return false
  const { version, state, inSync } = value as Record<string, unknown>
  return (
    version === 1 &&
    (state === 'running' || state === 'stopped') &&
    Array.isArray(inSync) &&
    inSync.length <= IN_SYNC_MAX &&
    inSync.every((id) => typeof id === 'string' && id.length <= NODE_ID_CHARS_MAX) &&
    new Set(inSync).size === inSync.length
  )
}

/** The same ids in any order; neither has one twice. */
export function sameMembers(one: readonly NodeId[], other: readonly NodeId[]): boolean {
  return one.length === other.length && one.every((id) => other.includes(id))
}
