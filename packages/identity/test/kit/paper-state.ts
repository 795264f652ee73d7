/** What facts do to a state, in short words. */
import { createNetworkState } from '../../src/core/facts-state.ts'
import type { Signer, Statement } from '../../src/core/model.ts'
import type { NetworkState, NetworkStateInit } from '../../src/core/network-state.ts'
import {
  bytesOf,
  crypto,
  paperNetwork,
  sealedFact,
  signerOf,
  type FactInit,
  type PaperNetwork,
} from './documents.ts'

/** Two genesis nodes, and three others. */
export const [g1, g2, a, b, c] = [1, 2, 3, 4, 5].map(signerOf) as [
  Signer,
  Signer,
  Signer,
  Signer,
  Signer,
]
/** One genesis node, threshold 1. */
export const paper: PaperNetwork = paperNetwork({ nodes: [g1] })
/** Two genesis nodes, threshold 2. */
export const pair: PaperNetwork = paperNetwork({ nodes: [g1, g2], threshold: 2 })

export const stateOf = (
  network: PaperNetwork,
  init: Partial<NetworkStateInit> = {},
): NetworkState => createNetworkState({ crypto }, { genesis: network.envelope, ...init })

export const fact = (init: FactInit, network: PaperNetwork = paper): Uint8Array =>
  sealedFact(network.id, init)

export const added = (issuer: Signer, number: number, node: Signer): Uint8Array =>
  fact({ issuer, number, statement: { kind: 'authority-added', node: node.publicKey } })

export const removal = (node: Signer, lastNumber: number): Statement => ({
  kind: 'authority-removed',
  node: node.publicKey,
  lastNumber,
})

/** A statement that can be seen at once, named by a number. */
export const spent = (fill: number): Statement => ({
  kind: 'token-revoked',
  tokenId: bytesOf(16, fill),
})

export const isSpent = (state: NetworkState, fill: number): boolean =>
  state.isTokenSpent(bytesOf(16, fill))

export const isAuthority = (state: NetworkState, { publicKey }: Signer): boolean =>
  state.authorities.some((key) => Buffer.from(key).equals(publicKey))
