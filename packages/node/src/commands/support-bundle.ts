import { gzipSync } from 'node:zlib'
import { EXIT_OK } from '../constants.ts'
import type { AddCommand } from '../context.ts'
import { writeNewFile } from '../new-file.ts'
import { addNodeOptions, type NodeOptions, pathsOf } from './node-options.ts'

/** Adds `mycelium support-bundle FILE`. */
export const addSupportBundle: AddCommand = (program, act) => {
  const command = addNodeOptions(
    program
      .command('support-bundle')
      .description('Writes what helps whoever helps you into a .tar.gz, without any secret.')
      .argument('<file>', 'must not exist yet'),
  )
  command.action(
    act(async (options: NodeOptions, { signal, progress, result }) => {
      const [file = ''] = command.args
      const paths = pathsOf(options)
      const { supportBundle } = await import('../support-bundle.ts')
      await writeNewFile(file, async () =>
        gzipSync(await supportBundle({ paths, signal, unixMs: Date.now(), onProgress: progress })),
      )
      result('mycelium.support-bundle/1', { file }, () => [
        `${file} is written: no keys or tokens, but names, ids and addresses of nodes`,
      ])
      return EXIT_OK
    }),
  )
}
