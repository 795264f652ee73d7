import type { Command } from 'commander'
import {
  type ConfigSource,
  type EffectiveConfig,
  environmentSources,
  resolveConfig,
} from '../config.ts'
import { readConfigFolder } from '../config-files.ts'
import { type Paths, resolvePaths } from '../paths.ts'

/** What every command about a node takes. */
export interface NodeOptions {
  readonly dataDir?: string
  readonly configDir?: string
}

export function addNodeOptions(command: Command): Command {
  return command
    .option('--data-dir <folder>', 'state of the node, and its socket')
    .option('--config-dir <folder>', 'config.yaml and config.d/*.yaml')
}

/** @throws {UsageError} the path of the socket is too long */
export function pathsOf({ dataDir, configDir }: NodeOptions): Paths {
  return resolvePaths({
    isRoot: process.geteuid?.() === 0,
    environment: process.env,
    ...(dataDir !== undefined && { dataDir }),
    ...(configDir !== undefined && { configDir }),
  })
}

/** Files, then the environment, then flags. Rejects with what is wrong in which of them. */
export async function configOf(
  { configFolder }: Paths,
  flags: readonly ConfigSource[] = [],
): Promise<EffectiveConfig> {
  const files = await readConfigFolder(configFolder)
  return resolveConfig([...files, ...environmentSources(process.env), ...flags])
}
