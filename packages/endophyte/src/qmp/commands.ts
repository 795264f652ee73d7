import type { QmpVersion } from '../core/qmp-session.ts'

/** Run states of QEMU that matter here; others exist. */
export type QmpRunState =
  | 'running'
  | 'paused'
  | 'inmigrate'
  | 'postmigrate'
  | 'prelaunch'
  | 'finish-migrate'
  | 'shutdown'
  | 'guest-panicked'
  | 'internal-error'
  | 'io-error'
  | 'save-vm'
  | 'restore-vm'
  | 'suspended'
  | 'watchdog'
  | 'debug'
  | 'colo'

export interface QmpMigration {
  /** Absent: there was none. */
  readonly status?:
    | 'none'
    | 'setup'
    | 'cancelling'
    | 'cancelled'
    | 'active'
    | 'device'
    | 'completed'
    | 'failed'
    | 'pre-switchover'
    | 'wait-unplug'
    | 'postcopy-active'
  readonly 'error-desc'?: string
  /** Milliseconds that the guest stood still. */
  readonly downtime?: number
  readonly 'total-time'?: number
}

export interface QmpMigrationParameters {
  /** Bytes per second; 0: no limit (QEMU 8.1 or newer says so; older ones take 2^63 - 1 at
   * most). */
  readonly 'max-bandwidth'?: number
  /** Milliseconds. */
  readonly 'downtime-limit'?: number
}

/** A command: what it takes and what it gives. */
export interface QmpCommand<Arguments extends object | undefined, Returns> {
  readonly arguments: Arguments
  readonly returns: Returns
}
type Nothing = Readonly<Record<string, never>>

/** The commands that this package uses (QEMU, qapi/*.json; all there since 7.2 at least). */
export interface QmpCommands {
  readonly qmp_capabilities: QmpCommand<undefined, Nothing>
  readonly 'query-version': QmpCommand<
    undefined,
    {
      readonly qemu: Omit<QmpVersion, 'package'>
      readonly package: string
    }
  >
  readonly 'query-commands': QmpCommand<undefined, readonly { readonly name: string }[]>
  readonly 'query-machines': QmpCommand<
    undefined,
    readonly {
      readonly name: string
      readonly alias?: string
      readonly 'is-default'?: boolean
    }[]
  >
  readonly 'query-status': QmpCommand<
    undefined,
    {
      readonly running: boolean
      readonly status: QmpRunState
    }
  >
  readonly 'query-kvm': QmpCommand<
    undefined,
    { readonly enabled: boolean; readonly present: boolean }
  >
  readonly 'query-cpus-fast': QmpCommand<
    undefined,
    readonly {
      readonly 'cpu-index': number
      readonly 'thread-id': number
    }[]
  >
  readonly 'query-memory-devices': QmpCommand<undefined, readonly object[]>
  readonly stop: QmpCommand<undefined, Nothing>
  readonly cont: QmpCommand<undefined, Nothing>
  readonly quit: QmpCommand<undefined, Nothing>
  readonly system_reset: QmpCommand<undefined, Nothing>
  readonly system_powerdown: QmpCommand<undefined, Nothing>
  readonly 'xen-save-devices-state': QmpCommand<
    {
      readonly filename: string
      readonly live: boolean
    },
    Nothing
  >
  readonly migrate: QmpCommand<{ readonly uri: string }, Nothing>
  readonly migrate_cancel: QmpCommand<undefined, Nothing>
  readonly 'migrate-incoming': QmpCommand<{ readonly uri: string }, Nothing>
  readonly 'migrate-set-capabilities': QmpCommand<
    {
      readonly capabilities: readonly { readonly capability: string; readonly state: boolean }[]
    },
    Nothing
  >
  readonly 'query-migrate-capabilities': QmpCommand<
    undefined,
    readonly {
      readonly capability: string
      readonly state: boolean
    }[]
  >
  readonly 'migrate-set-parameters': QmpCommand<QmpMigrationParameters, Nothing>
  readonly 'query-migrate-parameters': QmpCommand<undefined, QmpMigrationParameters>
  readonly 'query-migrate': QmpCommand<undefined, QmpMigration>
}

export type QmpCommandName = keyof QmpCommands & string

/** Why QEMU stopped or reset the guest, in QEMU's words: `guest-shutdown`, `host-qmp-quit`, ... */
export interface QmpGuestCause {
  /** The guest itself asked for it. */
  readonly guest: boolean
  readonly reason: string
}

/** The events that this package uses. `unixMs`: by QEMU's wall clock, for people only. */
export interface QmpEvents {
  STOP: { readonly unixMs: number }
  RESUME: { readonly unixMs: number }
  SHUTDOWN: { readonly unixMs: number } & QmpGuestCause
  RESET: { readonly unixMs: number } & QmpGuestCause
  POWERDOWN: { readonly unixMs: number }
  /** Only with the migration capability `events`. */
  MIGRATION: { readonly unixMs: number; readonly status: string }
  GUEST_PANICKED: { readonly unixMs: number; readonly action: string }
}

/** The arguments of `execute`: a second one only where the command takes any. */
export type QmpExecuteArguments<Name extends QmpCommandName> =
  QmpCommands[Name]['arguments'] extends undefined
    ? []
    : [parameters: Exclude<QmpCommands[Name]['arguments'], undefined>]

/** One command of a pipeline. */
export type QmpPipelineCommand = {
  [Name in QmpCommandName]: QmpCommands[Name]['arguments'] extends undefined
    ? { readonly execute: Name }
    : { readonly execute: Name; readonly arguments: QmpCommands[Name]['arguments'] }
}[QmpCommandName]

export type QmpPipelineReturns<Commands extends readonly QmpPipelineCommand[]> = {
  [Index in keyof Commands]: Promise<QmpCommands[Commands[Index]['execute']]['returns']>
}
