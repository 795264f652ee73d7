import { createSeededRandom } from '@mycelium/simulator'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { packIdentity, unpackIdentity } from '../src/backup.ts'
import { createMembership } from '../src/membership.ts'
import type { IdentityStore } from '../src/store.ts'
import { createMemoryStore } from '../src/testing/memory-store.ts'

const random = createSeededRandom(1)
const passphrase = 'correct horse'
let packed: Uint8Array
let node: string
let network: string | undefined
let store: IdentityStore

beforeAll(async () => {
  const original = createMemoryStore()
  await using membership = await createMembership({ store: original })
  network = await membership.createNetwork({ name: 'home' })
  await membership.createToken({ addresses: ['/ip4/127.0.0.1/tcp/1'] })
  node = membership.node
  packed = await packIdentity({ store: original, random }, { passphrase })
})

beforeEach(() => {
  store = createMemoryStore()
})

describe('a backup', () => {
  it('makes another machine the same node', async () => {
    await unpackIdentity({ store }, { backup: packed, passphrase })
    await using membership = await createMembership({ store })
    expect(membership.node).toBe(node)
    expect(membership.status().network).toMatchObject({ id: network, isAuthority: true })
    expect(membership.tokens()).toMatchObject([{ state: 'open' }])
  })

  it('is of no use without its passphrase, or changed', async () => {
    const wrong = { code: 'ERR_IDENTITY_PASSPHRASE_WRONG' }
    const given = unpackIdentity({ store }, { backup: packed, passphrase: 'correct house' })
    await expect(given).rejects.toMatchObject(wrong)
    const changed = packed.slice()
    changed[changed.length - 100] = (changed[changed.length - 100] ?? 0) ^ 1
    await expect(unpackIdentity({ store }, { backup: changed, passphrase })).rejects.toMatchObject(
      wrong,
    )
    expect(await store.read('node-key')).toBeUndefined()
  })

  it.each([
    ['nothing', () => new Uint8Array()],
    ['something else', () => new TextEncoder().encode('MYCELKEY and more')],
    ['its first half', () => packed.slice(0, packed.length / 2)],
    ['more than it', () => Uint8Array.from([...packed, 0])],
  ])('is told from %s', async (_, backup) => {
    const given = unpackIdentity({ store }, { backup: backup(), passphrase })
    await expect(given).rejects.toMatchObject({ code: 'ERR_IDENTITY_BACKUP_FOREIGN' })
  })

  it('takes the place of nobody who is a member', async () => {
    await using membership = await createMembership({ store })
    await membership.createNetwork({ name: 'other' })
    const given = unpackIdentity({ store }, { backup: packed, passphrase })
    await expect(given).rejects.toMatchObject({ code: 'ERR_IDENTITY_BACKUP_NOT_EMPTY' })
    expect(membership.status().network?.name).toBe('other')
  })

  it('shows nothing of what it holds', () => {
    const text = Buffer.from(packed).toString('latin1')
    expect(text).not.toContain('home')
    expect(text).not.toContain('node-key')
  })
})
