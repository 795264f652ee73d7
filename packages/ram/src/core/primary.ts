/**
 * What a primary knows of its backups and sends to each, without I/O.
 *
 * A backup goes `greeting -> comparing? -> filling -> joining -> in-sync`. Filling happens in the
 * background from the shadow, which is the image of the last sealed epoch. What it still lacks when
 * it joins travels with one epoch, complete; from then on it gets differences. Every page that an
 * epoch changed is added to what each backup that is not in sync is missing, also for backups that
 * went away: one that returns with a known version gets only those pages.
 */
import type { NodeId } from '@mycelium/interface'
import { LOST_BACKUPS_MAX, RESYNC_MAX } from '../constants.ts'
import { ImageError, OrderError, RefusedError, RegionError } from '../errors.ts'
import { type EpochName, formatName, sameName, sameVersion, type Version } from './epoch.ts'
import { addDiffering, countPages, pageSetBytes, unite } from './page-set.ts'

export type BackupPhase = 'greeting' | 'comparing' | 'filling' | 'joining' | 'in-sync'

export interface SealedEpoch {
  readonly version: Version
  /** Pages whose content differs from the epoch before. */
  readonly changed: Uint8Array
}

export type PrimaryInput =
  | { readonly type: 'attached'; readonly backup: NodeId }
  | {
      readonly type: 'hello'
      readonly backup: NodeId
      readonly regionBytes: number
      readonly applied?: Version
      readonly root: bigint
    }
  /** Answer to `find-missing`. */
  | { readonly type: 'missing'; readonly backup: NodeId; readonly pages: Uint8Array }
  | {
      readonly type: 'hashes'
      readonly backup: NodeId
      readonly firstPage: number
      readonly hashes: Uint8Array
      /** Hashes of the shadow, all pages. */
      readonly ours: Uint8Array
    }
  /** Answer to `fill`: the pages that were not sent. */
  | {
      readonly type: 'filled'
      readonly backup: NodeId
      readonly left: Uint8Array
      readonly bytes: number
    }
  | { readonly type: 'sealed'; readonly epoch: SealedEpoch }
  /** The shadow was brought nearer to the region outside of an epoch; nobody may be in sync. */
  | { readonly type: 'precopied'; readonly changed: Uint8Array }
  | {
      readonly type: 'ack'
      readonly backup: NodeId
      readonly version: Version
      readonly mismatchPages?: number
    }
  | {
      readonly type: 'refused'
      readonly backup: NodeId
      readonly code: string
      readonly text: string
    }
  | { readonly type: 'lost'; readonly backup: NodeId }

export type PrimaryEffect =
  | {
      readonly type: 'offer'
      readonly backup: NodeId
      readonly mode: 'resume' | 'fill' | 'compare'
    }
  /** Answer with `missing`: the pages of the shadow that are not zero. */
  | { readonly type: 'find-missing'; readonly backup: NodeId }
  /** Send some or all of `pages`; answer with `filled`. */
  | { readonly type: 'fill'; readonly backup: NodeId; readonly pages: Uint8Array }
  /** Without `base`: `pages`, complete. With it: the difference. */
  | {
      readonly type: 'send-epoch'
      readonly backup: NodeId
      readonly base?: Version
      readonly pages?: Uint8Array
    }
  | { readonly type: 'phase'; readonly backup: NodeId; readonly phase: BackupPhase }
  /** Held by every backup that was in sync and still is attached. */
  | {
      readonly type: 'acknowledged'
      readonly name: EpochName
      readonly by: readonly NodeId[]
      readonly mismatchPages?: number
    }
  /** Close the channel: this backup cannot be served. */
  | { readonly type: 'drop'; readonly backup: NodeId; readonly error: Error }

interface Backup {
  phase: BackupPhase
  /** What its image surely is: nothing was sent since that overwrites pages before an epoch. */
  applied: Version | undefined
  /** Pages in which its image may differ from the shadow. Empty once in sync. */
  missing: Uint8Array
  /** `find-missing` or `fill` is not answered yet: `missing` is not all that it lacks. */
  isFilling: boolean
  /** Pages of the `fill` that is not answered yet. */
  underWay: Uint8Array | undefined
  filledBytes: number
  resyncs: number
  /** Pages to compare from on. */
  comparedPages: number
}

/** A backup that went away: its image is one of `versions`, and lacks at most `missing`. */
interface LostBackup {
  readonly versions: readonly Version[]
  readonly missing: Uint8Array
}

export interface PrimaryConfig {
  readonly regionBytes: number
  readonly pages: number
  /** A backup that lacks no more joins with the next epoch. */
  readonly joinPagesMax: number
  /** Bytes of fill after which a backup joins whatever it lacks. */
  readonly fillBytesMax: number
}

export class PrimaryCore {
  readonly #config: PrimaryConfig
  readonly #backups = new Map<NodeId, Backup>()
  readonly #lost = new Map<NodeId, LostBackup>()
  /** The last epoch sealed. */
  #current: Version | undefined
  #inFlight:
    | { readonly version: Version; readonly changed: Uint8Array; readonly awaited: Set<NodeId> }
    | undefined
  #acknowledgers: NodeId[] = []
  #mismatchPages: number | undefined

  constructor(config: PrimaryConfig) {
    this.#config = config
  }

  /** Whether an epoch is on its way; the next must not be sealed before it is acknowledged. */
  get isInFlight(): boolean {
    return this.#inFlight !== undefined
  }

  backups(): ReadonlyMap<NodeId, { readonly phase: BackupPhase; readonly missingPages: number }> {
    return new Map(
      [...this.#backups].map(([id, { phase, missing, underWay }]) => {
        const lacked = missing.slice()
        if (underWay !== undefined) unite(lacked, underWay)
        return [id, { phase, missingPages: countPages(lacked) }]
      }),
    )
  }

  /** @returns effects in the order in which they must be carried out */
  step(input: PrimaryInput): PrimaryEffect[] {
    if (input.type === 'attached') return this.#attach(input.backup)
    if (input.type === 'sealed') return this.#seal(input.epoch)
    if (input.type === 'precopied') return this.#precopied(input.changed)
    const backup = this.#backups.get(input.backup)
    // An answer that crossed the loss of its backup.
    if (backup === undefined) return []
    switch (input.type) {
      case 'hello':
        return this.#hello(input.backup, backup, input)
      case 'missing':
        backup.isFilling = false
        unite(backup.missing, input.pages)
        return this.#continueFilling(input.backup, backup)
      case 'hashes':
        return this.#compare(input.backup, backup, input)
      case 'filled':
        backup.isFilling = false
        backup.underWay = undefined
        backup.filledBytes += input.bytes
        unite(backup.missing, input.left)
        return this.#continueFilling(input.backup, backup)
      case 'ack':
        return this.#ack(input.backup, backup, input)
      case 'refused':
        return this.#refused(input.backup, backup, input)
      case 'lost':
        return this.#lose(input.backup, backup)
    }
  }

  #attach(id: NodeId): PrimaryEffect[] {
    if (this.#backups.has(id)) throw new OrderError(`${id} is attached already`)
    this.#backups.set(id, {
      phase: 'greeting',
      applied: undefined,
      missing: new Uint8Array(pageSetBytes(this.#config.pages)),
      isFilling: false,
      underWay: undefined,
      filledBytes: 0,
      resyncs: 0,
      comparedPages: 0,
    })
    return [{ type: 'phase', backup: id, phase: 'greeting' }]
  }

  #hello(
    id: NodeId,
    backup: Backup,
    hello: Extract<PrimaryInput, { type: 'hello' }>,
  ): PrimaryEffect[] {
    if (backup.phase !== 'greeting') {
      return this.#drop(id, new OrderError(`${id} said hello again`))
    }
    if (hello.regionBytes !== this.#config.regionBytes) {
      const { regionBytes } = this.#config
      const text = `${id} holds a region of ${hello.regionBytes} bytes, not ${regionBytes}`
      return this.#drop(id, new RegionError(text))
    }
    const known = this.#lost.get(id)
    this.#lost.delete(id)
    const { applied } = hello
    if (
      known !== undefined &&
      applied !== undefined &&
      hello.root === applied.root &&
      known.versions.some((version) => sameVersion(version, applied))
    ) {
      backup.applied = applied
      backup.missing = known.missing
      return this.#resume(id, backup)
    }
    return this.#resynchronise(id, backup, hello.root === 0n)
  }

  /** From scratch: an image of zeroes lacks the pages that are not zero, any other is compared. */
  #resynchronise(id: NodeId, backup: Backup, isZero: boolean): PrimaryEffect[] {
    backup.applied = undefined
    backup.filledBytes = 0
    if (isZero) {
      backup.isFilling = true
      return [
        ...this.#enter(id, backup, 'filling'),
        { type: 'offer', backup: id, mode: 'fill' },
        { type: 'find-missing', backup: id },
      ]
    }
    backup.comparedPages = 0
    return [...this.#enter(id, backup, 'comparing'), { type: 'offer', backup: id, mode: 'compare' }]
  }

  #compare(
    id: NodeId,
    backup: Backup,
    input: Extract<PrimaryInput, { type: 'hashes' }>,
  ): PrimaryEffect[] {
    if (backup.phase !== 'comparing' || input.firstPage !== backup.comparedPages) {
      return this.#drop(id, new OrderError(`${id} sent hashes out of order`))
    }
    addDiffering(backup.missing, input.ours, input.hashes, input.firstPage)
    backup.comparedPages += input.hashes.length / 8
    if (backup.comparedPages < this.#config.pages) return []
    return [...this.#enter(id, backup, 'filling'), ...this.#continueFilling(id, backup)]
  }

  /** A backup that returned with a known version. */
  #resume(id: NodeId, backup: Backup): PrimaryEffect[] {
    // So few that the next epoch brings them, the image stays an epoch meanwhile.
    const isFew = countPages(backup.missing) <= this.#config.joinPagesMax
    if (!isFew) backup.applied = undefined
    return [
      ...this.#enter(id, backup, 'filling'),
      { type: 'offer', backup: id, mode: isFew ? 'resume' : 'fill' },
      ...this.#continueFilling(id, backup),
    ]
  }

  #continueFilling(id: NodeId, backup: Backup): PrimaryEffect[] {
    if (backup.phase !== 'filling' || backup.isFilling || this.#isReady(backup)) return []
    const effects: PrimaryEffect[] = []
    if (backup.applied !== undefined) {
      // It was told that its image stays an epoch, and came to lack too much since.
      backup.applied = undefined
      effects.push({ type: 'offer', backup: id, mode: 'fill' })
    }
    backup.isFilling = true
    const pages = backup.missing
    backup.underWay = pages
    backup.missing = new Uint8Array(pages.length)
    return [...effects, { type: 'fill', backup: id, pages }]
  }

  #isReady(backup: Backup): boolean {
    return (
      backup.filledBytes >= this.#config.fillBytesMax ||
      countPages(backup.missing) <= this.#config.joinPagesMax
    )
  }

  #seal({ version, changed }: SealedEpoch): PrimaryEffect[] {
    if (this.#inFlight !== undefined) {
      throw new OrderError(`${formatName(this.#inFlight.version.name)} is still on its way`)
    }
    const effects: PrimaryEffect[] = []
    const base = this.#current
    this.#current = version
    this.#acknowledgers = []
    this.#mismatchPages = undefined
    const awaited = new Set<NodeId>()
    for (const { missing } of this.#lost.values()) unite(missing, changed)
    for (const [id, backup] of this.#backups) {
      if (backup.phase === 'in-sync' && base !== undefined) {
        awaited.add(id)
        effects.push({ type: 'send-epoch', backup: id, base })
        continue
      }
      // Before what this epoch changed, which travels in any case: a writer that changes more than
      // `joinPagesMax` pages in every epoch would keep it out for ever.
      const isJoining = backup.phase === 'filling' && !backup.isFilling && this.#isReady(backup)
      unite(backup.missing, changed)
      if (!isJoining) continue
      awaited.add(id)
      effects.push(...this.#enter(id, backup, 'joining'))
      // A copy: it is sent piece by piece, while the set goes on changing.
      effects.push({ type: 'send-epoch', backup: id, pages: backup.missing.slice() })
    }
    this.#inFlight = { version, changed, awaited }
    return [...effects, ...this.#complete()]
  }

  /** Whether the shadow may leave the last epoch: a difference must never be taken from it then. */
  get mayPrecopy(): boolean {
    return ![...this.#backups.values()].some(({ phase }) => isWithEpochs(phase))
  }

  #precopied(changed: Uint8Array): PrimaryEffect[] {
    if (!this.mayPrecopy) throw new OrderError('a backup is in sync')
    for (const { missing } of this.#lost.values()) unite(missing, changed)
    for (const { missing } of this.#backups.values()) unite(missing, changed)
    return [...this.#backups].flatMap(([id, backup]) => this.#continueFilling(id, backup))
  }

  #ack(
    id: NodeId,
    backup: Backup,
    { version, mismatchPages }: Extract<PrimaryInput, { type: 'ack' }>,
  ): PrimaryEffect[] {
    const inFlight = this.#inFlight
    if (inFlight === undefined || !inFlight.awaited.has(id)) {
      return this.#drop(id, new OrderError(`${id} acknowledged what it was not sent`))
    }
    if (!sameName(version.name, inFlight.version.name)) {
      const names = `${formatName(version.name)}, not ${formatName(inFlight.version.name)}`
      return this.#drop(id, new OrderError(`${id} acknowledged ${names}`))
    }
    if (version.root !== inFlight.version.root) {
      return this.#drop(id, new ImageError(`${id} applied another image than was sent`))
    }
    backup.applied = inFlight.version
    backup.missing.fill(0)
    backup.resyncs = 0
    if (mismatchPages !== undefined) {
      this.#mismatchPages = (this.#mismatchPages ?? 0) + mismatchPages
    }
    this.#acknowledgers.push(id)
    inFlight.awaited.delete(id)
    const effects = backup.phase === 'joining' ? this.#enter(id, backup, 'in-sync') : []
    return [...effects, ...this.#complete()]
  }

  /** The epoch in flight is done when nobody is awaited any more. */
  #complete(): PrimaryEffect[] {
    if (this.#inFlight === undefined || this.#inFlight.awaited.size > 0) return []
    const { name } = this.#inFlight.version
    this.#inFlight = undefined
    const mismatchPages = this.#mismatchPages
    return [
      {
        type: 'acknowledged',
        name,
        by: this.#acknowledgers,
        ...(mismatchPages !== undefined && { mismatchPages }),
      },
    ]
  }

  #refused(
    id: NodeId,
    backup: Backup,
    { code, text }: Extract<PrimaryInput, { type: 'refused' }>,
  ): PrimaryEffect[] {
    if (!CURABLE_CODES.has(code) || ++backup.resyncs > RESYNC_MAX) {
      return this.#drop(id, new RefusedError(code, text))
    }
    this.#excuse(id)
    backup.missing.fill(0)
    return [...this.#resynchronise(id, backup, false), ...this.#complete()]
  }

  #lose(id: NodeId, backup: Backup): PrimaryEffect[] {
    this.#backups.delete(id)
    const inFlight = this.#excuse(id) ? this.#inFlight : undefined
    // The epoch in flight may have been applied, and its acknowledgement lost.
    const versions = [
      ...(backup.applied === undefined ? [] : [backup.applied]),
      ...(inFlight === undefined ? [] : [inFlight.version]),
    ]
    if (versions.length > 0) {
      if (inFlight !== undefined) unite(backup.missing, inFlight.changed)
      this.#lost.set(id, { versions, missing: backup.missing })
      const [oldest] = this.#lost.keys()
      if (this.#lost.size > LOST_BACKUPS_MAX && oldest !== undefined) this.#lost.delete(oldest)
    }
    return this.#complete()
  }

  /**
   * The epoch in flight does not wait for it any more, nor counts as held by it: what a backup that
   * went away holds is not known before it is back.
   *
   * @returns whether it was awaited
   */
  #excuse(id: NodeId): boolean {
    this.#acknowledgers = this.#acknowledgers.filter((other) => other !== id)
    return this.#inFlight?.awaited.delete(id) === true
  }

  #drop(id: NodeId, error: Error): PrimaryEffect[] {
    const backup = this.#backups.get(id)
    if (backup === undefined) return []
    this.#backups.delete(id)
    this.#excuse(id)
    return [{ type: 'drop', backup: id, error }, ...this.#complete()]
  }

  #enter(id: NodeId, backup: Backup, phase: BackupPhase): PrimaryEffect[] {
    backup.phase = phase
    return [{ type: 'phase', backup: id, phase }]
  }
}

/** Refusals that a comparison of images, and a complete epoch after it, can cure. */
const CURABLE_CODES: ReadonlySet<string> = new Set([
  'ERR_RAM_BASE',
  'ERR_RAM_IMAGE',
  'ERR_RAM_REJECTED',
])

function isWithEpochs(phase: BackupPhase): boolean {
  return phase === 'joining' || phase === 'in-sync'
}
