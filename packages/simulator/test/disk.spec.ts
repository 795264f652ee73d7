import { describe, expect, it } from 'vitest'
import { createCoverage, createDisk, createSeededRandom, DiskFullError } from '../src/index.ts'

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
function make(seed = 1) {
  const coverage = createCoverage()
  return { coverage, disk: createDisk({ random: createSeededRandom(seed), coverage }) }
}

describe('simulated disk', () => {
  it('keeps what was synchronised, and all, some or nothing of what follows', () => {
    const kept = new Set<number>()
    const seen: Record<string, number> = {}
    for (let seed = 1; seed <= 100; seed++) {
      const { disk, coverage } = make(seed)
      disk.append('log', bytes(1, 2))
      disk.sync('log')
      disk.append('log', bytes(3, 4, 5))
      disk.crash()
      const left = disk.read('log') ?? bytes()
      expect(left).toEqual(bytes(1, 2, 3, 4, 5).slice(0, left.length))
      kept.add(left.length)
      Object.assign(seen, coverage.counts)
      // What has survived once does so again.
      disk.crash()
      expect(disk.read('log')).toEqual(left)
    }
    expect([...kept].sort()).toEqual([2, 3, 4, 5])
    expect(Object.keys(seen).sort()).toEqual(['disk suffix lost', 'disk write torn'])
  })

  it('replaces and cuts off at once; what was read is a copy', () => {
    const { disk } = make()
    disk.replace('b', bytes(1, 2, 3))
    disk.append('a', bytes(9))
    disk.truncate('b', 2)
    disk.read('b')?.fill(7)
    for (let crash = 0; crash < 20; crash++) disk.crash()
    expect(disk.read('b')).toEqual(bytes(1, 2))
    expect(disk.files).toEqual(['a', 'b'])
    disk.remove('a')
    expect([disk.read('a'), disk.files]).toEqual([undefined, ['b']])
  })

  it('is full at its capacity: nothing is written then', () => {
    const { disk } = make()
    disk.capacityBytes = 4
    disk.append('log', bytes(1, 2, 3, 4))
    expect(() => disk.append('log', bytes(5))).toThrow(DiskFullError)
    expect(() => disk.replace('log', bytes(1, 2, 3, 4, 5))).toThrow('it has 4 bytes')
    expect([disk.read('log'), disk.usedBytes]).toEqual([bytes(1, 2, 3, 4), 4])
    disk.replace('log', bytes(9))
    expect(disk.usedBytes).toBe(1)
  })

  it('turns one bit of what is durable', () => {
    const { disk } = make()
    disk.append('log', new Uint8Array(4))
    expect([disk.rot('log'), disk.rot('none')]).toEqual([false, false])
    disk.sync('log')
    expect(disk.rot('log')).toBe(true)
    const ones = [...(disk.read('log') ?? [])].flatMap((byte) => [...byte.toString(2)])
    expect(ones.filter((bit) => bit === '1')).toHaveLength(1)
  })

  it('comes back as it was before', () => {
    const { disk } = make()
    disk.replace('log', bytes(1))
    const old = disk.backUp()
    disk.replace('log', bytes(2))
    disk.append('other', bytes(3))
    disk.restore(old)
    expect([disk.read('log'), disk.files]).toEqual([bytes(1), ['log']])
  })
})
