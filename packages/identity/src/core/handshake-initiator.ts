import { SESSION_ID_BYTES } from '../constants.ts'
import { checkClaim, makeClaim, makeFoundations, scoreOf, takeFoundations } from './claims.ts'
import type { ClaimVerdict } from './claims.ts'
import { HandshakeCore } from './handshake.ts'
import type {
  Handshake,
  HandshakeDeps,
  HandshakeEffect,
  HandshakeInit,
  HandshakeTime,
  OwnMembership,
  ProvenPeer,
} from './handshake.ts'
import { encodeMessage } from './messages.ts'
import type {
  Accept,
  Claim,
  Foundations,
  HandshakeMessage,
  Proof,
  ResponderHello,
  WelcomePart,
} from './messages.ts'
import type { JoinToken } from './model.ts'
import { isolationMac, joinMac, sessionIdOf, transcriptOf } from './transcript.ts'
import { tokenKeyOf } from './token.ts'
import { checkRenewal, checkWelcome, createWelcomeReader } from './welcome.ts'
import type { CheckedWelcome, WelcomeReader } from './welcome.ts'

export type InitiatorInit = HandshakeInit &
  (
    | { readonly mode: 'member' | 'renew'; readonly membership: OwnMembership }
    | { readonly mode: 'join'; readonly token: JoinToken }
  )

/** The side that dialled. Begins with the input `start`. */
export function createInitiator(deps: HandshakeDeps, init: InitiatorInit): Handshake {
  return new Initiator(deps, init)
}

type Stage = 'idle' | 'hello' | 'proof' | 'claim' | 'accept' | 'welcome' | 'storing'

class Initiator extends HandshakeCore {
  readonly #init: InitiatorInit
  readonly #welcome: WelcomeReader = createWelcomeReader()
  #stage: Stage = 'idle'
  #hello: Uint8Array = new Uint8Array(0)
  #transcript: Uint8Array = new Uint8Array(0)
  #version = 0
  #foundationCount = 0
  #peer: Exclude<ClaimVerdict, { refused: unknown }> | undefined

  constructor(deps: HandshakeDeps, init: InitiatorInit) {
    super(deps, init.startedAt)
    this.#init = init
  }

  protected override get isPeerKnown(): boolean {
    return ['claim', 'accept', 'welcome', 'storing'].includes(this.#stage)
  }

  protected override delayOf(): 0 {
    return 0
  }

  protected override answered(): void {
    // Nothing waits on this side.
  }

  protected override start(): readonly HandshakeEffect[] {
    const { mode, nonce, versions } = this.#init
    this.#hello = encodeMessage({
      kind: 'hello',
      mode,
      ...versions,
      nonce,
      ...(this.#init.mode === 'join' ? { token: this.#init.token.tokenId } : {}),
    })
    this.#stage = 'hello'
    return [{ kind: 'send', frame: this.#hello }]
  }

  protected override message(
    message: HandshakeMessage,
    frame: Uint8Array,
    time: HandshakeTime,
  ): readonly HandshakeEffect[] {
    const stage = this.#stage
    if (stage === 'hello' && message.kind === 'welcome-hello') {
      return this.#onHello(message, frame, time)
    }
    if (stage === 'proof' && message.kind === 'proof') return this.#onProof(message, time)
    if (stage === 'claim' && message.kind === 'foundations') {
      return this.#onFoundations(message, time)
    }
    if (stage === 'claim' && message.kind === 'claim') return this.#onClaim(message, time)
    if (stage === 'accept' && message.kind === 'accept') return this.#onAccept(message, time)
    if (stage === 'welcome' && message.kind === 'welcome') return this.#onWelcome(message, time)
    return this.refuse('malformed', time)
  }

  protected override admitted(): readonly HandshakeEffect[] {
    throw new Error('an initiator admits nobody')
  }

  /** What the peer gave is durable: from now on this node is a member by it. */
  protected override stored(): readonly HandshakeEffect[] {
    if (this.#stage !== 'storing') throw new Error('nothing was to be stored')
    return this.#accept()
  }

  #onHello(
    hello: ResponderHello,
    frame: Uint8Array,
    time: HandshakeTime,
  ): readonly HandshakeEffect[] {
    const { versions, peer } = this.#init
    const highest = Math.min(versions.max, hello.max)
    // Lower than both could: somebody wants us to speak what was given up for a reason.
    if (hello.version !== highest || highest < Math.max(versions.min, hello.min)) {
      return this.refuse('incompatible', time)
    }
    this.#version = hello.version
    this.#transcript = transcriptOf(this.crypto, {
      initiatorHello: this.#hello,
      responderHello: frame,
      initiatorKey: this.deps.signer.publicKey,
      responderKey: peer,
    })
    this.#stage = 'proof'
    return [this.send({ kind: 'proof', macs: this.#macs('initiator', time) })]
  }

  #onProof({ macs }: Proof, time: HandshakeTime): readonly HandshakeEffect[] {
    const [mac] = macs
    const mine = this.#macs('responder', time)
    const isProved = macs.length === 1 && mine.some((own) => this.crypto.equal(own, mac!))
    if (!isProved) {
      return this.refuse(this.#init.mode === 'join' ? 'token-proof' : 'wrong-network', time)
    }
    if (this.#init.mode === 'join') {
      this.#stage = 'welcome'
      return []
    }
    this.#stage = 'claim'
    const { membership } = this.#init
    const transcript = this.#transcript
    return [
      ...makeFoundations(membership).map((message) => this.send(message)),
      this.send(makeClaim(this.deps, { membership, role: 'initiator', transcript })),
    ]
  }

  #onFoundations(message: Foundations, time: HandshakeTime): readonly HandshakeEffect[] {
    const init = this.#init
    if (init.mode === 'join') return this.refuse('malformed', time)
    const { membership } = init
    const before = this.#foundationCount
    const envelopes = takeFoundations(message, { membership, before, unix: time.unix })
    if (envelopes === undefined) return this.refuse('malformed', time)
    this.#foundationCount += message.facts.length
    return envelopes.length === 0 ? [] : [{ kind: 'facts', envelopes }]
  }

  /** Newest key first. */
  #macs(role: 'initiator' | 'responder', { unix }: HandshakeTime): readonly Uint8Array[] {
    const init = this.#init
    const transcript = this.#transcript
    if (init.mode === 'join') {
      const key = tokenKeyOf(this.crypto, init.token.secret)
      return [joinMac(this.crypto, { key, role, transcript, network: init.token.network })]
    }
    return init.membership
      .isolationKeys(unix)
      .map((key) => isolationMac(this.crypto, { key, role, transcript }))
  }

  #onClaim(claim: Claim, time: HandshakeTime): readonly HandshakeEffect[] {
    const init = this.#init
    if (init.mode === 'join') return this.refuse('malformed', time)
    const verdict = checkClaim(this.deps, init, {
      claim,
      membership: init.membership,
      role: 'responder',
      transcript: this.#transcript,
      mode: init.mode,
      unix: time.unix,
    })
    if ('refused' in verdict) return this.refuse(verdict.refused, time)
    this.#peer = verdict
    this.#stage = init.mode === 'renew' ? 'welcome' : 'accept'
    return []
  }

  #onAccept({ session }: Accept, time: HandshakeTime): readonly HandshakeEffect[] {
    if (!this.crypto.equal(session, this.#session())) return this.refuse('malformed', time)
    return this.#accept()
  }

  #onWelcome(part: WelcomePart, time: HandshakeTime): readonly HandshakeEffect[] {
    const whole = this.#welcome.add(part)
    if (whole === 'malformed') return this.refuse('malformed', time)
    if (whole === undefined) return []
    const checked = this.#checkWelcome(whole, time)
    if ('refused' in checked) return this.refuse(checked.refused, time)
    this.#stage = 'storing'
    return [{ kind: 'store', welcome: checked }]
  }

  #checkWelcome(
    whole: Uint8Array,
    time: HandshakeTime,
  ): CheckedWelcome | ReturnType<typeof checkWelcome> {
    const init = this.#init
    const own = this.deps.signer.publicKey
    if (init.mode !== 'join') {
      return checkRenewal(whole, { state: init.membership.state, subject: own, unix: time.unix })
    }
    const checked = checkWelcome(this.crypto, whole, {
      network: init.token.network,
      subject: own,
      issuer: init.peer,
      unix: time.unix,
    })
    if ('refused' in checked) return checked
    const scored = scoreOf(this.deps, checked, init.peer)
    if ('refused' in scored) return scored
    this.#peer = { ...checked.issuer, score: scored.score, isDegraded: false }
    return checked
  }

  #accept(): readonly HandshakeEffect[] {
    const known = this.#peer
    if (known === undefined) throw new Error('accepted a peer that was not checked')
    const session = this.#session()
    const peer: ProvenPeer = {
      ...known,
      publicKey: this.#init.peer,
      mode: this.#init.mode,
      version: this.#version,
      session,
    }
    return [this.send({ kind: 'accept', session }), this.prove(peer)]
  }

  #session(): Uint8Array {
    return sessionIdOf(this.crypto, this.#transcript, SESSION_ID_BYTES)
  }
}
