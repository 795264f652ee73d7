import { CodedError } from '@mycelium/interface'

/** Another process, or another object of this one, uses the folder. */
export class IdentityLockedError extends CodedError<'ERR_IDENTITY_LOCKED'> {
  override get name(): 'IdentityLockedError' {
    return 'IdentityLockedError'
  }
  readonly code = 'ERR_IDENTITY_LOCKED'
  readonly folder: string
  constructor(folder: string, options?: ErrorOptions) {
    super(`${folder} is in use by another process`, options)
    this.folder = folder
  }
}

/** Others could read or replace the secrets that lie there, or it is no ordinary file or folder. */
export class IdentityUnsafePathError extends CodedError<'ERR_IDENTITY_UNSAFE_PATH'> {
  override get name(): 'IdentityUnsafePathError' {
    return 'IdentityUnsafePathError'
  }
  readonly code = 'ERR_IDENTITY_UNSAFE_PATH'
  readonly path: string
  constructor(path: string, what: string, options?: ErrorOptions) {
    super(`${path} is not safe to use: ${what}`, options)
    this.path = path
  }
}

/** What was durable is not there any more, or was changed. Nothing was repaired or deleted. */
export class IdentityDamagedError extends CodedError<'ERR_IDENTITY_DAMAGED'> {
  override get name(): 'IdentityDamagedError' {
    return 'IdentityDamagedError'
  }
  readonly code = 'ERR_IDENTITY_DAMAGED'
  readonly path: string
  /** In bytes. */
  readonly offset: number
  constructor(path: string, offset: number, what: string, options?: ErrorOptions) {
    super(`${path} is damaged at byte ${offset}: ${what}`, options)
    this.path = path
    this.offset = offset
  }
}

/** The disk did not take it. */
export class IdentityWriteError extends CodedError<'ERR_IDENTITY_WRITE'> {
  override get name(): 'IdentityWriteError' {
    return 'IdentityWriteError'
  }
  readonly code = 'ERR_IDENTITY_WRITE'
  readonly path: string
  /** Nobody knows what a restart will find, and nothing more is written until then. */
  readonly doubt: boolean
  constructor(path: string, doubt: boolean, options?: ErrorOptions) {
    const what = doubt ? 'it is not known whether the disk holds it' : 'nothing was changed'
    super(`cannot write ${path}: ${what}`, options)
    this.path = path
    this.doubt = doubt
  }
}

/** The bound on what is kept is reached. */
export class IdentityFullError extends CodedError<'ERR_IDENTITY_FULL'> {
  override get name(): 'IdentityFullError' {
    return 'IdentityFullError'
  }
  readonly code = 'ERR_IDENTITY_FULL'
  readonly what: string
  readonly max: number
  constructor(what: string, max: number, options?: ErrorOptions) {
    super(`no room: at most ${max} ${what}`, options)
    this.what = what
    this.max = max
  }
}

/** The store or log was closed before. */
export class IdentityClosedError extends CodedError<'ERR_IDENTITY_CLOSED'> {
  override get name(): 'IdentityClosedError' {
    return 'IdentityClosedError'
  }
  readonly code = 'ERR_IDENTITY_CLOSED'
  constructor(what: string, options?: ErrorOptions) {
    super(`the ${what} is closed`, options)
  }
}

/** Not a key file of the kind that was asked for. */
export class KeyFileForeignError extends CodedError<'ERR_IDENTITY_KEY_FOREIGN'> {
  override get name(): 'KeyFileForeignError' {
    return 'KeyFileForeignError'
  }
  readonly code = 'ERR_IDENTITY_KEY_FOREIGN'
  constructor(what: string, options?: ErrorOptions) {
    super(`this is another file: ${what}`, options)
  }
}

/** A key file whose bytes changed since it was written. */
export class KeyFileDamagedError extends CodedError<'ERR_IDENTITY_KEY_DAMAGED'> {
  override get name(): 'KeyFileDamagedError' {
    return 'KeyFileDamagedError'
  }
  readonly code = 'ERR_IDENTITY_KEY_DAMAGED'
  constructor(what: string, options?: ErrorOptions) {
    super(`the key file is damaged: ${what}`, options)
  }
}

/** The key file is encrypted, and no passphrase was given. */
export class PassphraseMissingError extends CodedError<'ERR_IDENTITY_PASSPHRASE_MISSING'> {
  override get name(): 'PassphraseMissingError' {
    return 'PassphraseMissingError'
  }
  readonly code = 'ERR_IDENTITY_PASSPHRASE_MISSING'
  constructor(options?: ErrorOptions) {
    super('the key file is encrypted: its passphrase is needed', options)
  }
}

/** The key file is whole, but was encrypted with another passphrase. */
export class PassphraseWrongError extends CodedError<'ERR_IDENTITY_PASSPHRASE_WRONG'> {
  override get name(): 'PassphraseWrongError' {
    return 'PassphraseWrongError'
  }
  readonly code = 'ERR_IDENTITY_PASSPHRASE_WRONG'
  constructor(options?: ErrorOptions) {
    super('wrong passphrase, or somebody changed the file', options)
  }
}

/** The audit log is not the one that this node wrote. Nothing was repaired or deleted. */
export class AuditDamagedError extends CodedError<'ERR_IDENTITY_AUDIT_DAMAGED'> {
  override get name(): 'AuditDamagedError' {
    return 'AuditDamagedError'
  }
  readonly code = 'ERR_IDENTITY_AUDIT_DAMAGED'
  readonly path: string
  readonly offset: number
  constructor(path: string, offset: number, what: string, options?: ErrorOptions) {
    super(`audit log ${path} is damaged at byte ${offset}: ${what}`, options)
    this.path = path
    this.offset = offset
  }
}

/** The bytes are no backup of an identity, or damaged, or of a newer version. */
export class BackupForeignError extends CodedError<'ERR_IDENTITY_BACKUP_FOREIGN'> {
  override get name(): 'BackupForeignError' {
    return 'BackupForeignError'
  }
  readonly code = 'ERR_IDENTITY_BACKUP_FOREIGN'
  constructor(why: string, options?: ErrorOptions) {
    super(`this is no backup of an identity that can be read: ${why}`, options)
  }
}

/** A backup takes the place of nobody who is a member already. */
export class BackupNotEmptyError extends CodedError<'ERR_IDENTITY_BACKUP_NOT_EMPTY'> {
  override get name(): 'BackupNotEmptyError' {
    return 'BackupNotEmptyError'
  }
  readonly code = 'ERR_IDENTITY_BACKUP_NOT_EMPTY'
  constructor(options?: ErrorOptions) {
    super('this node is a member of a network already: leave it first', options)
  }
}
