import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkConfigAddresses } from '../addresses.ts'
import type { EffectiveConfig } from '../config.ts'
import { EXIT_OK } from '../constants.ts'
import type { AddCommand, CommandContext } from '../context.ts'
import { serveUntilEnd } from '../lifetime.ts'
import { createLineSink } from '../line-sink.ts'
import { createLogger } from '../logger.ts'
import type { Paths } from '../paths.ts'
import { version } from '../version.ts'
import { addNodeOptions, configOf, type NodeOptions, pathsOf } from './node-options.ts'

interface UpOptions extends NodeOptions {
  readonly dev?: true
  readonly listen: string[]
  readonly announce: string[]
  readonly peer: string[]
  readonly mdns?: true
}

const collect = (text: string, before: string[]): string[] => [...before, text]

/** Adds `mycelium up`. */
export const addUp: AddCommand = (program, act) => {
  addNodeOptions(
    program
      .command('up')
      .description('Runs the node until SIGTERM or Ctrl-C.')
      .option('--listen <multiaddr>', 'where; may be given several times', collect, [])
      .option('--announce <multiaddr>', 'what others are told instead', collect, [])
      .option('--peer <multiaddr>', 'a member to begin with, as .../p2p/<id>', collect, [])
      .option('--mdns', 'look for members on the local network')
      .option(
        '--dev',
        'a complete network of one node, gone at the end (unless --data-dir is given)',
      ),
  ).action(act(up))
}

async function up(options: UpOptions, context: CommandContext): Promise<number> {
  // What `--dev` makes is to be gone with the terminal that asked for it.
  serveUntilEnd({ isDetached: options.dev !== true })
  await using ends = new AsyncDisposableStack()
  let { dataDir } = options
  if (options.dev && dataDir === undefined) {
    const folder = await mkdtemp(join(tmpdir(), 'mycelium-dev-'))
    ends.defer(() => rm(folder, { recursive: true }))
    dataDir = folder
  }
  const paths = pathsOf({ ...options, ...(dataDir !== undefined && { dataDir }) })
  const effective = await configOf(paths, [...devSource(options), ...flagsOf(options)])
  checkConfigAddresses(effective)
  if (options.dev) await foundIfNew(paths, context)
  await run(paths, effective, context)
  return EXIT_OK
}

/** A node for one developer: reached from this machine, on any port. */
function devSource({ dev }: UpOptions) {
  return dev ? [{ name: '--dev', values: { listen: ['/ip4/127.0.0.1/tcp/0'] } }] : []
}

function flagsOf({ listen, announce, peer, mdns }: UpOptions) {
  return [
    { name: '--listen', values: { listen: listen.length > 0 ? listen : undefined } },
    { name: '--announce', values: { announce: announce.length > 0 ? announce : undefined } },
    { name: '--peer', values: { peers: peer.length > 0 ? peer : undefined } },
    { name: '--mdns', values: { mdns } },
  ]
}

async function foundIfNew(paths: Paths, { signal, progress }: CommandContext): Promise<void> {
  const { executeOffline } = await import('../offline.ts')
  const { network } = await executeOffline('identity.show', {}, { paths, signal })
  if (network !== undefined) return
  await executeOffline('init', { name: 'dev' }, { paths, signal })
  progress(`a new network; talk to it with --data-dir ${paths.dataFolder}`)
}

/** Log lines go to standard error: standard output has nothing to say until the end. */
async function run(
  paths: Paths,
  effective: EffectiveConfig,
  { signal }: CommandContext,
): Promise<void> {
  const logger = createLogger({
    level: effective.config.logLevel,
    form: process.stderr.isTTY ? 'text' : 'json',
    write: createLineSink(process.stderr, (count) => {
      logger.log('warn', 'lines of the log dropped: nobody read them in time', { count })
    }),
    unixMs: Date.now,
  })
  const { startDaemon } = await import('../daemon.ts')
  await using daemon = await startDaemon({ logger }, { paths, effective, version: version() })
  await untilAborted(signal)
  const { reason } = signal as { readonly reason: unknown }
  logger.log('info', 'node stops', { socket: daemon.socket, reason })
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => {
      resolve()
    })
  })
}
