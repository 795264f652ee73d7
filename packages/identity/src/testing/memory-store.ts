import type { AbortOptions } from '@mycelium/interface'
import { IdentityClosedError, IdentityLockedError, IdentityWriteError } from '../disk-errors.ts'
import { StoreCalls, checkedFacts, checkedRecord } from '../store-calls.ts'
import type { IdentityStore, RecordName } from '../store.ts'

/** What outlives processes. */
export interface MemoryDisk {
  /** @throws {IdentityLockedError} a store of this disk is neither disposed of nor crashed */
  open(): MemoryStore
  /** Ends the open store, if any, as a power loss would: what waits for the disk never happened. */
  crash(): void
  /** While set, writes fail with it as their cause, and change nothing. */
  failure: Error | undefined
  /** Writes wait until the returned function is called. */
  hold(): () => void
  /** Writes that became durable, in order: `tokens`, `facts`. */
  readonly written: readonly string[]
}

export interface MemoryStore extends IdentityStore {
  readonly disk: MemoryDisk
}

/** A disk in memory, for tests that want to see crashes, full disks and the order of writes. */
export function createMemoryDisk(): MemoryDisk {
  return new Disk()
}

/** An {@link IdentityStore} in memory, on a disk of its own. */
export function createMemoryStore(): MemoryStore {
  return createMemoryDisk().open()
}

class Disk implements MemoryDisk {
  readonly records = new Map<RecordName, Uint8Array>()
  facts: readonly Uint8Array[] = []
  failure: Error | undefined
  readonly written: string[] = []
  #held: Promise<void> = Promise.resolve()
  #store: Store | undefined

  open(): MemoryStore {
    if (this.#store !== undefined) throw new IdentityLockedError('the disk in memory')
    this.#store = new Store(this)
    return this.#store
  }

  crash(): void {
    this.#store = undefined
  }

  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#held = Promise.all([this.#held, promise]).then(() => {})
    return resolve
  }

  release(store: Store): void {
    if (this.#store === store) this.#store = undefined
  }

  async change(store: Store, what: string, body: () => void): Promise<void> {
    const { failure } = this
    if (failure !== undefined) throw new IdentityWriteError(what, false, { cause: failure })
    await this.#held
    if (this.#store !== store) throw new IdentityClosedError('process that made this call')
    body()
    this.written.push(what)
  }
}

class Store implements MemoryStore {
  readonly disk: Disk
  readonly #calls = new StoreCalls()

  constructor(disk: Disk) {
    this.disk = disk
  }

  read(name: RecordName, options: AbortOptions = {}): Promise<Uint8Array | undefined> {
    return this.#calls.run(options, () => {
      const bytes = this.disk.records.get(name)
      return bytes && Uint8Array.from(bytes)
    })
  }

  async write(name: RecordName, bytes: Uint8Array, options: AbortOptions = {}): Promise<void> {
    const content = checkedRecord(bytes)
    await this.#change(name, options, () => this.disk.records.set(name, content))
  }

  async remove(name: RecordName, options: AbortOptions = {}): Promise<void> {
    await this.#change(name, options, () => this.disk.records.delete(name))
  }

  facts(options: AbortOptions = {}): Promise<readonly Uint8Array[]> {
    return this.#calls.run(options, () => this.disk.facts.map((one) => Uint8Array.from(one)))
  }

  async appendFacts(envelopes: readonly Uint8Array[], options: AbortOptions = {}): Promise<void> {
    const added = checkedFacts(envelopes)
    await this.#change('facts', options, () => {
      this.disk.facts = [...this.disk.facts, ...added]
    })
  }

  async replaceFacts(envelopes: readonly Uint8Array[], options: AbortOptions = {}): Promise<void> {
    const kept = checkedFacts(envelopes)
    await this.#change('facts', options, () => {
      this.disk.facts = kept
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#calls.close(() => Promise.resolve(this.disk.release(this)))
  }

  async #change(what: string, options: AbortOptions, body: () => void): Promise<void> {
    await this.#calls.run(options, () => this.disk.change(this, what, body))
  }
}
