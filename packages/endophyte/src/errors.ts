import { CodedError } from '@mycelium/interface'

// ---- QMP and QEMU ------------------------------------------------------------------------------

/** QEMU refused a command. */
export class QmpError extends CodedError<'ERR_ENDOPHYTE_QMP'> {
  override get name(): 'QmpError' {
    return 'QmpError'
  }
  readonly code = 'ERR_ENDOPHYTE_QMP'
  readonly command: string
  /** QEMU's own class, as `GenericError` or `CommandNotFound`. */
  readonly qmpClass: string
  readonly description: string
  constructor(
    fields: { readonly command: string; readonly qmpClass: string; readonly description: string },
    options?: ErrorOptions,
  ) {
    super(`QEMU refused ${fields.command}: ${fields.description} (${fields.qmpClass})`, options)
    this.command = fields.command
    this.qmpClass = fields.qmpClass
    this.description = fields.description
  }
}

/** The QMP connection ended, or QEMU sent what no QEMU sends. Whether the command was carried out
 * is not known. */
export class QmpLostError extends CodedError<'ERR_ENDOPHYTE_QMP_LOST'> {
  override get name(): 'QmpLostError' {
    return 'QmpLostError'
  }
  readonly code = 'ERR_ENDOPHYTE_QMP_LOST'
  readonly reason: string
  constructor(reason: string, options?: ErrorOptions) {
    super(`connection to QEMU lost: ${reason}`, options)
    this.reason = reason
  }
}

/** Too many QMP commands without a reply. Nothing was sent. */
export class QmpBusyError extends CodedError<'ERR_ENDOPHYTE_QMP_BUSY'> {
  override get name(): 'QmpBusyError' {
    return 'QmpBusyError'
  }
  readonly code = 'ERR_ENDOPHYTE_QMP_BUSY'
  readonly pendingMax: number
  constructor(pendingMax: number, options?: ErrorOptions) {
    super(`more than ${pendingMax} QMP commands would wait for their replies`, options)
    this.pendingMax = pendingMax
  }
}

/** There is no QEMU for this architecture. */
export class NoQemuError extends CodedError<'ERR_ENDOPHYTE_NO_QEMU'> {
  override get name(): 'NoQemuError' {
    return 'NoQemuError'
  }
  readonly code = 'ERR_ENDOPHYTE_NO_QEMU'
  readonly binary: string
  /** The command to type. */
  readonly fix: string
  constructor(
    fields: { readonly binary: string; readonly packageName: string },
    options?: ErrorOptions,
  ) {
    const fix = `sudo apt-get install ${fields.packageName}`
    super(`${fields.binary} is not installed. To install it: ${fix}`, options)
    this.binary = fields.binary
    this.fix = fix
  }
}

/** QEMU is too old. */
export class QemuVersionError extends CodedError<'ERR_ENDOPHYTE_QEMU_VERSION'> {
  override get name(): 'QemuVersionError' {
    return 'QemuVersionError'
  }
  readonly code = 'ERR_ENDOPHYTE_QEMU_VERSION'
  readonly binary: string
  readonly found: string
  readonly needed: string
  constructor(
    fields: { readonly binary: string; readonly found: string; readonly needed: string },
    options?: ErrorOptions,
  ) {
    super(
      `${fields.binary} is version ${fields.found}; ${fields.needed} or newer is needed`,
      options,
    )
    this.binary = fields.binary
    this.found = fields.found
    this.needed = fields.needed
  }
}

/** This build of QEMU lacks something that replication needs. */
export class QemuFeatureError extends CodedError<'ERR_ENDOPHYTE_QEMU_FEATURE'> {
  override get name(): 'QemuFeatureError' {
    return 'QemuFeatureError'
  }
  readonly code = 'ERR_ENDOPHYTE_QEMU_FEATURE'
  readonly binary: string
  readonly missing: readonly string[]
  constructor(
    fields: { readonly binary: string; readonly missing: readonly string[] },
    options?: ErrorOptions,
  ) {
    super(`${fields.binary} has no ${fields.missing.join(', ')}`, options)
    this.binary = fields.binary
    this.missing = fields.missing
  }
}

/** QEMU did not start. */
export class QemuStartError extends CodedError<'ERR_ENDOPHYTE_QEMU_START'> {
  override get name(): 'QemuStartError' {
    return 'QemuStartError'
  }
  readonly code = 'ERR_ENDOPHYTE_QEMU_START'
  /** The end of what QEMU printed; may be empty. */
  readonly output: string
  constructor(
    fields: { readonly reason: string; readonly output: string },
    options?: ErrorOptions,
  ) {
    const output = fields.output.trim()
    super(`QEMU did not start: ${fields.reason}${output === '' ? '' : `: ${output}`}`, options)
    this.output = output
  }
}

/** QEMU is gone, or was stopped, or was not started yet. */
export class QemuClosedError extends CodedError<'ERR_ENDOPHYTE_CLOSED'> {
  override get name(): 'QemuClosedError' {
    return 'QemuClosedError'
  }
  readonly code = 'ERR_ENDOPHYTE_CLOSED'
  constructor(what: string, options?: ErrorOptions) {
    super(what, options)
  }
}

/** Somebody else paused the guest (or it shut down): it is not ours to continue. */
export class QemuPausedError extends CodedError<'ERR_ENDOPHYTE_PAUSED'> {
  override get name(): 'QemuPausedError' {
    return 'QemuPausedError'
  }
  readonly code = 'ERR_ENDOPHYTE_PAUSED'
  constructor(options?: ErrorOptions) {
    super('the guest was paused by somebody else and stays paused until they continue it', options)
  }
}

/** QEMU could not save or load the state of the machine. */
export class MachineStateError extends CodedError<'ERR_ENDOPHYTE_MACHINE_STATE'> {
  override get name(): 'MachineStateError' {
    return 'MachineStateError'
  }
  readonly code = 'ERR_ENDOPHYTE_MACHINE_STATE'
  readonly doing: 'save' | 'load'
  readonly reason: string
  constructor(
    fields: { readonly doing: 'save' | 'load'; readonly reason: string },
    options?: ErrorOptions,
  ) {
    super(`QEMU could not ${fields.doing} the state of the machine: ${fields.reason}`, options)
    this.doing = fields.doing
    this.reason = fields.reason
  }
}

/** A migration stream is not what QEMU writes. */
export class MigrationStreamError extends CodedError<'ERR_ENDOPHYTE_STREAM'> {
  override get name(): 'MigrationStreamError' {
    return 'MigrationStreamError'
  }
  readonly code = 'ERR_ENDOPHYTE_STREAM'
  readonly reason: string
  constructor(reason: string, options?: ErrorOptions) {
    super(`not a migration stream: ${reason}`, options)
    this.reason = reason
  }
}

// ---- Guest image -------------------------------------------------------------------------------

/** The image of the demo guest could not be made. */
export class GuestImageError extends CodedError<'ERR_ENDOPHYTE_GUEST_IMAGE'> {
  override get name(): 'GuestImageError' {
    return 'GuestImageError'
  }
  readonly code = 'ERR_ENDOPHYTE_GUEST_IMAGE'
  readonly reason: string
  /** What to do, as a command where there is one. */
  readonly fix: string
  constructor(fields: { readonly reason: string; readonly fix: string }, options?: ErrorOptions) {
    super(`no guest image: ${fields.reason}. To do: ${fields.fix}`, options)
    this.reason = fields.reason
    this.fix = fields.fix
  }
}

/** There is no C compiler for the guest's load program. */
export class NoCompilerError extends CodedError<'ERR_ENDOPHYTE_NO_COMPILER'> {
  override get name(): 'NoCompilerError' {
    return 'NoCompilerError'
  }
  readonly code = 'ERR_ENDOPHYTE_NO_COMPILER'
  readonly compiler: string
  readonly fix: string
  constructor(
    fields: { readonly compiler: string; readonly packageName: string },
    options?: ErrorOptions,
  ) {
    const fix = `sudo apt-get install ${fields.packageName}`
    super(`${fields.compiler} is not installed. To install it: ${fix}`, options)
    this.compiler = fields.compiler
    this.fix = fix
  }
}

// ---- Leases and guard ---------------------------------------------------------------------------

/** Another holds the lease, and the caller did not want to wait. */
export class LeaseHeldError extends CodedError<'ERR_LEASE_HELD'> {
  override get name(): 'LeaseHeldError' {
    return 'LeaseHeldError'
  }
  readonly code = 'ERR_LEASE_HELD'
  readonly lease: string

  constructor(lease: string, options?: ErrorOptions) {
    super(`lease ${lease} is held by another`, options)
    this.lease = lease
  }
}

/** Holder or record changed since the expected version: read the view and decide anew. */
export class LeaseChangedError extends CodedError<'ERR_LEASE_CHANGED'> {
  override get name(): 'LeaseChangedError' {
    return 'LeaseChangedError'
  }
  readonly code = 'ERR_LEASE_CHANGED'
  readonly lease: string

  constructor(lease: string, options?: ErrorOptions) {
    super(`lease ${lease} changed since the expected version`, options)
    this.lease = lease
  }
}

/** The grantor cannot be reached or cannot make it durable: it has no effect. */
export class LeaseUnavailableError extends CodedError<'ERR_LEASE_UNAVAILABLE'> {
  override get name(): 'LeaseUnavailableError' {
    return 'LeaseUnavailableError'
  }
  readonly code = 'ERR_LEASE_UNAVAILABLE'
  readonly lease: string

  constructor(lease: string, options?: ErrorOptions) {
    super(`the grantor of lease ${lease} is not available`, options)
    this.lease = lease
  }
}

/** The change may or may not have happened: read the view before relying on either. */
export class LeaseOutcomeUnknownError extends CodedError<'ERR_LEASE_OUTCOME_UNKNOWN'> {
  override get name(): 'LeaseOutcomeUnknownError' {
    return 'LeaseOutcomeUnknownError'
  }
  readonly code = 'ERR_LEASE_OUTCOME_UNKNOWN'
  readonly lease: string

  constructor(lease: string, options?: ErrorOptions) {
    super(`nobody knows whether the change of lease ${lease} happened`, options)
    this.lease = lease
  }
}

/** The lease is over; `loss` says how. Final. */
export class LeaseLostError extends CodedError<'ERR_LEASE_LOST'> {
  override get name(): 'LeaseLostError' {
    return 'LeaseLostError'
  }
  readonly code = 'ERR_LEASE_LOST'
  readonly lease: string
  /** `expired`, `refused`, `transferred`, `released` or `abandoned` (disposed). */
  readonly loss: string

  constructor(lease: string, loss: string, options?: ErrorOptions) {
    super(`lease ${lease} is over: ${loss}`, options)
    this.lease = lease
    this.loss = loss
  }
}

/** A bound of the grantor is reached: names, or those who wait for or watch one lease. */
export class LeaseFullError extends CodedError<'ERR_LEASE_FULL'> {
  override get name(): 'LeaseFullError' {
    return 'LeaseFullError'
  }
  readonly code = 'ERR_LEASE_FULL'
  readonly lease: string

  constructor(lease: string, options?: ErrorOptions) {
    super(`the grantor has no room for this request about lease ${lease}`, options)
    this.lease = lease
  }
}

/** The client or server was stopped. */
export class LeaseClosedError extends CodedError<'ERR_LEASE_CLOSED'> {
  override get name(): 'LeaseClosedError' {
    return 'LeaseClosedError'
  }
  readonly code = 'ERR_LEASE_CLOSED'

  constructor(what: string, options?: ErrorOptions) {
    super(`the ${what} is stopped`, options)
  }
}

/** A frame of the other side is malformed. */
export class LeaseFrameError extends CodedError<'ERR_LEASE_FRAME'> {
  override get name(): 'LeaseFrameError' {
    return 'LeaseFrameError'
  }
  readonly code = 'ERR_LEASE_FRAME'

  constructor(what: string, options?: ErrorOptions) {
    super(`malformed lease frame: ${what}`, options)
  }
}

/** The log of the lease server is damaged where it was durable: it must not be guessed at. */
export class LeaseLogCorruptError extends CodedError<'ERR_LEASE_LOG_CORRUPT'> {
  override get name(): 'LeaseLogCorruptError' {
    return 'LeaseLogCorruptError'
  }
  readonly code = 'ERR_LEASE_LOG_CORRUPT'
  readonly path: string
  /** Where the damage begins, in bytes. */
  readonly offset: number

  constructor(path: string, offset: number, what: string, options?: ErrorOptions) {
    super(`${path} is damaged at byte ${offset}: ${what}`, options)
    this.path = path
    this.offset = offset
  }
}

/** Another lease server uses the folder. */
export class LeaseFolderLockedError extends CodedError<'ERR_LEASE_FOLDER_LOCKED'> {
  override get name(): 'LeaseFolderLockedError' {
    return 'LeaseFolderLockedError'
  }
  readonly code = 'ERR_LEASE_FOLDER_LOCKED'
  readonly folder: string

  constructor(folder: string, options?: ErrorOptions) {
    super(`${folder} is used by another lease server`, options)
    this.folder = folder
  }
}

/** A record could not be written. `doubt`: it may be found after a restart all the same. */
export class LeaseLogWriteError extends CodedError<'ERR_LEASE_LOG_WRITE'> {
  override get name(): 'LeaseLogWriteError' {
    return 'LeaseLogWriteError'
  }
  readonly code = 'ERR_LEASE_LOG_WRITE'
  readonly path: string
  readonly doubt: boolean

  constructor(path: string, doubt: boolean, options?: ErrorOptions) {
    super(`cannot write ${path}${doubt ? ', and it is not known what was written' : ''}`, options)
    this.path = path
    this.doubt = doubt
  }
}

/** The guard executable is not there; `tried` are the places. */
export class GuardMissingError extends CodedError<'ERR_ENDOPHYTE_NO_GUARD'> {
  override get name(): 'GuardMissingError' {
    return 'GuardMissingError'
  }
  readonly code = 'ERR_ENDOPHYTE_NO_GUARD'
  readonly tried: readonly string[]

  /** @param machine - platform and architecture */
  constructor(tried: readonly string[], machine: string, options?: ErrorOptions) {
    super(`no guard for ${machine}: tried ${tried.join(', ')}`, options)
    this.tried = tried
  }
}

/** The guard did not start what it should guard; the message ends with what it said. */
export class GuardStartError extends CodedError<'ERR_ENDOPHYTE_GUARD_START'> {
  override get name(): 'GuardStartError' {
    return 'GuardStartError'
  }
  readonly code = 'ERR_ENDOPHYTE_GUARD_START'

  constructor(why: string, options?: ErrorOptions) {
    super(`the guard could not start its program: ${why}`, options)
  }
}

/** A device state or a difference of one does not fit together. */
export class StateError extends CodedError<'ERR_ENDOPHYTE_STATE'> {
  override get name(): 'StateError' {
    return 'StateError'
  }
  readonly code = 'ERR_ENDOPHYTE_STATE'
}

/** The record that stands with a VM's lease is not one of this version. */
export class RecordError extends CodedError<'ERR_ENDOPHYTE_RECORD'> {
  override get name(): 'RecordError' {
    return 'RecordError'
  }
  readonly code = 'ERR_ENDOPHYTE_RECORD'
}

/** A backup that is not in the in-sync set, or holds no complete epoch, does not take over. */
export class NotInSyncError extends CodedError<'ERR_ENDOPHYTE_NOT_IN_SYNC'> {
  override get name(): 'NotInSyncError' {
    return 'NotInSyncError'
  }
  readonly code = 'ERR_ENDOPHYTE_NOT_IN_SYNC'
}

/** The guest ended: it shut down, it panicked, or its QEMU is gone. */
export class GuestEndedError extends CodedError<'ERR_ENDOPHYTE_GUEST_ENDED'> {
  override get name(): 'GuestEndedError' {
    return 'GuestEndedError'
  }
  readonly code = 'ERR_ENDOPHYTE_GUEST_ENDED'
}

/** The lease on the VM is lost: its guest was stopped. */
export class VmLeaseLostError extends CodedError<'ERR_ENDOPHYTE_LEASE_LOST'> {
  override get name(): 'VmLeaseLostError' {
    return 'VmLeaseLostError'
  }
  readonly code = 'ERR_ENDOPHYTE_LEASE_LOST'
}
