import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import type { NodeId } from '@mycelium/interface'
import type { KnownPeer } from '../../src/index.ts'

const PROGRAM = fileURLToPath(new URL('../programs/node.ts', import.meta.url))

export interface NodeProcessInit {
  readonly key: PrivateKey
  readonly listen: readonly string[]
  readonly peers?: readonly KnownPeer[]
  readonly heartbeatMs?: number
}

/** A fabric in a process of its own, for what only a process can suffer. */
export class NodeProcess implements AsyncDisposable {
  readonly nodeId: NodeId
  readonly addresses: readonly string[]
  readonly #child: ChildProcessByStdio<Writable, Readable, null>

  private constructor(
    child: ChildProcessByStdio<Writable, Readable, null>,
    nodeId: NodeId,
    addresses: readonly string[],
  ) {
    this.#child = child
    this.nodeId = nodeId
    this.addresses = addresses
  }

  static async start({ key, ...init }: NodeProcessInit): Promise<NodeProcess> {
    const argument = JSON.stringify({ ...init, key: Buffer.from(key.raw).toString('base64') })
    const child = spawn(process.execPath, ['--conditions=@mycelium/source', PROGRAM, argument], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const lines = createInterface(child.stdout)
    const [line] = (await once(lines, 'line')) as [string]
    const nodeId = peerIdFromPrivateKey(key).toString() as NodeId
    return new NodeProcess(child, nodeId, JSON.parse(line) as string[])
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(name)
  }

  async kill(): Promise<void> {
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }

  /** Ends it in order. Returns its exit code. */
  async end(): Promise<number | null> {
    const exited = once(this.#child, 'exit') as Promise<[number | null]>
    this.#child.stdin.end()
    const [code] = await exited
    return code
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.kill()
  }
}
