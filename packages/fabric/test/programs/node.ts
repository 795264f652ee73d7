/**
 * A node in a process of its own. Argument: JSON of {key: base64, listen, heartbeatMs, peers}.
 * Prints its addresses as a line of JSON once it listens; ends when its standard input does.
 */
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import { createFabric, createSystemClock, createSystemRandom } from '../../src/index.ts'

const { key, ...init } = JSON.parse(process.argv[2] ?? '{}')
const fabric = createFabric(
  { clock: createSystemClock(), random: createSystemRandom() },
  { ...init, privateKey: privateKeyFromRaw(Buffer.from(key, 'base64')) },
)
fabric.transport('test').handle(async (_, message) => message)
await fabric.start()
process.stdout.write(`${JSON.stringify(fabric.addresses)}\n`)
process.stdin.resume()
process.stdin.once('end', () => {
  void fabric.stop()
})
