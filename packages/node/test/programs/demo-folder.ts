/** Makes the folder of a demo below its argument, says so, and waits to be killed. */
import { createDemoFolder } from '../../src/demo/folder.ts'

const folder = await createDemoFolder(process.argv[2])
process.stdout.write(`${folder.path}\n`)
process.stdin.resume()
