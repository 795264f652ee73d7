/** The active of the simulation of output commit: a shell around {@link ProtectionCore}. */
import assert from 'node:assert/strict'
import type { NodeId } from '@mycelium/interface'
import type { World } from '@mycelium/simulator'
import type { ProtectionCore, ProtectionEffect, ProtectionInput } from '../src/core/protection.ts'
import type { VmRecord } from '../src/core/vm-record.ts'
import type { Faults, Grantor, History, Judge, Node } from './protection-world.ts'

const INTERVAL_MS = 50
const PAUSE_MS_MAX = 5
/** Before an update that failed is answered to the core. */
const RETRY_MS = 20

export interface ActiveDeps {
  readonly world: World
  readonly faults: Faults
  readonly judge: Judge
  readonly grantor: Grantor
  /** The record says that the guest has stopped. */
  readonly onStopped: () => void
}

/** One life of the guest: prints without end, takes epochs, and shows what the core allows. */
export class Active {
  readonly life: number
  readonly #deps: ActiveDeps
  readonly #core: ProtectionCore
  readonly #parent: History | undefined
  #isAlive = true
  #isPaused = false
  #isShutDown = false
  printed = 0
  #isHolding = true
  #open: number[] = []
  #held: { readonly epoch: number; readonly outputs: readonly number[] }[] = []
  readonly #attached = new Map<NodeId, Node>()
  #epoch = 0
  #releasedEpoch = 0
  #sequence = 0
  #isUpdating = false
  /** Who has to acknowledge the epoch on its way, and who has. */
  #flight: { readonly awaited: Set<NodeId>; readonly by: NodeId[] } | undefined

  constructor(deps: ActiveDeps, core: ProtectionCore, life: number, parent?: History) {
    this.#deps = deps
    this.#core = core
    this.life = life
    this.#parent = parent
    this.#step({ type: 'begin' })
    this.#print()
    this.#nextEpoch()
  }

  get isShutDown(): boolean {
    return this.#isShutDown
  }

  crash(): void {
    this.#isAlive = false
  }

  /** The guest is done. */
  shutDown(): void {
    this.#isShutDown = true
    this.#step({ type: 'shutdown' })
  }

  /** @param keepsImage - the backup lacks so little that its image stays an epoch meanwhile */
  attach(node: Node, keepsImage: boolean): void {
    this.#deps.world.coverage.hit(keepsImage ? 'attached: resumed' : 'attached: filled')
    this.#attached.set(node.id, node)
    this.#fill(node, keepsImage)
  }

  /** Its image is found wrong: it is filled anew over the same link. */
  refill(node: Node): void {
    this.#deps.world.coverage.hit('filled anew')
    this.#left(node)
    this.#fill(node, false)
    this.#complete()
  }

  /** The link is gone. Only this side knows it. */
  detach(node: Node): void {
    this.#attached.delete(node.id)
    this.#left(node)
    this.#complete()
  }

  #fill(node: Node, keepsImage: boolean): void {
    node.phase = 'filling'
    if (!keepsImage) node.image = undefined
    const session = ++node.session
    this.#after(1 + this.#below(keepsImage ? 20 : 200), () => {
      if (node.session === session) node.phase = 'joining'
    })
  }

  #left(node: Node): void {
    this.#flight?.awaited.delete(node.id)
    const index = this.#flight?.by.indexOf(node.id) ?? -1
    if (index >= 0) this.#flight?.by.splice(index, 1)
    this.#step({ type: 'left', backup: node.id })
  }

  // ---- the guest -------------------------------------------------------------------------------

  #print(): void {
    this.#after(1 + this.#below(12), () => {
      if (!this.#isPaused && !this.#isShutDown) {
        const output = ++this.printed
        if (this.#isHolding) this.#open.push(output)
        else this.#show([output])
      }
      this.#print()
    })
  }

  #show(outputs: readonly number[]): void {
    for (const output of outputs) this.#deps.judge.seen(this.life, output)
    this.#deps.judge.check()
  }

  // ---- epochs ----------------------------------------------------------------------------------

  #nextEpoch(): void {
    this.#after(this.#below(2 * INTERVAL_MS), () => {
      if (this.#attached.size === 0 || this.#isShutDown) this.#nextEpoch()
      else this.#capture()
    })
  }

  #capture(): void {
    this.#isPaused = true
    this.#after(this.#below(PAUSE_MS_MAX + 1), () => {
      this.#isPaused = false
      const image: History = {
        life: this.life,
        count: this.printed,
        ...(this.#parent && { parent: this.#parent }),
      }
      const epoch = ++this.#epoch
      // Before it is sealed: it may be acknowledged, or output may pass, in the same turn.
      this.#held.push({ epoch, outputs: this.#open })
      this.#open = []
      // Encoding takes a while; what comes and goes meanwhile counts.
      this.#after(this.#below(10), () => this.#send(image))
    })
  }

  #send(image: History): void {
    const targets = [...this.#attached.values()].filter(({ phase }) => phase !== 'filling')
    this.#flight = { awaited: new Set(targets.map(({ id }) => id)), by: [] }
    this.#deps.world.coverage.hit(`epochs to ${Math.min(targets.length, 2)}`)
    for (const node of targets) {
      const { session } = node
      const isOwn = (): boolean => node.session === session
      const { delayMsMax } = this.#deps.faults
      const { clock } = this.#deps.world
      // A message that has left arrives, also when its sender is dead by then.
      clock.schedule(clock.now() + this.#below(delayMsMax + 1), () => {
        if (!isOwn()) return
        node.image = image
        this.#deps.judge.check()
        this.#after(this.#below(delayMsMax + 1), () => {
          if (isOwn()) this.#acknowledged(node)
        })
      })
    }
    this.#complete()
  }

  #acknowledged(node: Node): void {
    if (this.#flight?.awaited.delete(node.id) !== true) return
    node.phase = 'in-sync'
    this.#flight.by.push(node.id)
    this.#complete()
  }

  #complete(): void {
    const flight = this.#flight
    if (flight === undefined || flight.awaited.size > 0) return
    this.#flight = undefined
    this.#step({ type: 'acknowledged', epoch: this.#epoch, by: flight.by })
    this.#nextEpoch()
  }

  // ---- the core --------------------------------------------------------------------------------

  #step(input: ProtectionInput): void {
    for (const effect of this.#core.step(input)) this.#perform(effect)
    const { judge, grantor } = this.#deps
    judge.check()
    if (this.#isUpdating) return
    const { inSync } = grantor.record
    assert.deepEqual(this.#core.inSync, inSync, 'the active believes in another record')
  }

  #perform(effect: ProtectionEffect): void {
    const { world, grantor } = this.#deps
    world.coverage.hit(`effect: ${effect.type}`)
    switch (effect.type) {
      case 'update':
        this.#update(effect.record)
        break
      case 'hold':
        this.#isHolding = true
        break
      case 'release': {
        assert.ok(effect.epoch > this.#releasedEpoch, `epoch ${effect.epoch} was released before`)
        this.#releasedEpoch = effect.epoch
        const released = this.#held.filter(({ epoch }) => epoch <= effect.epoch)
        this.#held = this.#held.filter(({ epoch }) => epoch > effect.epoch)
        this.#show(released.flatMap(({ outputs }) => outputs))
        break
      }
      case 'open': {
        this.#isHolding = false
        const outputs = [...this.#held.flatMap((held) => held.outputs), ...this.#open]
        this.#held = []
        this.#open = []
        this.#show(outputs)
        break
      }
      case 'in-sync':
        break
      case 'stopped':
        assert.equal(grantor.record.state, 'stopped')
        this.#deps.onStopped()
        break
    }
  }

  #update(record: VmRecord): void {
    assert.ok(!this.#isShutDown || record.state === 'stopped', 'it runs again after its end')
    assert.ok(!this.#isUpdating, 'two updates at once')
    this.#isUpdating = true
    this.#deps.grantor.update(this.life, ++this.#sequence, record, (isDone) => {
      if (!this.#isAlive) return
      this.#after(isDone ? 0 : RETRY_MS, () => {
        this.#isUpdating = false
        this.#step({ type: isDone ? 'updated' : 'update-failed' })
      })
    })
  }

  #after(ms: number, action: () => void): void {
    const { clock } = this.#deps.world
    clock.schedule(clock.now() + ms, () => {
      if (this.#isAlive) action()
    })
  }

  #below(bound: number): number {
    return this.#deps.world.random.below(bound)
  }
}
