import { KEY_BYTES, SESSION_ID_BYTES } from '../constants.ts'
import { checkClaim, makeClaim, makeFoundations, scoreOf, takeFoundations } from './claims.ts'
import type { ClaimVerdict } from './claims.ts'
import { HandshakeCore } from './handshake.ts'
import type {
  Handshake,
  HandshakeDeps,
  HandshakeEffect,
  HandshakeTime,
  KeptToken,
  ProvenPeer,
  ResponderInit,
} from './handshake.ts'
import type {
  Accept,
  Claim,
  Foundations,
  HandshakeMessage,
  InitiatorHello,
  Proof,
} from './messages.ts'
import { encodeMessage } from './messages.ts'
import type { RefusalReason } from './model.ts'
import { isolationMac, joinMac, sessionIdOf, transcriptOf } from './transcript.ts'
import { encodeWelcome } from './welcome.ts'
import type { Welcome } from './welcome.ts'

/** The side that was dialled. Waits for the first frame. */
export function createResponder(deps: HandshakeDeps, init: ResponderInit): Handshake {
  return new Responder(deps, init)
}

type Stage = 'hello' | 'proof' | 'claim' | 'admitting' | 'accept'

/** Reasons that cost a try: a peer that guesses. */
const GUESSES: readonly RefusalReason[] = [
  'wrong-network',
  'token-unknown',
  'token-expired',
  'token-used',
  'token-proof',
]

class Responder extends HandshakeCore {
  readonly #init: ResponderInit
  #stage: Stage = 'hello'
  #isPeerKnown = false
  #hello: InitiatorHello | undefined
  #version = 0
  #foundationCount = 0
  #transcript: Uint8Array = new Uint8Array(0)
  #peer: Exclude<ClaimVerdict, { refused: unknown }> | undefined

  constructor(deps: HandshakeDeps, init: ResponderInit) {
    super(deps, init.startedAt)
    this.#init = init
  }

  protected override get isPeerKnown(): boolean {
    return this.#isPeerKnown
  }

  protected override delayOf(reason: RefusalReason, time: HandshakeTime): number | 'drop' {
    if (this.#isPeerKnown || !GUESSES.includes(reason)) return 0
    return this.#init.tries.failed(this.#init.address, time.now)
  }

  protected override answered(): void {
    this.#init.tries.answered()
  }

  protected override start(): readonly HandshakeEffect[] {
    throw new Error('a responder waits')
  }

  protected override stored(): readonly HandshakeEffect[] {
    throw new Error('a responder stores nothing')
  }

  protected override message(
    message: HandshakeMessage,
    frame: Uint8Array,
    time: HandshakeTime,
  ): readonly HandshakeEffect[] {
    const stage = this.#stage
    if (stage === 'hello' && message.kind === 'hello') return this.#onHello(message, frame, time)
    if (stage === 'proof' && message.kind === 'proof') return this.#onProof(message, time)
    if (stage === 'claim' && message.kind === 'foundations') {
      return this.#onFoundations(message, time)
    }
    if (stage === 'claim' && message.kind === 'claim') return this.#onClaim(message, time)
    if (stage === 'accept' && message.kind === 'accept') return this.#onAccept(message, time)
    return this.refuse('malformed', time)
  }

  /** The shell has made the use of the token durable, or the new certificate. */
  protected override admitted(welcome: Welcome, time: HandshakeTime): readonly HandshakeEffect[] {
    const { membership, peer } = this.#init
    if (this.#stage !== 'admitting' || membership === undefined) {
      throw new Error('nobody was to be admitted')
    }
    const verdict = membership.state.checkCertificate(welcome.certificate, peer, time.unix)
    if ('refused' in verdict) return this.refuse(verdict.refused, time)
    const scored = scoreOf(this.deps, membership, peer)
    if ('refused' in scored) return this.refuse(scored.refused, time)
    this.#peer = {
      certificate: verdict.certificate,
      envelope: welcome.certificate,
      score: scored.score,
      isDegraded: false,
    }
    this.#stage = 'accept'
    return encodeWelcome(welcome).map((part) => this.send(part))
  }

  #onHello(
    hello: InitiatorHello,
    frame: Uint8Array,
    time: HandshakeTime,
  ): readonly HandshakeEffect[] {
    const { versions, nonce, peer } = this.#init
    const version = Math.min(versions.max, hello.max)
    if (version < Math.max(versions.min, hello.min)) return this.refuse('incompatible', time)
    const answer = encodeMessage({ kind: 'welcome-hello', ...versions, version, nonce })
    this.#hello = hello
    this.#version = version
    this.#transcript = transcriptOf(this.crypto, {
      initiatorHello: frame,
      responderHello: answer,
      initiatorKey: peer,
      responderKey: this.deps.signer.publicKey,
    })
    this.#stage = 'proof'
    return [{ kind: 'send', frame: answer }]
  }

  #onProof(proof: Proof, time: HandshakeTime): readonly HandshakeEffect[] {
    // A node of no network answers as one of another does: nothing tells them apart.
    if (this.#init.membership === undefined) return this.refuse('wrong-network', time)
    const token = this.#hello?.token
    return token === undefined
      ? this.#onIsolationProof(proof, time)
      : this.#onJoinProof(proof, token, time)
  }

  #onIsolationProof({ macs }: Proof, time: HandshakeTime): readonly HandshakeEffect[] {
    const { crypto } = this
    const transcript = this.#transcript
    const keys = this.#init.membership?.isolationKeys(time.unix) ?? []
    const key = keys.find((candidate) => {
      const expected = isolationMac(crypto, { key: candidate, role: 'initiator', transcript })
      return macs.some((mac) => crypto.equal(mac, expected))
    })
    if (key === undefined) return this.refuse('wrong-network', time)
    this.#isPeerKnown = true
    this.#stage = 'claim'
    const mac = isolationMac(crypto, { key, role: 'responder', transcript })
    return [this.send({ kind: 'proof', macs: [mac] })]
  }

  #onJoinProof(
    { macs }: Proof,
    tokenId: Uint8Array,
    time: HandshakeTime,
  ): readonly HandshakeEffect[] {
    const kept = this.#init.tokenOf(tokenId)
    // An unknown token costs the same work: nothing is to be learned from the time it takes.
    const key = kept?.key ?? new Uint8Array(KEY_BYTES)
    const isProved = macs.length === 1 && this.crypto.equal(macs[0]!, this.#joinMac(key))
    if (kept === undefined) return this.refuse('token-unknown', time)
    if (!isProved) return this.refuse('token-proof', time)
    // It holds the secret: from here on it may know why.
    this.#isPeerKnown = true
    const refusal = this.#refusalOf(kept, time)
    if (refusal !== undefined) return this.refuse(refusal, time)
    this.#stage = 'admitting'
    const mac = this.#joinMac(key, 'responder')
    return [this.send({ kind: 'proof', macs: [mac] }), { kind: 'admit', tokenId }]
  }

  #joinMac(key: Uint8Array, role: 'initiator' | 'responder' = 'initiator'): Uint8Array {
    const network = this.#init.membership!.state.network
    return joinMac(this.crypto, { key, role, transcript: this.#transcript, network })
  }

  #refusalOf(token: KeptToken, { unix }: HandshakeTime): RefusalReason | undefined {
    const { peer } = this.#init
    if (token.isRevoked === true) return 'token-unknown'
    // The node that used it may come again: its connection could have ended before the welcome.
    const isUsed = token.usedBy !== undefined && !this.crypto.equal(token.usedBy, peer)
    if (isUsed) return 'token-used'
    return unix >= token.expiresAt ? 'token-expired' : undefined
  }

  #onFoundations(message: Foundations, time: HandshakeTime): readonly HandshakeEffect[] {
    const { membership } = this.#init
    if (membership === undefined) return this.refuse('malformed', time)
    const before = this.#foundationCount
    const envelopes = takeFoundations(message, { membership, before, unix: time.unix })
    if (envelopes === undefined) return this.refuse('malformed', time)
    this.#foundationCount += message.facts.length
    return envelopes.length === 0 ? [] : [{ kind: 'facts', envelopes }]
  }

  #onClaim(claim: Claim, time: HandshakeTime): readonly HandshakeEffect[] {
    const { membership } = this.#init
    const mode = this.#hello?.mode
    if (membership === undefined || mode === undefined) return this.refuse('malformed', time)
    const transcript = this.#transcript
    const verdict = checkClaim(this.deps, this.#init, {
      claim,
      membership,
      role: 'initiator',
      transcript,
      mode,
      unix: time.unix,
    })
    if ('refused' in verdict) return this.refuse(verdict.refused, time)
    this.#peer = verdict
    const own = [
      ...makeFoundations(membership).map((message) => this.send(message)),
      this.send(makeClaim(this.deps, { membership, role: 'responder', transcript })),
    ]
    if (mode === 'renew') {
      this.#stage = 'admitting'
      return [...own, { kind: 'renew', certificate: verdict.certificate }]
    }
    this.#stage = 'accept'
    return [...own, this.send({ kind: 'accept', session: this.#session() })]
  }

  #onAccept({ session }: Accept, time: HandshakeTime): readonly HandshakeEffect[] {
    const known = this.#peer
    const mode = this.#hello?.mode
    if (known === undefined || mode === undefined) return this.refuse('malformed', time)
    if (!this.crypto.equal(session, this.#session())) return this.refuse('malformed', time)
    const peer: ProvenPeer = {
      ...known,
      publicKey: this.#init.peer,
      mode,
      version: this.#version,
      session: this.#session(),
    }
    return [this.prove(peer)]
  }

  #session(): Uint8Array {
    return sessionIdOf(this.crypto, this.#transcript, SESSION_ID_BYTES)
  }
}
