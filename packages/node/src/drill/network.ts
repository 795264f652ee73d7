import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { encodeToken, type NetworkId } from '@mycelium/identity'
import type { NodeId } from '@mycelium/interface'
import type { NodeStatus } from '../command.ts'
import type { CommandContext } from '../context.ts'
import { createDemoFolder, sweepDemoFolders } from '../demo/folder.ts'
import { DrillNode } from './drill-node.ts'
import type { NetworkDrillInit } from './options.ts'
import { medianOf, type NetworkReport } from './report.ts'
import { BrokenPromiseError, eachOf, until } from './until.ts'
import { createWire, type Place } from './wire.ts'

/** What is promised, in milliseconds: for a network of a few nodes, and for more. */
const FORMATION_MS_MAX = 10_000
const LARGE_FORMATION_MS_MAX = 30_000
const SMALL_NODES = 5
const REVOKED_MS_MAX = 5_000

/** Nothing is promised for these: enough that only a fault takes longer. */
const START_MS_MAX = 60_000
const REFUSED_MS_MAX = 30_000
const HEALED_MS_MAX = 30_000

/** Of a forged token: as long as real ones, and short enough to be one with these issuers. */
const TOKEN_ID_BYTES = 16
const TOKEN_SECRET_BYTES = 32
const TOKEN_ISSUERS = 4
const TOKEN_SECONDS = 3_600

/**
 * Forms a network of real daemons, and proves what is promised of it: that all know each other,
 * that strangers stay outside, that who is revoked is dropped, and that a kill heals. A broken
 * promise is in the report; rejects if the drill itself cannot go on, or is ended.
 */
export async function drillNetwork(
  init: NetworkDrillInit,
  context: Pick<CommandContext, 'signal' | 'progress'>,
): Promise<NetworkReport> {
  const { signal, progress } = context
  await sweepDemoFolders()
  await using folder = await createDemoFolder()
  // Two more for those who do not belong: one of another network, one of none.
  await using wire = await createWire(init.nodes + 2, signal)
  progress(`${init.nodes} nodes, ${wire.description}`)
  await using drill = new NetworkDrill(
    { signal, progress },
    { ...init, folder: folder.path, places: wire.places },
  )
  return await drill.run()
}

interface DrillInit extends NetworkDrillInit {
  readonly folder: string
  readonly places: readonly Place[]
}

type Figures = Omit<NetworkReport, 'ok' | 'nodes' | 'problem'>

class NetworkDrill implements AsyncDisposable {
  readonly #context: Pick<CommandContext, 'signal' | 'progress'>
  readonly #init: DrillInit
  readonly #all: DrillNode[] = []
  /** In the network; the first has founded it. */
  readonly #members: DrillNode[]
  readonly #foreigner: DrillNode
  readonly #stranger: DrillNode
  #figures: Figures = {
    formationMs: null,
    refused: [],
    revokedDroppedMs: null,
    healedMs: null,
    rssBytesMedian: null,
  }

  constructor(context: Pick<CommandContext, 'signal' | 'progress'>, init: DrillInit) {
    this.#context = context
    this.#init = init
    const places = [...init.places]
    const make = (name: string): DrillNode => {
      const { folder } = init
      const place = places.shift()
      if (!place) throw new Error('there is no place left')
      const node = new DrillNode({ name, place, folder, signal: context.signal })
      this.#all.push(node)
      return node
    }
    this.#members = Array.from({ length: init.nodes }, (_, index) => make(`node-${index + 1}`))
    this.#foreigner = make('foreigner')
    this.#stranger = make('stranger')
  }

  async run(): Promise<NetworkReport> {
    const { nodes } = this.#init
    try {
      await this.#form()
      await this.#refuse()
      await this.#revoke()
      await this.#heal()
      await this.#weigh()
    } catch (error) {
      if (!(error instanceof BrokenPromiseError)) throw error
      return { ok: false, nodes, ...this.#figures, problem: error.message }
    }
    return { ok: true, nodes, ...this.#figures }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#all.map((node) => node[Symbol.asyncDispose]()))
  }

  async #form(): Promise<void> {
    const [founder, ...others] = this.#members
    if (!founder) return
    await founder.found('drill')
    founder.up()
    await this.#waitStarted(founder, ({ isReady }) => isReady)
    await eachOf(others, availableParallelism(), async (node) => {
      const { token } = await founder.command('token.create', {})
      await node.join(token)
    })
    this.#context.progress(`${others.length} joined by token`)
    for (const node of others) node.up()
    const isSmall = this.#members.length <= SMALL_NODES
    const timeoutMs = isSmall ? FORMATION_MS_MAX : LARGE_FORMATION_MS_MAX
    const formationMs = await this.#waitMesh('forming the network', timeoutMs * this.#init.slack)
    this.#note(`formed in ${formationMs} ms: each sees all`, { formationMs })
  }

  /** Those who do not belong try each member; each member refuses, and only it knows why. */
  async #refuse(): Promise<void> {
    const addresses = await Promise.all(this.#members.map((node) => this.#addressOf(node)))
    await this.#foreigner.found('elsewhere')
    this.#foreigner.up(...addresses)
    // It never is ready: nobody lets it in.
    await this.#waitStarted(this.#foreigner, () => true)
    await this.#stranger.identify()
    for (const token of await this.#forgedTokens()) await this.#stranger.mustNotJoin(token)
    const found = new Set<string>()
    for (const outsider of [this.#foreigner, this.#stranger]) {
      const look = (): Promise<string | undefined> => this.#unrefused(outsider, found)
      const timeoutMs = REFUSED_MS_MAX * this.#init.slack
      await this.#wait(look, `refusing the ${outsider.name}`, timeoutMs)
    }
    await Promise.all([this.#foreigner, this.#stranger].map(mustKnowNothing))
    const refused = [...found].sort()
    this.#note(`strangers were refused by all: ${refused.join(', ')}`, { refused })
  }

  /** Adds the reasons to `found`. Tells who has not refused it. */
  async #unrefused(outsider: DrillNode, found: Set<string>): Promise<string | undefined> {
    const missing: string[] = []
    for (const member of this.#members) {
      const own = (await member.audit()).filter(({ node }) => node === outsider.id)
      const proven = own.find(({ event }) => event === 'member:proven')
      if (proven) throw new BrokenPromiseError(`${member.name} let the ${outsider.name} in`)
      const reasons = own.flatMap(({ event, reason }) =>
        event === 'member:refused' && reason !== undefined ? [reason] : [],
      )
      for (const reason of reasons) found.add(reason)
      if (reasons.length === 0) missing.push(member.name)
    }
    return missing.length === 0 ? undefined : `not by ${missing.join(', ')}`
  }

  /** All of a token can be found out by who looks on, but its secret. */
  async #forgedTokens(): Promise<readonly string[]> {
    const [founder] = this.#members
    if (!founder) return []
    const { network } = await founder.command('identity.show', {})
    const left = await Promise.all(
      this.#members.map(async (node) => ({
        node: node.id as NodeId,
        addresses: [await this.#addressOf(node)],
      })),
    )
    const tokens: string[] = []
    while (left.length > 0) {
      const token = {
        network: network as NetworkId,
        tokenId: randomBytes(TOKEN_ID_BYTES),
        secret: randomBytes(TOKEN_SECRET_BYTES),
        expiresAt: Math.ceil(Date.now() / 1_000) + TOKEN_SECONDS,
        issuers: left.splice(0, TOKEN_ISSUERS),
      }
      tokens.push(encodeToken(token))
    }
    return tokens
  }

  async #revoke(): Promise<void> {
    const [founder] = this.#members
    const revoked = this.#members.pop()
    if (!founder || !revoked) return
    const asked = founder.command('revoke', { node: revoked.id, reason: 'removed' })
    const look = async (): Promise<string | undefined> => {
      const missing: string[] = []
      for (const member of this.#members) {
        const status = await member.look()
        if (!status || connectedOf(status).has(revoked.id)) missing.push(member.name)
      }
      return missing.length === 0 ? undefined : `still connected: ${missing.join(', ')}`
    }
    const timeoutMs = REVOKED_MS_MAX * this.#init.slack
    const [revokedDroppedMs] = await Promise.all([
      this.#wait(look, 'dropping the revoked node', timeoutMs),
      asked,
    ])
    this.#note(`${revoked.name} was revoked: dropped by all after ${revokedDroppedMs} ms`, {
      revokedDroppedMs,
    })
    // It comes again, and it may know why it stays outside.
    await this.#wait(
      async () => {
        const told = (await revoked.audit()).find(
          ({ event, reason }) => event === 'member:refused-by-peer' && reason === 'revoked',
        )
        return told ? undefined : `nobody told ${revoked.name} why`
      },
      'refusing the revoked node',
      REFUSED_MS_MAX * this.#init.slack,
    )
    const refused = [...this.#figures.refused, 'revoked'].sort()
    this.#note(`${revoked.name} came again, and was told: revoked`, { refused })
  }

  /** The founder too: nobody may be needed. */
  async #heal(): Promise<void> {
    for (const node of this.#members.slice(0, 2)) {
      await node.killDaemon()
      const others = this.#members.filter((other) => other !== node)
      const timeoutMs = HEALED_MS_MAX * this.#init.slack
      await this.#wait(
        async () => {
          const looks = await Promise.all(others.map((other) => other.look()))
          const blind = looks.filter((status) => !status || connectedOf(status).has(node.id))
          return blind.length === 0 ? undefined : `${blind.length} have not noticed`
        },
        `noticing the death of ${node.name}`,
        timeoutMs,
      )
      node.up()
      const elapsedMs = await this.#waitMesh(`healing after the death of ${node.name}`, timeoutMs)
      const healedMs = Math.max(elapsedMs, this.#figures.healedMs ?? 0)
      this.#note(`${node.name} was killed and started: healed after ${elapsedMs} ms`, { healedMs })
    }
  }

  async #weigh(): Promise<void> {
    const looks = await Promise.all(this.#members.map((node) => node.look()))
    const rssBytesMedian = medianOf(looks.flatMap((status) => status?.rssBytes ?? []))
    this.#figures = { ...this.#figures, rssBytesMedian }
  }

  #waitStarted(node: DrillNode, isEnough: (status: NodeStatus) => boolean): Promise<number> {
    const look = async (): Promise<string | undefined> => {
      const status = await node.look()
      if (!status) return 'nobody answers'
      return isEnough(status) ? undefined : status.message
    }
    return this.#wait(look, `the start of ${node.name}`, START_MS_MAX * this.#init.slack)
  }

  /** Waits until each member is connected with all others. */
  #waitMesh(what: string, timeoutMs: number): Promise<number> {
    const ids = this.#members.map(({ id }) => id)
    const look = async (): Promise<string | undefined> => {
      const looks = await Promise.all(this.#members.map((member) => member.look()))
      const missing = looks.flatMap((status, index) => {
        const { name = '' } = this.#members[index] ?? {}
        if (!status) return [`${name} does not answer`]
        const seen = connectedOf(status)
        const count = ids.filter((id) => seen.has(id)).length
        return count === ids.length ? [] : [`${name} sees ${count} of ${ids.length}`]
      })
      return missing.length === 0 ? undefined : missing.join(', ')
    }
    return this.#wait(look, what, timeoutMs)
  }

  #wait(look: () => Promise<string | undefined>, what: string, timeoutMs: number) {
    return until(look, { signal: this.#context.signal, timeoutMs, what })
  }

  async #addressOf(node: DrillNode): Promise<string> {
    const status = await node.look()
    const [address] = status?.listening ?? []
    if (address === undefined) throw new BrokenPromiseError(`${node.name} listens nowhere`)
    return address
  }

  #note(line: string, figures: Partial<Figures>): void {
    this.#figures = { ...this.#figures, ...figures }
    this.#context.progress(line)
  }
}

/** Nobody told it more than `refused`, which it notes as its own guess. */
async function mustKnowNothing(outsider: DrillNode): Promise<void> {
  const entries = await outsider.audit()
  const told = entries.filter(({ event }) => event === 'member:refused-by-peer')
  const leak = told.find(({ reason }) => reason !== 'wrong-network')
  if (leak) throw new BrokenPromiseError(`the ${outsider.name} was told '${leak.reason ?? ''}'`)
  if (told.length === 0) throw new BrokenPromiseError(`nobody refused the ${outsider.name}`)
}

/** Itself included. */
function connectedOf({ members }: NodeStatus): ReadonlySet<string> {
  return new Set(members.filter(({ state }) => state !== 'away').map(({ node }) => node))
}
