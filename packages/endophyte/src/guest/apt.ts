import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { AbortOptions } from '@mycelium/interface'
import { GuestImageError } from '../errors.ts'
import { runTool, type ToolOptions, type ToolResult } from './tools.ts'

export interface AptInit extends AbortOptions {
  readonly searchPath?: string
  readonly onProgress?: (line: string) => void
}

/** What `apt-cache show NAME` prints; empty if apt does not know it. */
export type ShowPackage = (name: string) => Promise<string>

export interface AptDownloads {
  /**
   * Downloads the first of the packages that the server has.
   *
   * Rejects with `ERR_ENDOPHYTE_GUEST_IMAGE`.
   *
   * @param what - for people
   * @param choose - names of packages, the best first
   */
  download(
    what: string,
    choose: (show: ShowPackage) => readonly string[] | Promise<readonly string[]>,
  ): Promise<{ readonly name: string; readonly file: string }>
}

/**
 * Packages of this machine's distribution, downloaded into `folder` and never installed. The
 * system's lists of packages serve if they can; where they are missing (`apt-get update` never
 * ran), older than the server, or of another architecture, private lists are fetched into `folder`.
 * So this needs no root, and changes nothing in the system.
 *
 * @param architecture - by Debian's name
 */
export function createAptDownloads(
  folder: string,
  architecture: string,
  init: AptInit,
): AptDownloads {
  return new AptFolder(folder, architecture, init)
}

class AptFolder implements AptDownloads {
  readonly #folder: string
  readonly #architecture: string
  readonly #init: AptInit
  /** As root, apt would drop to a user who may not write into a private folder. */
  #options: readonly string[] = ['-o', 'APT::Sandbox::User=']
  #isPrivate = false
  #isChecked = false

  constructor(folder: string, architecture: string, init: AptInit) {
    this.#folder = folder
    this.#architecture = architecture
    this.#init = init
  }

  async download(
    what: string,
    choose: (show: ShowPackage) => readonly string[] | Promise<readonly string[]>,
  ): Promise<{ readonly name: string; readonly file: string }> {
    await this.#check()
    let complaint = `apt does not know ${what}`
    for (let attempt = 0; attempt < 2; attempt++) {
      const names = await choose(
        async (name) => (await this.#run('apt-cache', ['show', name])).output,
      )
      for (const name of names) {
        this.#init.onProgress?.(`downloading ${name}`)
        const result = await this.#fetch(name)
        if (result.file !== undefined) return { name, file: result.file }
        complaint = result.complaint
      }
      if (this.#isPrivate) break
      await this.#makePrivate(`cannot download ${what}: ${complaint}`)
    }
    throw new GuestImageError({
      reason: `cannot download ${what}: ${complaint}`,
      fix: 'check that apt reaches its server: sudo apt-get update',
    })
  }

  /** Is there an apt at all, and is the guest's architecture its own? */
  async #check(): Promise<void> {
    if (this.#isChecked) return
    const own = await this.#run('dpkg', ['--print-architecture'])
    const apt = await this.#run('apt-get', ['--version'])
    for (const { exitCode, complaint: reason } of [own, apt]) {
      if (exitCode !== undefined) continue
      throw new GuestImageError({ reason, fix: 'use Debian 12, Ubuntu 24.04 or newer' })
    }
    if (own.output.trim() !== this.#architecture) {
      await this.#makePrivate(`the guest has another architecture, ${this.#architecture}`)
    }
    this.#isChecked = true
  }

  async #fetch(name: string): Promise<{ readonly file?: string; readonly complaint: string }> {
    const before = new Set(await readdir(this.#folder))
    const { exitCode, complaint } = await this.#run('apt-get', ['download', name], {
      cwd: this.#folder,
    })
    const after = await readdir(this.#folder)
    const file = after.find((one) => one.endsWith('.deb') && !before.has(one))
    if (exitCode !== 0 || file === undefined) return { complaint }
    return { file: join(this.#folder, file), complaint }
  }

  async #makePrivate(reason: string): Promise<void> {
    this.#init.onProgress?.(`${reason}; fetching lists of packages`)
    const lists = join(this.#folder, 'lists')
    const cache = join(this.#folder, 'cache')
    await mkdir(join(lists, 'partial'), { recursive: true })
    await mkdir(join(cache, 'archives', 'partial'), { recursive: true })
    this.#isPrivate = true
    this.#options = [
      ...this.#options,
      ...['-o', `Dir::State::lists=${lists}`, '-o', `Dir::Cache=${cache}`],
      ...['-o', `APT::Architecture=${this.#architecture}`],
      ...['-o', `APT::Architectures=${this.#architecture}`],
    ]
    const updated = await this.#run('apt-get', ['update'])
    if (updated.exitCode === 0) return
    throw new GuestImageError({
      reason: `${reason}; apt-get update: ${updated.complaint}`,
      fix: 'check that apt reaches its server: sudo apt-get update',
    })
  }

  async #run(
    command: string,
    args: readonly string[],
    options: ToolOptions = {},
  ): Promise<ToolResult> {
    const isApt = command.startsWith('apt')
    return await runTool(command, isApt ? [...this.#options, ...args] : args, {
      ...this.#init,
      ...options,
    })
  }
}
