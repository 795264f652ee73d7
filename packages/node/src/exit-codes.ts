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
])

/** Of an error that is not about ending the program. */
export function exitCodeOf(error: unknown): number {
  return EXIT_CODES.get(codeOf(error)) ?? EXIT_FAILED
}

export function codeOf(error: unknown): string {
  const { code } = error instanceof Error ? (error as { readonly code?: unknown }) : {}
  return typeof code === 'string' ? code : CODE_OF_UNCODED
}
