/** Both cores of a handshake, joined in memory, with somebody in the middle. */
import type { Random } from '@mycelium/interface'
import type {
  Handshake,
  HandshakeEffect,
  HandshakeInit,
  HandshakeTime,
  KeptToken,
  OwnMembership,
  ProvenPeer,
} from '../../src/core/handshake.ts'
import { createInitiator } from '../../src/core/handshake-initiator.ts'
import { createResponder } from '../../src/core/handshake-responder.ts'
import { createTries } from '../../src/core/tries.ts'
import type { Tries } from '../../src/core/tries.ts'
import type { JoinToken, RefusalReason, Signer, TrustSource } from '../../src/core/model.ts'
import type { CheckedWelcome, Welcome } from '../../src/core/welcome.ts'
import { NOW, crypto } from './network.ts'

export type Outcome =
  | { readonly proven: ProvenPeer }
  | { readonly refused: RefusalReason; readonly isByPeer: boolean }
  | undefined

export interface Side {
  readonly signer: Signer
  readonly membership?: OwnMembership | undefined
  readonly versions?: { readonly min: number; readonly max: number }
  /** Key of the other side as this one sees it. @default the other side's */
  readonly sees?: Uint8Array
  /** @default 0: seconds by which its wall clock is ahead */
  readonly skewS?: number
  readonly trust?: TrustSource
  readonly expired?: HandshakeInit['expired']
}

export interface PairInit {
  readonly random: Random
  readonly initiator: Side & { readonly mode?: 'member' | 'renew'; readonly token?: JoinToken }
  readonly responder: Side & {
    readonly tokenOf?: (tokenId: Uint8Array) => KeptToken | undefined
    readonly tries?: Tries
    admit?(tokenId: Uint8Array): Welcome | RefusalReason
    renew?(): Welcome | RefusalReason
  }
  /** What arrives in place of a frame; an empty list: nothing. */
  tamper?(frame: Uint8Array, from: 'initiator' | 'responder', index: number): readonly Uint8Array[]
}

export interface PairResult {
  readonly initiator: Outcome
  readonly responder: Outcome
  /** Frames in the order in which they were sent. */
  readonly frames: readonly {
    readonly from: 'initiator' | 'responder'
    readonly frame: Uint8Array
  }[]
  readonly stored: readonly CheckedWelcome[]
  /** Facts that either side learned of the other. */
  readonly learned: readonly Uint8Array[]
  /** What happened, in order: effects of both without their contents. */
  readonly order: readonly string[]
}

const NEUTRAL: TrustSource = {
  historyOf: () => undefined,
  consensusOf: () => undefined,
}

export const timeAt = (ms: number, skewS = 0): HandshakeTime => ({
  now: ms,
  unix: NOW + Math.floor(ms / 1000) + skewS,
})

export function newInitiator({ random, initiator, responder }: PairInit): Handshake {
  const common = {
    peer: initiator.sees ?? responder.signer.publicKey,
    nonce: random.bytes(32),
    versions: initiator.versions ?? { min: 1, max: 1 },
    startedAt: 0,
    ...(initiator.expired !== undefined && { expired: initiator.expired }),
  }
  const deps = { crypto, signer: initiator.signer, trust: initiator.trust ?? NEUTRAL }
  if (initiator.token !== undefined) {
    return createInitiator(deps, { ...common, mode: 'join', token: initiator.token })
  }
  if (initiator.membership === undefined) throw new Error('an initiator is a member or has a token')
  const { membership, mode = 'member' } = initiator
  return createInitiator(deps, { ...common, mode, membership })
}

export function newResponder({ random, initiator, responder }: PairInit): Handshake {
  return createResponder(
    { crypto, signer: responder.signer, trust: responder.trust ?? NEUTRAL },
    {
      peer: responder.sees ?? initiator.signer.publicKey,
      nonce: random.bytes(32),
      versions: responder.versions ?? { min: 1, max: 1 },
      startedAt: 0,
      membership: responder.membership,
      address: '/ip4/192.0.2.1',
      tries: responder.tries ?? createTries(),
      tokenOf: responder.tokenOf ?? (() => undefined),
      ...(responder.expired !== undefined && { expired: responder.expired }),
    },
  )
}

/** Runs both to their end, or until nothing is left to deliver. */
export function runPair(init: PairInit): PairResult {
  const sides = { initiator: newInitiator(init), responder: newResponder(init) }
  const outcomes: { initiator: Outcome; responder: Outcome } = {
    initiator: undefined,
    responder: undefined,
  }
  const frames: { from: 'initiator' | 'responder'; frame: Uint8Array }[] = []
  const stored: CheckedWelcome[] = []
  const learned: Uint8Array[] = []
  const order: string[] = []
  const queue: (() => void)[] = []

  const give = (name: 'initiator' | 'responder', effects: readonly HandshakeEffect[]): void => {
    const other = name === 'initiator' ? 'responder' : 'initiator'
    const time = timeAt(0, init[name].skewS)
    for (const effect of effects) {
      order.push(`${name} ${effect.kind}`)
      if (effect.kind === 'send') {
        const index = frames.push({ from: name, frame: effect.frame }) - 1
        const arriving = init.tamper?.(effect.frame, name, index) ?? [effect.frame]
        for (const frame of arriving) {
          queue.push(() =>
            give(other, sides[other].step({ kind: 'frame', frame }, timeAt(0, init[other].skewS))),
          )
        }
      } else if (effect.kind === 'proven') {
        outcomes[name] = { proven: effect.peer }
      } else if (effect.kind === 'refused') {
        outcomes[name] = { refused: effect.reason, isByPeer: effect.isByPeer }
      } else if (effect.kind === 'store') {
        stored.push(effect.welcome)
        queue.push(() => give(name, sides[name].step({ kind: 'stored' }, time)))
      } else if (effect.kind === 'facts') {
        learned.push(...effect.envelopes)
      } else {
        const answer =
          effect.kind === 'admit'
            ? init.responder.admit?.(effect.tokenId)
            : init.responder.renew?.()
        queue.push(() =>
          give(
            name,
            sides[name].step(
              typeof answer === 'object'
                ? { kind: 'admitted', welcome: answer }
                : { kind: 'denied', reason: answer ?? 'busy' },
              time,
            ),
          ),
        )
      }
    }
  }

  give('initiator', sides.initiator.step({ kind: 'start' }, timeAt(0, init.initiator.skewS)))
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) next()
  return { ...outcomes, frames, stored, learned, order }
}
