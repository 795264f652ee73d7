/**
 * Throughput of a channel over a unix socket between two processes, messages of 1 MiB in place,
 * beside the bare socket with the same work: each message put together in memory of its own.
 */
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Clock, NodeId } from '@mycelium/interface'
import { createSystemRandom } from '../src/system-random.ts'
import { createUnixChannels } from '../src/unix-channels.ts'

const MESSAGE_BYTES = 1024 * 1024
const MESSAGES = 1_024
const SAMPLES = 7
const RECEIVER = 'receiver' as NodeId

const clock: Clock = {
  now: () => performance.now(),
  unixMs: () => Date.now(),
  schedule: (at, callback) => {
    const timer = setTimeout(callback, Math.max(1, Math.ceil(at - performance.now())))
    return () => clearTimeout(timer)
  },
}
const deps = { clock, random: createSystemRandom() }

async function sendByChannel(folder: string): Promise<void> {
  const channels = createUnixChannels(deps, { local: 'sender' as NodeId, folder })
  const channel = await channels.open(RECEIVER, 'bench')
  const message = Buffer.alloc(MESSAGE_BYTES, 7)
  for (let count = 0; count < MESSAGES; count++) {
    await channel.send(message, { onReleased: () => {} })
  }
  await channel.close()
}

async function sendBare(folder: string): Promise<void> {
  const socket = connect({ path: join(folder, 'bare.sock') })
  const message = Buffer.alloc(MESSAGE_BYTES, 7)
  for (let count = 0; count < MESSAGES; count++) {
    if (socket.write(message)) continue
    await new Promise((resolve) => {
      socket.once('drain', resolve)
    })
  }
  await new Promise<void>((resolve) => {
    socket.end(resolve)
  })
}

/** What the child process runs. */
const SENDERS = { '--send-by-channel': sendByChannel, '--send-bare': sendBare } as const

/** GB/s over what came after the first message. */
function speed(startMs: number): number {
  return ((MESSAGES - 1) * MESSAGE_BYTES) / (performance.now() - startMs) / 1e6
}

function startSender(folder: string, how: keyof typeof SENDERS): void {
  fork(fileURLToPath(import.meta.url), [how, folder])
}

async function measureChannel(folder: string): Promise<number> {
  await using channels = createUnixChannels(deps, { local: RECEIVER, folder })
  await channels.start()
  const accepted = channels.accept('')
  startSender(folder, '--send-by-channel')
  for await (const channel of accepted) {
    let startMs = 0
    for await (const { bytes } of channel.receive()) {
      if (bytes.byteLength === MESSAGE_BYTES) startMs ||= performance.now()
    }
    return speed(startMs)
  }
  throw new Error('nobody came')
}

async function measureBare(folder: string): Promise<number> {
  return await new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      let startMs = 0
      let message = Buffer.allocUnsafeSlow(MESSAGE_BYTES)
      let filled = 0
      socket.on('data', (chunk) => {
        for (let at = 0; at < chunk.byteLength;) {
          const size = Math.min(chunk.byteLength - at, MESSAGE_BYTES - filled)
          message.set(chunk.subarray(at, at + size), filled)
          at += size
          filled += size
          if (filled < MESSAGE_BYTES) continue
          startMs ||= performance.now()
          message = Buffer.allocUnsafeSlow(MESSAGE_BYTES)
          filled = 0
        }
      })
      socket.on('end', () => {
        resolve(speed(startMs))
        server.close()
      })
    })
    server.once('error', reject)
    server.listen(join(folder, 'bare.sock'), () => startSender(folder, '--send-bare'))
  })
}

function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(part * (sorted.length - 1))] ?? 0
}

export async function bench(): Promise<readonly object[]> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'))
  const ours: number[] = []
  const peer: number[] = []
  try {
    for (let sample = 0; sample < SAMPLES; sample++) {
      ours.push(await measureChannel(folder))
      peer.push(await measureBare(folder))
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return [
    {
      name: 'messages of 1 MiB over a unix socket',
      unit: 'GB/s',
      samples: SAMPLES,
      ours: quantile(ours, 0.5),
      oursSpread: quantile(ours, 0.75) - quantile(ours, 0.25),
      peerName: 'bare socket, messages put together',
      peer: quantile(peer, 0.5),
    },
  ]
}

const [how, folder = ''] = process.argv.slice(2)
if (how === '--send-by-channel' || how === '--send-bare') await SENDERS[how](folder)
