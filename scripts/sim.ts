/** Runs simulations; `--help` says how. */
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runSeeds, type Simulation } from '../packages/simulator/src/index.ts'
import { argumentFault, root } from './system.ts'

const EXIT_FAILED = 1
const EXIT_USAGE = 2
const SEEDS_DEFAULT = 200

const USAGE = `usage: npm run sim -- [PACKAGE [--seeds N] [--seed S]]

Runs every packages/PACKAGE/sim/*.sim.ts over N seeds from S on. Prints how many seeds ran in a
second and how often each rare event happened: a simulation that never saw one has not tested it.
A failure ends with the one line that repeats it, and exit code 1. Without PACKAGE: lists those
with simulations.

  --seeds N   how many (default: ${SEEDS_DEFAULT})
  --seed S    the first one (default: 1)
  -h, --help  this text`

const words = (error: unknown): string => (error instanceof Error ? error.message : String(error))

function end(message: string, exitCode: number): never {
  console.error(`sim: ${message.replaceAll(/\s*\n\s*/g, ' ')}`)
  process.exit(exitCode)
}

function integer(name: string, text: string, min: number): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= min && value < 2 ** 32) return value
  return end(`--${name} must be a whole number, at least ${min}, got ${text}`, EXIT_USAGE)
}

function readArguments() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        seeds: { type: 'string', default: String(SEEDS_DEFAULT) },
        seed: { type: 'string', default: '1' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
    if (values.help) {
      console.log(USAGE)
      process.exit(0)
    }
    if (positionals.length > 1) throw new RangeError('PACKAGE must be one package')
    return {
      packageName: positionals[0],
      seeds: integer('seeds', values.seeds, 1),
      firstSeed: integer('seed', values.seed, 0),
    }
  } catch (error) {
    return end(argumentFault(error), EXIT_USAGE)
  }
}

/** Where it came from; the last line says how to repeat it. */
function whole(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof Error ? `${cause.stack}\n${words(error)}` : words(error)
}

const { packageName, seeds, firstSeed } = readArguments()
const files = globSync('packages/*/sim/*.sim.ts', { cwd: root }).sort()
const packages = [...new Set(files.map((file) => file.split('/')[1] ?? ''))]
if (packageName === undefined) {
  for (const name of packages) console.log(name)
  process.exit(0)
}
if (!packages.includes(packageName)) {
  end(`${packageName} has no simulations; there are: ${packages.join(', ') || 'none'}`, EXIT_USAGE)
}

for (const file of files.filter((path) => path.startsWith(`packages/${packageName}/`))) {
  const simulation = (await import(join(root, file))) as Simulation
  const startMs = performance.now()
  try {
    const { coverage, virtualMs } = await runSeeds(simulation, { packageName, seeds, firstSeed })
    const tookMs = performance.now() - startMs
    console.log(
      `${simulation.name}: ${seeds} seeds from ${firstSeed}, ` +
        `${((1e3 * seeds) / tookMs).toFixed(1)} seeds/s, ` +
        `${(virtualMs / 1e3).toFixed(0)} s of virtual time in ${(tookMs / 1e3).toFixed(1)} s`,
    )
    for (const [event, times] of Object.entries(coverage)) console.log(`  ${event}: ${times}`)
    console.log(`  ok: nothing violated in ${seeds} seeds`)
  } catch (error) {
    console.error(whole(error))
    process.exitCode = EXIT_FAILED
  }
}
