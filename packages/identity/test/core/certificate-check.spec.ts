import { describe, expect, it } from 'vitest'
import type { Statement } from '../../src/core/model.ts'
import type { NetworkState } from '../../src/core/network-state.ts'
import {
  bytesOf,
  certificateOf,
  DAY,
  NOW,
  paperNetwork,
  sealedCertificate,
  signerOf,
} from '../kit/documents.ts'
import {
  a,
  added,
  b,
  fact,
  g1,
  g2,
  pair,
  paper,
  removal,
  spent,
  stateOf,
} from '../kit/paper-state.ts'

describe('certificates', () => {
  const subject = a.publicKey
  const check = (
    state: NetworkState,
    envelope: Uint8Array,
    now: number = NOW,
    who: Uint8Array = subject,
  ): string => {
    const verdict = state.checkCertificate(envelope, who, now)
    return 'refused' in verdict ? verdict.refused : 'member'
  }
  const certificate = certificateOf(paper.id, subject)
  const envelope = sealedCertificate(certificate, [g1])
  const revoked = (statement: Statement): Uint8Array => fact({ issuer: g1, number: 9, statement })

  it('hold if signed by an authority', () => {
    const verdict = stateOf(paper).checkCertificate(envelope, subject, NOW)
    expect(verdict).toEqual({ certificate })
  })

  it('are refused by the first thing that is wrong with them', () => {
    const state = stateOf(paper)
    const other = certificateOf(pair.id, subject)
    const foreign = paperNetwork({ networkSigner: signerOf(77) })
    const broken = Uint8Array.from(envelope)
    broken[broken.byteLength - 1] = (broken[broken.byteLength - 1] ?? 0) ^ 1
    expect(check(state, broken)).toBe('certificate-invalid')
    expect(check(state, envelope.slice(1))).toBe('certificate-invalid')
    expect(check(state, sealedCertificate(certificate, [b]))).toBe('certificate-invalid')
    expect(check(stateOf(foreign), sealedCertificate(other, [g1]))).toBe('wrong-network')
    expect(check(state, envelope, NOW, b.publicKey)).toBe('certificate-of-another')
    const sealedFactAsCertificate = fact({ issuer: g1, number: 1, statement: spent(1) })
    expect(check(state, sealedFactAsCertificate)).toBe('certificate-invalid')
  })

  it('count from notBefore to notAfter, with 120 s at both ends', () => {
    const state = stateOf(paper)
    expect(check(state, envelope, NOW - 121)).toBe('certificate-not-yet-valid')
    expect(check(state, envelope, NOW - 120)).toBe('member')
    expect(check(state, envelope, NOW + 7 * DAY + 120)).toBe('member')
    expect(check(state, envelope, NOW + 7 * DAY + 121)).toBe('certificate-expired')
  })

  it.each([
    { kind: 'certificate-revoked', serial: certificate.serial, reason: 'removed' },
    { kind: 'node-revoked', node: subject, reason: 'left' },
  ] satisfies readonly Statement[])('are revoked by $kind', (statement) => {
    const state = stateOf(paper)
    state.add(revoked(statement), NOW)
    expect(check(state, envelope)).toBe('revoked')
    const next = sealedCertificate({ ...certificate, serial: bytesOf(16, 6) }, [g1])
    expect(check(state, next)).toBe(statement.kind === 'node-revoked' ? 'revoked' : 'member')
  })

  it('need the threshold, of different authorities', () => {
    const state = stateOf(pair)
    const two = certificateOf(pair.id, subject)
    expect(check(state, sealedCertificate(two, [g1]))).toBe('certificate-invalid')
    expect(check(state, sealedCertificate(two, [g1, b]))).toBe('certificate-invalid')
    expect(check(state, sealedCertificate(two, [g1, g2]))).toBe('member')
    expect(check(state, sealedCertificate(two, [g1, g2, b]))).toBe('member')
  })

  it('outlive the removal of who signed them, unless it is compromised', () => {
    const facts = [added(g1, 1, b)]
    const ofB = sealedCertificate(certificate, [b])
    const remove = fact({ issuer: g1, number: 2, at: NOW + 10, statement: removal(b, 0) })
    const state = stateOf(paper, { facts })
    expect(check(state, ofB)).toBe('member')
    state.add(remove, NOW + 10)
    expect(check(state, ofB)).toBe('member')
    const later = { ...certificate, notBefore: NOW + 11 }
    expect(check(state, sealedCertificate(later, [b]))).toBe('certificate-invalid')
    expect(check(state, sealedCertificate(later, [g1]))).toBe('member')
    state.add(revoked({ kind: 'node-revoked', node: b.publicKey, reason: 'compromised' }), NOW + 20)
    expect(check(state, ofB)).toBe('certificate-invalid')
  })
})
