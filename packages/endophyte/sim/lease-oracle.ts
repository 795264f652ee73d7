import assert from 'node:assert/strict'
import type { LeaseView } from '@mycelium/interface'
import type { World } from '@mycelium/simulator'

/** One grant as its holder believes in it, in true time. */
export interface Claim {
  readonly client: string
  readonly epoch: bigint
  until: number
  isOver: boolean
}

/** Sees everything, and throws when something must not be. */
export class LeaseOracle {
  readonly #world: World
  readonly #claims: Claim[] = []
  /** Versions of records, which are all different, as the grantor persisted them. */
  readonly #versions = new Map<string, bigint>()
  #epochMax = 0n
  /** Reads that begin now must show at least this. */
  versionMin = 0n
  grants = 0

  constructor(world: World) {
    this.#world = world
  }

  granted(client: string, epoch: bigint, until: number): Claim {
    this.#note(`granted ${client} ${epoch}`, until)
    assert.ok(epoch > this.#epochMax, `epoch ${epoch} after ${this.#epochMax}`)
    this.#epochMax = epoch
    const claim = { client, epoch, until, isOver: false }
    this.#claims.push(claim)
    this.#checkAlone(claim)
    this.grants++
    return claim
  }

  extended(claim: Claim, until: number): void {
    this.#note(`extended ${claim.client} ${claim.epoch}`, until)
    assert.ok(until > claim.until, 'validity shrank')
    claim.until = until
    this.#checkAlone(claim)
  }

  /** The holder stopped acting: lost, released, crashed. */
  ended(claim: Claim): void {
    claim.isOver = true
    this.#note(`ended ${claim.client} ${claim.epoch}`, claim.until)
  }

  persisted(record: Uint8Array, version: bigint): void {
    this.#versions.set(Buffer.from(record).toString(), version)
  }

  updated(record: Uint8Array): void {
    const version = this.#versions.get(Buffer.from(record).toString())
    assert.ok(version !== undefined, 'an update was acknowledged and never persisted')
    if (version > this.versionMin) this.versionMin = version
  }

  /** @param versionMin - of the moment when the read began */
  read(view: LeaseView, versionMin: bigint): void {
    this.#world.coverage.hit('read')
    assert.ok(view.version >= versionMin, `read ${view.version} after ${versionMin}`)
    if (view.version > this.versionMin) this.versionMin = view.version
  }

  #checkAlone(claim: Claim): void {
    const now = this.#world.clock.now()
    for (const other of this.#claims) {
      if (other === claim || other.isOver || other.until <= now) continue
      assert.fail(
        `${claim.client} (epoch ${claim.epoch}) and ${other.client} (epoch ${other.epoch}, ` +
          `until ${other.until}) both hold at ${now}`,
      )
    }
  }

  #note(what: string, until: number): void {
    this.#world.trace.add(`${this.#world.clock.now()} ${what} until ${until}`)
  }
}
