import { describe, expect, it } from 'vitest'
import { resolvePaths, SOCKET_BYTES_MAX } from '../src/paths.ts'

describe('paths', () => {
  it('are those of a system service for root', () => {
    expect(resolvePaths({ isRoot: true, environment: {} })).toEqual({
      configFolder: '/etc/mycelium',
      dataFolder: '/var/lib/mycelium',
      socket: '/run/mycelium/mycelium.sock',
    })
  })

  it('are those of XDG for others', () => {
    const environment = { HOME: '/home/u', XDG_CONFIG_HOME: '/c', XDG_RUNTIME_DIR: '/run/user/7' }
    expect(resolvePaths({ isRoot: false, environment })).toEqual({
      configFolder: '/c/mycelium',
      dataFolder: '/home/u/.local/state/mycelium',
      socket: '/run/user/7/mycelium/mycelium.sock',
    })
    expect(resolvePaths({ isRoot: false, environment: { HOME: '/home/u' } }).socket).toBe(
      '/home/u/.local/state/mycelium/mycelium.sock',
    )
  })

  it('lie side by side in a data folder of their own', () => {
    for (const given of [{ dataDir: '/d' }, { environment: { MYCELIUM_DATA_DIR: '/d' } }]) {
      expect(resolvePaths({ isRoot: true, environment: {}, ...given })).toMatchObject({
        dataFolder: '/d',
        socket: '/d/mycelium.sock',
      })
    }
  })

  it('have a socket whose path the system takes', () => {
    const init = { isRoot: true, environment: {} }
    const folderOf = (bytes: number): string => `/${'d'.repeat(bytes - '//mycelium.sock'.length)}`
    const dataDir = folderOf(SOCKET_BYTES_MAX)
    expect(resolvePaths({ ...init, dataDir }).socket).toHaveLength(SOCKET_BYTES_MAX)
    expect(() => resolvePaths({ ...init, dataDir: `${dataDir}d` })).toThrow(
      /has a path of 108 bytes, at most 107 are possible: choose a shorter --data-dir$/,
    )
  })
})

it.each(['/proc', '/proc/x', '/proc/self/x'])('the data folder is not %s', (dataDir) => {
  expect(() => resolvePaths({ isRoot: true, environment: {}, dataDir })).toThrow(
    `the data folder ${dataDir} is of the kernel: choose another`,
  )
})
