/** What the facts that count say together. Each is taken once, in any order. */
import { areEqual } from '../wire.ts'
import { hexOf } from './authority-rules.ts'
import { compareBytes } from './fields.ts'
import type { FactRecord } from './fact-record.ts'
import type { SignedRotation } from './key-chain.ts'
import type { UnixSeconds } from './model.ts'

interface IsolationRotation {
  readonly at: UnixSeconds
  readonly hash: Uint8Array
  readonly overlapUntil: UnixSeconds
}

export class FactView {
  readonly revokedSerials: Set<string> = new Set()
  readonly revokedNodes: Set<string> = new Set()
  readonly compromisedNodes: Set<string> = new Set()
  readonly spentTokens: Set<string> = new Set()
  readonly rotations: SignedRotation[] = []
  readonly #isolation: IsolationRotation[] = []

  /** @param isDisputed - its issuer said something else under this number: it permits nothing */
  take({ fact, rotation }: FactRecord, isDisputed: boolean): void {
    const { statement } = fact
    switch (statement.kind) {
      case 'certificate-revoked':
        this.revokedSerials.add(hexOf(statement.serial))
        return
      case 'node-revoked':
        this.revokedNodes.add(hexOf(statement.node))
        if (statement.reason === 'compromised') this.compromisedNodes.add(hexOf(statement.node))
        return
      case 'token-used':
      case 'token-revoked':
        this.spentTokens.add(hexOf(statement.tokenId))
        return
      case 'key-rotated':
        // Also if disputed: it proves itself by the signatures inside.
        if (rotation !== undefined) this.rotations.push(rotation)
        return
      case 'isolation-rotated':
        if (isDisputed) return
        this.#isolation.push({
          at: fact.at,
          hash: statement.isolationHash,
          overlapUntil: statement.overlapUntil,
        })
        this.#isolation.sort(
          (one, other) => one.at - other.at || compareBytes(one.hash, other.hash),
        )
        return
      case 'authority-added':
      case 'authority-removed':
        return // see authority-rules.ts
    }
  }

  /** Newest first; the one before the newest until the overlap ends. */
  isolationHashes(genesisHash: Uint8Array, now: UnixSeconds): readonly Uint8Array[] {
    const newest = this.#isolation.at(-1)
    if (newest === undefined) return [genesisHash]
    const before = this.#isolation.at(-2)?.hash ?? genesisHash
    const counts = now <= newest.overlapUntil && !areEqual(before, newest.hash)
    return counts ? [newest.hash, before] : [newest.hash]
  }

  /** When the isolation key was rotated last; a later rotation needs a later time. */
  get isolationRotatedAt(): UnixSeconds {
    return this.#isolation.at(-1)?.at ?? 0
  }
}
