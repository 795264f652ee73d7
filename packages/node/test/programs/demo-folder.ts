/** Makes the folder of a demo below its argument, says so, and lives as long as its parent. */
import { createDemoFolder } from '../../src/demo/folder.ts'

const parent = process.ppid
const folder = await createDemoFolder(process.argv[2])
process.stdout.write(`${folder.path}\n`)
setInterval(() => {
  if (process.ppid !== parent) process.exit()
}, 250)
