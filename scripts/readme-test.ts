/**
 * Runs what READMEs and examples promise, against the built packages as a user has them; TAP.
 *
 * - A fenced block that begins with ```ts run is a program: it must end with exit code 0.
 * - A fenced block that begins with ```sh run is a session at a shell: each of its commands must
 *   end with exit code 0, with `mycelium` as built. What still runs is ended afterwards.
 * - A fenced block that begins with ```ts FILE shows `FILE` of the package, word for word.
 * - Every library shows a program in one of these ways.
 * - Every packages/NAME/examples/*.ts is a program that must end with exit code 0.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { root } from './system.ts'

/** Bound on one program: they are small. */
const PROGRAM_TIMEOUT_MS = 60_000

let number = 0
function report(name: string, isOk: boolean, output = ''): void {
  console.log(`${isOk ? 'ok' : 'not ok'} ${++number} - ${name}`)
  if (isOk) return
  console.error(output)
  process.exitCode = 1
}

/** Runs a program in an empty folder of its own. */
async function runProgram(name: string, file: string): Promise<void> {
  const cwd = mkdtempSync(join(tmpdir(), 'readme-'))
  const child = spawn(process.execPath, [file], { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  const timeout = setTimeout(() => child.kill('SIGKILL'), PROGRAM_TIMEOUT_MS)
  const [[code, signal], stdout, stderr] = await Promise.all([
    once(child, 'exit') as Promise<[number | null, string | null]>,
    text(child.stdout),
    text(child.stderr),
  ])
  clearTimeout(timeout)
  rmSync(cwd, { recursive: true })
  report(name, code === 0, `${stdout}\n${stderr}\nended with ${code ?? signal}`)
}

/** The name of the command, in a folder of its own, for `PATH`. */
function installCommand(folder: string): string {
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  const command = [process.execPath, join(root, 'packages/node/dist/bin.js')]
  writeFileSync(join(bin, 'mycelium'), `#!/bin/sh\nexec ${command.join(' ')} "$@"\n`)
  chmodSync(join(bin, 'mycelium'), 0o755)
  return bin
}

/** Runs a session in an empty folder of its own, with a home of its own. */
async function runSession(name: string, session: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'readme-'))
  const cwd = join(folder, 'home')
  mkdirSync(cwd)
  const PATH = `${installCommand(folder)}:${process.env['PATH'] ?? ''}`
  const child = spawn('sh', ['-eux', '-c', session], {
    cwd,
    env: { PATH, HOME: cwd, MYCELIUM_CONFIG_DIR: join(folder, 'etc') },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // a group, so that all of it can be ended
  })
  const group = -(child.pid ?? 0)
  const output = Promise.all([text(child.stdout), text(child.stderr)])
  const timeout = setTimeout(() => process.kill(group, 'SIGKILL'), PROGRAM_TIMEOUT_MS)
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
  try {
    process.kill(group, 'SIGTERM')
  } catch {
    // Nothing runs on.
  }
  const [stdout, stderr] = await output // until the last one has ended
  clearTimeout(timeout)
  rmSync(folder, { recursive: true })
  report(name, code === 0, `${stdout}\n${stderr}\nended with ${code ?? signal}`)
}

async function checkReadme(readme: string): Promise<void> {
  const folder = dirname(join(root, readme))
  const markdown = readFileSync(join(root, readme), 'utf8')
  // The command has no program to import it.
  const block = readme === 'packages/node/README.md' ? /^```sh run$/m : /^```ts \S/m
  report(`${readme} shows a program`, block.test(markdown))
  for (const [, session = ''] of markdown.matchAll(/^```sh run\n(.*?)^```$/gms)) {
    await runSession(`${readme}: its session`, session)
  }
  for (const [, info = '', code = ''] of markdown.matchAll(/^```ts (\S+)\n(.*?)^```$/gms)) {
    if (info === 'run') {
      // Inside the package, so that it can import the package by its name.
      const file = join(folder, `build/readme-${number}.ts`)
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, code)
      await runProgram(`${readme}: its program`, file)
    } else {
      const shown = readFileSync(join(folder, info), 'utf8')
      report(`${readme} shows ${info}`, shown.trim() === code.trim(), 'they differ')
    }
  }
}

for (const manifest of globSync('packages/*/package.json', { cwd: root }).sort()) {
  const readme = join(dirname(manifest), 'README.md')
  report(`${readme} is there`, existsSync(join(root, readme)))
  if (existsSync(join(root, readme))) await checkReadme(readme)
}
for (const example of globSync('packages/*/examples/*.ts', { cwd: root }).sort()) {
  await runProgram(example, join(root, example))
}
console.log(`1..${number}`)
