import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { UsageError } from './errors.ts'

/** Where things lie. */
export interface Paths {
  /** Configuration: `config.yaml`, `config.d/*.yaml`. */
  readonly configFolder: string
  /** State, 0700. */
  readonly dataFolder: string
  /** Of the admin interface. */
  readonly socket: string
}

export interface PathsInit {
  readonly isRoot: boolean
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly dataDir?: string
  readonly configDir?: string
}

/** `sun_path` of unix(7), without the zero at its end. */
export const SOCKET_BYTES_MAX = 107

/**
 * Root: the places of a system service. Others: those of the XDG base directory specification.
 * `dataDir` (or `MYCELIUM_DATA_DIR`) holds the socket too, so that several nodes run side by side.
 *
 * @throws {UsageError} the path of the socket is too long, or the data folder lies in /proc
 */
export function resolvePaths({ isRoot, environment, ...init }: PathsInit): Paths {
  const dataDir = init.dataDir ?? environment['MYCELIUM_DATA_DIR']
  const configDir = init.configDir ?? environment['MYCELIUM_CONFIG_DIR']
  const standard = isRoot ? systemPaths() : userPaths(environment)
  const paths = {
    configFolder: configDir === undefined ? standard.configFolder : resolve(configDir),
    dataFolder: dataDir === undefined ? standard.dataFolder : resolve(dataDir),
    socket: dataDir === undefined ? standard.socket : join(resolve(dataDir), 'mycelium.sock'),
  }
  // Nothing can be made there, and Node tries for ever (recursive mkdir, Node 24).
  if (/^\/proc(\/|$)/.test(paths.dataFolder)) {
    throw new UsageError(`the data folder ${paths.dataFolder} is of the kernel: choose another`)
  }
  const bytes = Buffer.byteLength(paths.socket)
  if (bytes > SOCKET_BYTES_MAX) {
    throw new UsageError(
      `the socket ${paths.socket} has a path of ${bytes} bytes, at most ${SOCKET_BYTES_MAX} are ` +
        'possible: choose a shorter --data-dir',
    )
  }
  return paths
}

function systemPaths(): Paths {
  return {
    configFolder: '/etc/mycelium',
    dataFolder: '/var/lib/mycelium',
    socket: '/run/mycelium/mycelium.sock',
  }
}

function userPaths(environment: PathsInit['environment']): Paths {
  const home = environment['HOME'] ?? homedir()
  const at = (variable: string, standard: string): string =>
    join(environment[variable] ?? join(home, standard), 'mycelium')
  const dataFolder = at('XDG_STATE_HOME', '.local/state')
  const runtime = environment['XDG_RUNTIME_DIR']
  return {
    configFolder: at('XDG_CONFIG_HOME', '.config'),
    dataFolder,
    // Without a runtime folder: beside the state, which nobody else can enter either.
    socket: join(runtime === undefined ? dataFolder : join(runtime, 'mycelium'), 'mycelium.sock'),
  }
}
