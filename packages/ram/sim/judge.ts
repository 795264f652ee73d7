import assert from 'node:assert/strict'
import type { NodeId } from '@mycelium/interface'
import {
  type EpochName,
  formatName,
  sameName,
  sameVersion,
  type Version,
} from '../src/core/epoch.ts'

/** What an epoch is: the memory, and the number that travels beside it. */
export interface SealedImage {
  readonly version: Version
  readonly image: Uint8Array
  readonly state: number
}

/** Where a backup stands, as far as it is nobody's business but the judge's. */
export interface BackupBooks {
  readonly id: NodeId
  /** Every epoch that this process ever held. */
  readonly held: Set<string>
  lastAcknowledged: Version | undefined
  fencing: bigint
}

export interface AcknowledgingLink {
  readonly backup: { readonly books: BackupBooks; readonly applied: Version | undefined }
  readonly end: { readonly isWell: boolean }
}

/** Knows the image of every epoch ever sealed, and throws when somebody holds another. */
export class Judge {
  readonly #sealed = new Map<string, SealedImage>()

  sealed(sealed: SealedImage): void {
    const name = formatName(sealed.version.name)
    assert.ok(!this.#sealed.has(name), `${name} was sealed twice`)
    this.#sealed.set(name, sealed)
  }

  newBooks(id: NodeId): BackupBooks {
    return { id, held: new Set(), lastAcknowledged: undefined, fencing: 0n }
  }

  /** Whenever a backup says that it holds an epoch, it does. */
  holds(books: BackupBooks, applied: Version, image: Uint8Array, state: number): void {
    const name = formatName(applied.name)
    const sealed = this.#sealed.get(name)
    assert.ok(sealed !== undefined, `${books.id} holds ${name}, which nobody sealed`)
    assert.ok(sameVersion(sealed.version, applied), `${books.id}: another root of ${name}`)
    assert.deepEqual(image, sealed.image, `the image of ${name} at ${books.id}`)
    assert.equal(state, sealed.state, `the attachment of ${name} at ${books.id}`)
    books.held.add(name)
  }

  /** Who serves a fencing epoch serves no older one. */
  serves(books: BackupBooks, fencing: bigint): void {
    assert.ok(fencing >= books.fencing, `${books.id} serves ${fencing} after ${books.fencing}`)
    books.fencing = fencing
  }

  /** The process at the other end of a session held it, and does as long as the session is well. */
  acknowledged(name: EpochName, link: AcknowledgingLink | undefined): void {
    const text = formatName(name)
    assert.ok(link !== undefined, `${text} counts as held by a backup that is not attached`)
    const { backup, end } = link
    const { id, held } = backup.books
    assert.ok(held.has(text), `${text} counts as held by ${id}, which never held it`)
    if (!end.isWell) return
    const { applied } = backup
    assert.ok(applied !== undefined && sameName(applied.name, name), `${id} lost ${text}`)
  }

  /** Over a session that keeps its promises, nobody has anything to refuse but these. */
  refused(code: string | undefined, { isHonest }: { readonly isHonest: boolean }): void {
    const isExpected = code === 'ERR_RAM_FENCED' || code === 'ERR_RAM_REJECTED'
    assert.ok(isExpected || !isHonest, `${code} over a session without faults`)
  }

  promoted(books: BackupBooks, applied: Version, image: Uint8Array, state: number): void {
    this.holds(books, applied, image, state)
    const { lastAcknowledged: last } = books
    if (last === undefined) return
    const isOlder =
      applied.name.fencing < last.name.fencing ||
      (applied.name.fencing === last.name.fencing && applied.name.counter < last.name.counter)
    assert.ok(!isOlder, `${books.id}: ${formatName(applied.name)} < ${formatName(last.name)}`)
  }
}
