import type {
  ConnectionEncrypter,
  MessageStream,
  PeerId,
  PrivateKey,
  SecureConnectionOptions,
  SecuredConnection,
} from '@libp2p/interface'
import type { Clock, MonotonicMs } from '@mycelium/interface'
import { HALF_OPEN_MAX, HALF_OPEN_PER_ADDRESS_MAX, HANDSHAKE_TIMEOUT_MS } from './constants.ts'
import type { Handshake, ProvenPeer } from './core/handshake.ts'
import type { RefusalReason } from './core/model.ts'
import { HandshakeRefusedError } from './errors.ts'
import { runHandshake } from './handshake-run.ts'
import type { HandshakeAnswers } from './handshake-run.ts'

/** Protocol by which libp2p chooses a proof of membership, in front of that of the encryption. */
export const HANDSHAKE_PROTOCOL = '/mycelium/handshake/1.0'

/** Milliseconds that a refused peer has to take the last message. */
const REFUSED_CLOSE_MS = 1_000

/** What libp2p gives to a connection encrypter, as far as this one uses it. */
export interface EncrypterComponents {
  readonly privateKey: PrivateKey
}

export interface HandshakePeer {
  /** Ed25519, as the encryption proved it. */
  readonly publicKey: Uint8Array
  /** Host without port; `unknown` where the transport has none. */
  readonly address: string
  /** When its handshake began, on our clock: encryption included. */
  readonly startedAt: MonotonicMs
}

/** Who holds the membership, as an encrypter sees it. */
export interface HandshakeHost {
  readonly publicKey: Uint8Array
  /** @throws {NotMemberError} nothing can be proved to this peer */
  initiator(peer: HandshakePeer): Handshake
  responder(peer: HandshakePeer): Handshake
  answers(peer: HandshakePeer): HandshakeAnswers
  proven(peer: ProvenPeer, address: string): void
  refused(refusal: Refusal): void
}

export interface Refusal {
  /** Absent: the encryption was not established. */
  readonly publicKey?: Uint8Array
  readonly address: string
  readonly reason: RefusalReason
  readonly isInbound: boolean
  readonly isByPeer: boolean
}

export interface EncrypterDeps<Components extends EncrypterComponents> {
  readonly clock: Clock
  readonly host: HandshakeHost
  readonly inner: (components: Components) => ConnectionEncrypter
}

/** Makes a libp2p connection encrypter prove membership before anybody can use the connection. */
export function createConnectionEncrypter<Components extends EncrypterComponents>(
  { clock, host, inner }: EncrypterDeps<Components>,
  components: Components,
): ConnectionEncrypter {
  const { raw } = components.privateKey.publicKey
  if (!isEqual(raw, host.publicKey)) {
    throw new TypeError('privateKey: libp2p has another key than this member (see nodePrivateKey)')
  }
  return new MembershipEncrypter(clock, host, inner(components))
}

class MembershipEncrypter implements ConnectionEncrypter {
  readonly protocol: string
  readonly #clock: Clock
  readonly #host: HandshakeHost
  readonly #inner: ConnectionEncrypter
  readonly #halfOpen = new Map<string, number>()
  #halfOpenCount = 0

  constructor(clock: Clock, host: HandshakeHost, inner: ConnectionEncrypter) {
    this.#clock = clock
    this.#host = host
    this.#inner = inner
    this.protocol = `${HANDSHAKE_PROTOCOL}${inner.protocol}`
  }

  async secureInbound(
    connection: MessageStream,
    options: SecureConnectionOptions = {},
  ): Promise<SecuredConnection> {
    const address = addressOf(connection)
    if (!this.#enter(address)) {
      // Before TLS, which costs more than the answer is worth.
      const error = new HandshakeRefusedError('busy', false)
      this.#host.refused({ address, reason: 'busy', isInbound: true, isByPeer: false })
      connection.abort(error)
      throw error
    }
    try {
      return await this.#secure(connection, options, true)
    } finally {
      this.#leave(address)
    }
  }

  secureOutbound(
    connection: MessageStream,
    options: SecureConnectionOptions = {},
  ): Promise<SecuredConnection> {
    return this.#secure(connection, options, false)
  }

  async #secure(
    connection: MessageStream,
    options: SecureConnectionOptions,
    isInbound: boolean,
  ): Promise<SecuredConnection> {
    const address = addressOf(connection)
    const startedAt = this.#clock.now()
    const ending = new AbortController()
    let reason: RefusalReason = 'malformed'
    const end = (why: RefusalReason): void => {
      reason = why
      ending.abort(new HandshakeRefusedError(why, false))
    }
    const cancel = this.#clock.schedule(startedAt + HANDSHAKE_TIMEOUT_MS, () => end('timeout'))
    // Of a peer that hung up the encryption may not hear, and would keep its place to the deadline.
    const onClose = (): void => end('malformed')
    connection.addEventListener('close', onClose)
    const signals = options.signal === undefined ? [] : [options.signal]
    const signal = AbortSignal.any([ending.signal, ...signals])
    const secure = isInbound ? 'secureInbound' : 'secureOutbound'
    let secured: SecuredConnection
    try {
      secured = await this.#inner[secure](connection, { ...options, signal })
    } catch (error) {
      if (isInbound) this.#host.refused({ address, reason, isInbound, isByPeer: false })
      throw error
    } finally {
      cancel()
      connection.removeEventListener('close', onClose)
    }
    return this.#prove(secured, { address, startedAt, isInbound, signal: options.signal })
  }

  async #prove(
    secured: SecuredConnection,
    init: Omit<HandshakePeer, 'publicKey'> & {
      readonly isInbound: boolean
      readonly signal: AbortSignal | undefined
    },
  ): Promise<SecuredConnection> {
    const { address, startedAt, isInbound, signal } = init
    const stream = secured.connection
    let publicKey: Uint8Array | undefined
    try {
      publicKey = ed25519KeyOf(secured.remotePeer)
      const peer: HandshakePeer = { publicKey, address, startedAt }
      const host = this.#host
      const proven = await runHandshake(
        { clock: this.#clock, answers: host.answers(peer) },
        stream,
        {
          handshake: isInbound ? host.responder(peer) : host.initiator(peer),
          isInitiator: !isInbound,
          signal,
        },
      )
      host.proven(proven, address)
      return secured
    } catch (error) {
      if (error instanceof HandshakeRefusedError) {
        const { reason, isByPeer } = error
        const known = publicKey === undefined ? {} : { publicKey }
        this.#host.refused({ ...known, address, reason, isInbound, isByPeer })
      }
      await closeRefused(this.#clock, stream, error as Error)
      throw error
    }
  }

  #enter(address: string): boolean {
    const ofAddress = this.#halfOpen.get(address) ?? 0
    if (this.#halfOpenCount >= HALF_OPEN_MAX || ofAddress >= HALF_OPEN_PER_ADDRESS_MAX) {
      return false
    }
    this.#halfOpenCount++
    this.#halfOpen.set(address, ofAddress + 1)
    return true
  }

  #leave(address: string): void {
    this.#halfOpenCount--
    const left = (this.#halfOpen.get(address) ?? 1) - 1
    if (left === 0) this.#halfOpen.delete(address)
    else this.#halfOpen.set(address, left)
  }
}

/** In an orderly way, so that `refused` arrives; but a peer that does not read cannot hold us. */
async function closeRefused(clock: Clock, stream: MessageStream, error: Error): Promise<void> {
  if (stream.status !== 'open') return
  const late = Promise.withResolvers<void>()
  const cancel = clock.schedule(clock.now() + REFUSED_CLOSE_MS, late.resolve)
  try {
    await Promise.race([stream.close(), late.promise])
  } catch {
    // It was closing already: the abort below is the end in any case.
  } finally {
    cancel()
    stream.abort(error)
  }
}

function ed25519KeyOf(peer: PeerId): Uint8Array {
  if (peer.type === 'Ed25519') return peer.publicKey.raw
  throw new HandshakeRefusedError('malformed', false)
}

/** A transport's connection knows where it leads to; a stream of another kind does not. */
function addressOf(connection: MessageStream): string {
  const { remoteAddr } = connection as { remoteAddr?: { toString(): string } }
  if (remoteAddr === undefined) return 'unknown'
  return hostOf(remoteAddr.toString())
}

/** `/ip4/192.0.2.1/tcp/4001/p2p/Q..` is `/ip4/192.0.2.1`; relayed: the address of the relay. */
export function hostOf(multiaddr: string): string {
  return multiaddr.split('/').slice(0, 3).join('/') || 'unknown'
}

function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return one.byteLength === other.byteLength && one.every((byte, index) => byte === other[index])
}
