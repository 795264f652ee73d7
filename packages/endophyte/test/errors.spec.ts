import { readFileSync } from 'node:fs'
import { CodedError } from '@mycelium/interface'
import { expect, it } from 'vitest'
import * as errors from '../src/errors.ts'
import * as api from '../src/index.ts'

const cause = new Error('underneath')

const samples = [
  new errors.NotInSyncError('it is not in sync', { cause }),
  new errors.GuestEndedError('the guest has ended', { cause }),
  new errors.VmLeaseLostError('the lease is lost', { cause }),
  new errors.RecordError('the record is wrong', { cause }),
  new errors.StateError('the state is wrong', { cause }),
  new errors.NoQemuError({ binary: 'qemu', packageName: 'qemu-system' }, { cause }),
  new errors.QemuVersionError({ binary: 'qemu', found: '1', needed: '2' }, { cause }),
  new errors.QemuFeatureError({ binary: 'qemu', missing: ['a', 'b'] }, { cause }),
  new errors.QemuStartError({ reason: 'why', output: 'what it printed' }, { cause }),
  new errors.QemuClosedError('QEMU is gone', { cause }),
  new errors.QemuPausedError({ cause }),
  new errors.MachineStateError({ doing: 'save', reason: 'why' }, { cause }),
  new errors.MigrationStreamError('why', { cause }),
  new errors.QmpError({ command: 'stop', qmpClass: 'GenericError', description: 'no' }, { cause }),
  new errors.QmpLostError('why', { cause }),
  new errors.QmpBusyError(64, { cause }),
  new errors.GuardMissingError(['/here', '/there'], 'linux-x64', { cause }),
  new errors.GuardStartError('why', { cause }),
  new errors.GuestImageError({ reason: 'why', fix: 'do this' }, { cause }),
  new errors.NoCompilerError({ compiler: 'cc', packageName: 'gcc' }, { cause }),
  new errors.LeaseHeldError('x', { cause }),
  new errors.LeaseChangedError('x', { cause }),
  new errors.LeaseUnavailableError('x', { cause }),
  new errors.LeaseOutcomeUnknownError('x', { cause }),
  new errors.LeaseLostError('x', 'expired', { cause }),
  new errors.LeaseFullError('x', { cause }),
  new errors.LeaseClosedError('lease client', { cause }),
  new errors.LeaseFrameError('why', { cause }),
  new errors.LeaseLogCorruptError('/log', 12, 'why', { cause }),
  new errors.LeaseLogWriteError('/log', true, { cause }),
  new errors.LeaseFolderLockedError('/folder', { cause }),
]

const isErrorName = (name: string): boolean => name.endsWith('Error')

it('classes, exports and the table of the README agree', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const rows = [...readme.matchAll(/^\| `(ERR_\w+)` +\| `(\w+)` +\|/gm)].map(([, code, name]) => ({
    code,
    name,
  }))
  expect(rows).toEqual(samples.map(({ code, name }) => ({ code, name })))
  const names = rows.map(({ name }) => name).sort()
  expect(Object.keys(errors).filter(isErrorName).sort()).toEqual(names)
  expect(Object.keys(api).filter(isErrorName).sort()).toEqual(names)
})

it('each says what happened in one line, and keeps its cause', () => {
  for (const error of samples) {
    expect(error).toBeInstanceOf(CodedError)
    expect(error.constructor.name).toBe(error.name)
    expect(error.message).toMatch(/^.{10,}$/)
    expect(error.cause).toBe(cause)
  }
})
