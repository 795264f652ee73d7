import type { FabricListenError } from '@mycelium/fabric'
import type { JoinError } from '@mycelium/identity'
import {
  CODE_OF_UNCODED,
  EXIT_CONFLICT,
  EXIT_FAILED,
  EXIT_NOT_READY,
  EXIT_USAGE,
} from './constants.ts'

/** Codes of errors that are not simply a failure (exit code 1). */
const EXIT_CODES: ReadonlyMap<string, number> = new Map([
  ['ERR_NODE_USAGE', EXIT_USAGE],
  ['ERR_NODE_NOT_READY', EXIT_NOT_READY],
  ['ERR_NODE_NOT_RUNNING', EXIT_NOT_READY],
  ['ERR_NODE_ALREADY_RUNNING', EXIT_CONFLICT],
  ['ERR_NODE_EXISTS', EXIT_CONFLICT],
  ['ERR_RAM_NO_ADDON', EXIT_NOT_READY],
  ['ERR_ENDOPHYTE_NO_GUARD', EXIT_NOT_READY],
  ['ERR_ENDOPHYTE_NO_QEMU', EXIT_NOT_READY],
  ['ERR_ENDOPHYTE_QEMU_VERSION', EXIT_NOT_READY],
  ['ERR_ENDOPHYTE_QEMU_FEATURE', EXIT_NOT_READY],
  ['ERR_ENDOPHYTE_NO_COMPILER', EXIT_NOT_READY],
  ['ERR_ENDOPHYTE_GUEST_IMAGE', EXIT_NOT_READY],
  ['ERR_LEASE_UNAVAILABLE', EXIT_NOT_READY],
  ['ERR_LEASE_HELD', EXIT_CONFLICT],
  ['ERR_LEASE_CHANGED', EXIT_CONFLICT],
  ['ERR_LEASE_FOLDER_LOCKED', EXIT_CONFLICT],
  // What was given is not what it should be, and nothing was tried.
  ['ERR_IDENTITY_TOKEN', EXIT_USAGE],
  ['ERR_IDENTITY_NODE_ID', EXIT_USAGE],
  ['ERR_IDENTITY_PASSPHRASE_MISSING', EXIT_USAGE],
  ['ERR_IDENTITY_PASSPHRASE_WRONG', EXIT_USAGE],
  ['ERR_IDENTITY_BACKUP_FOREIGN', EXIT_USAGE],
  ['ERR_IDENTITY_KEY_FOREIGN', EXIT_USAGE],
  ['ERR_IDENTITY_NOT_MEMBER', EXIT_NOT_READY],
  ['ERR_IDENTITY_THRESHOLD', EXIT_NOT_READY],
  ['ERR_IDENTITY_UNSAFE_PATH', EXIT_NOT_READY],
  ['ERR_FABRIC_LISTEN', EXIT_NOT_READY],
  ['ERR_IDENTITY_MEMBER_ALREADY', EXIT_CONFLICT],
  ['ERR_IDENTITY_TOKEN_FOREIGN', EXIT_CONFLICT],
  ['ERR_IDENTITY_BACKUP_NOT_EMPTY', EXIT_CONFLICT],
  ['ERR_IDENTITY_LOCKED', EXIT_CONFLICT],
  // Of the system: errno(3).
  ['EACCES', EXIT_NOT_READY],
  ['EPERM', EXIT_NOT_READY],
  ['EROFS', EXIT_NOT_READY],
  ['EADDRNOTAVAIL', EXIT_NOT_READY],
  ['EADDRINUSE', EXIT_CONFLICT],
])

/** Of an error that is not about ending the program. */
export function exitCodeOf(error: unknown): number {
  if (isInUse(error)) return EXIT_CONFLICT
  if (isUnreached(error)) return EXIT_NOT_READY
  return EXIT_CODES.get(codeOf(error)) ?? EXIT_FAILED
}

export function codeOf(error: unknown): string {
  const { code } = error instanceof Error ? (error as { readonly code?: unknown }) : {}
  return typeof code === 'string' ? code : CODE_OF_UNCODED
}

/** Somebody else listens where the node should. */
function isInUse(error: unknown): boolean {
  return codeOf(error) === 'ERR_FABRIC_LISTEN' && (error as FabricListenError).isInUse
}

/** The nodes that a token names did not answer; if one did, it said no. */
function isUnreached(error: unknown): boolean {
  return codeOf(error) === 'ERR_IDENTITY_JOIN' && (error as JoinError).reason === undefined
}
