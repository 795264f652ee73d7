import { X509Certificate } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:tls'
import type { NodeId } from '@mycelium/interface'
import { bulkChannelCases, type BulkChannelSetup } from '@mycelium/interface/testing'
import { describe, expect, it } from 'vitest'
import { createNodeCertificate } from '../src/self-signed-certificate.ts'
import { createSystemRandom } from '../src/system-random.ts'
import { createTlsChannels, type TlsChannels, type TlsChannelsInit } from '../src/tls-channels.ts'
import { ACCEPTOR, Cable, JumpingClock, OPENER, setupOver, TEST_INIT } from './channel-harness.ts'

const HOST = '127.0.0.1'
const ANY = { host: HOST, port: 0 }
const keys = {
  opener: createNodeCertificate('opener'),
  acceptor: createNodeCertificate('acceptor'),
  stranger: createNodeCertificate('stranger'),
}

function createNode(
  clock: JumpingClock,
  local: NodeId,
  key: keyof typeof keys,
  init: Pick<TlsChannelsInit, 'peers' | 'listen'>,
): TlsChannels {
  const { certificate, privateKey } = keys[key]
  const deps = { clock, random: createSystemRandom() }
  return createTlsChannels(deps, { ...TEST_INIT, local, certificate, privateKey, ...init })
}

const openerPeer = { node: OPENER, fingerprint: keys.opener.fingerprint }
const acceptorPeer = { node: ACCEPTOR, fingerprint: keys.acceptor.fingerprint }

async function setup(): Promise<BulkChannelSetup> {
  const clock = new JumpingClock()
  const acceptor = createNode(clock, ACCEPTOR, 'acceptor', { peers: [openerPeer], listen: ANY })
  await acceptor.start()
  const cable = new Cable(acceptor.address ?? ANY)
  const { port } = (await cable.listen(ANY)) as AddressInfo
  const opener = createNode(clock, OPENER, 'opener', {
    peers: [{ ...acceptorPeer, address: { host: HOST, port } }],
  })
  const dispose = async (): Promise<void> => {
    await Promise.all([opener.stop(), acceptor.stop()])
  }
  return await setupOver({ opener, acceptor, cable, clock, dispose })
}

describe('a channel over TLS keeps the contract', () => {
  for (const { name, run } of bulkChannelCases) it(name, () => run(setup))
})

describe('createTlsChannels', () => {
  const listening = async (): Promise<TlsChannels> => {
    const node = createNode(new JumpingClock(), ACCEPTOR, 'acceptor', {
      peers: [openerPeer],
      listen: ANY,
    })
    await node.start()
    return node
  }
  const openerOf = (
    acceptor: TlsChannels,
    key: keyof typeof keys,
    fingerprint = keys.acceptor.fingerprint,
  ): TlsChannels => {
    const address = acceptor.address ?? ANY
    const peers = [{ node: ACCEPTOR, fingerprint, address }]
    return createNode(new JumpingClock(), OPENER, key, { peers })
  }

  it('refuses a stranger: its key is pinned by nobody', async () => {
    await using acceptor = await listening()
    acceptor.accept('test/')
    await using stranger = openerOf(acceptor, 'stranger')
    await expect(stranger.open(ACCEPTOR, 'test/x')).rejects.toMatchObject({
      code: 'ERR_BULK_UNREACHABLE',
    })
  })

  it('does not speak to an impostor: it shows another key', async () => {
    await using acceptor = await listening()
    acceptor.accept('test/')
    await using opener = openerOf(acceptor, 'opener', keys.stranger.fingerprint)
    await expect(opener.open(ACCEPTOR, 'test/x')).rejects.toMatchObject({
      code: 'ERR_BULK_UNREACHABLE',
      message: expect.stringContaining('another key than the pinned one') as string,
    })
  })

  it('a peer cannot use the name of another', async () => {
    await using acceptor = await listening()
    acceptor.accept('test/')
    const peers = [{ ...acceptorPeer, address: acceptor.address ?? ANY }]
    await using liar = createNode(new JumpingClock(), 'boss' as NodeId, 'opener', { peers })
    await expect(liar.open(ACCEPTOR, 'test/x')).rejects.toMatchObject({ code: 'ERR_BULK_REFUSED' })
  })

  it('ERR_BULK_REFUSED without a listener, ERR_BULK_UNREACHABLE without a process', async () => {
    const acceptor = await listening()
    await using opener = openerOf(acceptor, 'opener')
    await expect(opener.open(ACCEPTOR, 'test/x')).rejects.toMatchObject({
      code: 'ERR_BULK_REFUSED',
    })
    await acceptor.stop()
    expect(acceptor.address).toBeUndefined()
    await expect(opener.open(ACCEPTOR, 'test/x')).rejects.toMatchObject({
      code: 'ERR_BULK_UNREACHABLE',
    })
    await expect(opener.open('nobody' as NodeId, 'test/x')).rejects.toMatchObject({
      code: 'ERR_BULK_REFUSED',
    })
  })

  it('speaks TLS 1.3 only, and resumes nothing', async () => {
    await using acceptor = await listening()
    const address = acceptor.address ?? ANY
    const { certificate: cert, privateKey: key } = keys.opener
    const common = { ...address, cert, key, rejectUnauthorized: false }
    const old = connect({ ...common, maxVersion: 'TLSv1.2' })
    await expect(
      new Promise((_, reject) => {
        old.once('error', reject)
      }),
    ).rejects.toThrow(/protocol version/i)
    const ALPNProtocols = ['mycelium-bulk/1']
    const first = connect({ ...common, ALPNProtocols })
    const sessions: Buffer[] = []
    first.on('session', (session) => sessions.push(session))
    await new Promise((resolve) => {
      first.once('secureConnect', resolve)
    })
    expect(first.getProtocol()).toBe('TLSv1.3')
    first.end()
    await new Promise((resolve) => {
      first.once('close', resolve)
    })
    for (const session of sessions) {
      const second = connect({ ...common, ALPNProtocols, session })
      await new Promise((resolve) => {
        second.once('secureConnect', resolve)
      })
      expect(second.isSessionReused()).toBe(false)
      second.destroy()
    }
  })

  it('refuses malformed and repeated fingerprints', () => {
    const make = (...fingerprints: string[]): TlsChannels =>
      createNode(new JumpingClock(), OPENER, 'opener', {
        peers: fingerprints.map((fingerprint) => ({ node: ACCEPTOR, fingerprint })),
      })
    expect(() => make('abc')).toThrow(TypeError)
    expect(() => make(keys.opener.fingerprint.toUpperCase())).toThrow(TypeError)
    expect(() => make(keys.opener.fingerprint, keys.opener.fingerprint)).toThrow(TypeError)
  })
})

describe('createNodeCertificate', () => {
  it('makes a certificate that signs itself, with its name', () => {
    const { certificate, fingerprint } = createNodeCertificate('node 1 – é')
    const parsed = new X509Certificate(certificate)
    expect(parsed.verify(parsed.publicKey)).toBe(true)
    expect(parsed.subject).toBe('CN=node 1 – é')
    expect(parsed.issuer).toBe(parsed.subject)
    expect(parsed.validTo).toMatch(/9999/)
    expect(fingerprint).toMatch(/^[0-9a-f]{64}$/)
  })

  it('checks the name at its bounds', () => {
    expect(() => createNodeCertificate('')).toThrow(/^name must/)
    expect(() => createNodeCertificate('x'.repeat(65))).toThrow(/^name must/)
    expect(() => createNodeCertificate('x'.repeat(64))).not.toThrow()
  })
})
