/** A network on paper: its genesis, and a certificate that its first node signs for another. */
import { randomBytes } from 'node:crypto'
import {
  createCrypto,
  createNetworkState,
  createSigner,
  encodeCertificate,
  encodeEnvelope,
  encodeGenesis,
  networkIdOf,
  nodeIdOf,
  signEnvelope,
} from '@mycelium/identity'

const crypto = createCrypto()
const networkKey = createSigner(randomBytes(32))
const founder = createSigner(randomBytes(32))
const newcomer = createSigner(randomBytes(32))
const now = Math.floor(Date.now() / 1000)

const genesis = encodeGenesis({
  name: 'meadow',
  networkKey: networkKey.publicKey,
  createdAt: now,
  genesisNodes: [founder.publicKey],
  compatibility: 1,
  isolationHash: crypto.sha256(randomBytes(32)),
  rotation: { everyDays: 90, overlapHours: 24 },
  quorum: { authorityThreshold: 1 },
  trust: { admissionThreshold: 700 },
})
const signers = [networkKey, founder]
const state = createNetworkState(
  { crypto },
  { genesis: encodeEnvelope(signEnvelope({ kind: 'genesis', body: genesis, signers })) },
)

const certificate = encodeCertificate({
  network: networkIdOf(crypto, networkKey.publicKey),
  subject: newcomer.publicKey,
  nodeType: 'rhizomorph',
  roles: [],
  capabilities: [],
  notBefore: now,
  notAfter: now + 7 * 24 * 3600,
  serial: randomBytes(16),
  epoch: 0,
})
const envelope = encodeEnvelope(
  signEnvelope({ kind: 'certificate', body: certificate, signers: [founder] }),
)
const verdict = state.checkCertificate(envelope, newcomer.publicKey, now)
console.log(`${nodeIdOf(newcomer.publicKey)}:`, 'refused' in verdict ? verdict.refused : 'member')
if ('refused' in verdict) process.exitCode = 1
