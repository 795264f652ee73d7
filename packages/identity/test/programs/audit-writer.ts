/**
 * Writes audit entries without end, and says which are durable. To be killed.
 *
 * usage: audit-writer.ts FOLDER
 */
import { createAuditLog } from '../../src/audit-log.ts'
import { createSigner } from '../../src/crypto.ts'
import { clock, random } from '../disk-kit.ts'

const [folder = ''] = process.argv.slice(2)
const signer = createSigner(new Uint8Array(32).fill(1))
const log = await createAuditLog(
  { clock, random, signer },
  { folder, bytesMax: 3 * 2 ** 16, segmentBytes: 2 ** 16 },
)
process.stdout.write('open\n')
for (;;) {
  for (let i = 0; i < 7; i++) log.append({ event: 'happened', reason: 'x'.repeat(200) })
  await log.flush()
  process.stdout.write(`${log.metrics.entries}\n`)
}
