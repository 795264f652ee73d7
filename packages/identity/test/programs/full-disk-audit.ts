/**
 * Fills the disk under an audit log and says what happens. One line for each step.
 *
 * usage: full-disk-audit.ts FOLDER
 */
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AUDIT_WAITING_MAX, createAuditLog } from '../../src/audit-log.ts'
import { createSigner } from '../../src/crypto.ts'
import { readAudit, verifyAudit } from '../../src/verify-audit.ts'
import { clock, random } from '../disk-kit.ts'

const [mountPoint = ''] = process.argv.slice(2)
const filler = join(mountPoint, 'filler')
const folder = join(mountPoint, 'audit')
const say = (line: string): void => void process.stdout.write(`${line}\n`)
const outcome = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: { code?: string; doubt?: boolean }) => `${error.code} doubt ${error.doubt}`,
  )

const signer = createSigner(new Uint8Array(32).fill(1))
const log = await createAuditLog({ clock, random, signer }, { folder })
log.append({ event: 'before' })
say(await outcome(log.flush()))
const { bavail, bsize } = statfsSync(mountPoint)
writeFileSync(filler, Buffer.alloc(bavail * bsize))
const all = 5 * AUDIT_WAITING_MAX
for (let i = 0; i < all; i++) log.append({ event: 'during', reason: 'x'.repeat(100) })
say(await outcome(log.flush()))
const { lost, waiting, isFailing } = log.metrics
say(`failing ${isFailing}, lost ${lost > 0}, bounded ${waiting < AUDIT_WAITING_MAX + 10}`)
const meanwhile = await verifyAudit(folder, { publicKey: signer.publicKey })
say(`verified meanwhile ${meanwhile.ok}`)
rmSync(filler)
log.append({ event: 'after' })
say(await outcome(log.flush()))
say(await outcome(log.stop()))
const seen = new Map<string, number>()
let told = 0
for await (const { event, count = 1 } of readAudit(folder)) {
  seen.set(event, (seen.get(event) ?? 0) + 1)
  if (event === 'audit:lost') told += count
}
const afters = seen.get('after') ?? 0
const durings = seen.get('during') ?? 0
say(`all told ${durings + afters + told === all + 1}, lost told ${told === log.metrics.lost}`)
const verdict = await verifyAudit(folder, { publicKey: signer.publicKey })
say(`verified ${verdict.ok}`)
